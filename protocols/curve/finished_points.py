"""The finished points of a long protocol run, kept so that an interrupted run goes on where it stopped."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fewshot.core.files import atomic_write, make_folder


@dataclass(frozen=True)
class Point:
    """What one point of a curve leaves behind.

    Args:
        facts: JSON values: the measures, sizes and steps.
        arrays: per-image results, by name.
    """

    facts: Mapping[str, Any]
    arrays: Mapping[str, NDArray[Any]] = field(default_factory=dict)


class Points:
    """Points by name, in a folder or (without one) in memory.

    A point is written whole or not at all, and belongs to one fingerprint: another configuration or store finds none.

    Args:
        folder: where the points lie; None keeps them in memory.
        fingerprint: JSON values that all points depend on.
    """

    def __init__(self, folder: Path | None, fingerprint: Mapping[str, Any]) -> None:
        self.folder = folder
        text = json.dumps(fingerprint, sort_keys=True, default=str)
        self._belongs = hashlib.sha256(text.encode()).hexdigest()[:16]
        self._memory: dict[str, Point] = {}
        if folder is not None:
            make_folder(folder)

    def of(self, fingerprint: Mapping[str, Any]) -> "Points":
        """Return the points of another fingerprint in the same folder; these themselves when it is their own."""
        other = Points(self.folder, fingerprint)
        return self if other._belongs == self._belongs else other

    def get(self, name: str) -> Point | None:
        """Return a finished point, or None."""
        if name in self._memory or self.folder is None:
            return self._memory.get(name)
        path = self._path(name)
        if not path.is_file():
            return None
        with np.load(path, allow_pickle=False) as archive:
            arrays = {key: archive[key] for key in archive.files if key != _FACTS}
            facts = json.loads(str(archive[_FACTS]))
        return Point(facts, arrays)

    def put(self, name: str, point: Point) -> None:
        """Keep a finished point.

        Raises:
            OutputError: it cannot be written.
        """
        if self.folder is None:
            self._memory[name] = point
            return
        arrays: dict[str, Any] = {_FACTS: np.array(json.dumps(dict(point.facts))), **point.arrays}
        with atomic_write(self._path(name)) as stream:
            np.savez(stream, **arrays)

    def clear(self) -> None:
        """Remove the folder of points, this run's and those of others like it."""
        if self.folder is not None and self.folder.is_dir():
            for path in [*self.folder.glob("*.npz"), *self.folder.glob("*.tmp")]:
                path.unlink()
            self.folder.rmdir()

    def _path(self, name: str) -> Path:
        assert self.folder is not None
        digest = hashlib.sha256(f"{self._belongs} {name}".encode()).hexdigest()[:24]
        return self.folder / f"{digest}.npz"


_FACTS = "facts_json"
