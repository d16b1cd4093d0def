"""The finished points of a data curve, kept so that an interrupted run resumes where it stopped."""

import hashlib
import json
import re
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fewshot.core.files import atomic_write
from fewshot.core.marked_folders import MARK, claim_folder, is_claimed
from fewshot.core.npz import read_npz

FORMAT = 3  # of the files; those of another format are not found
PURPOSE = "the finished points of a data curve"
_RECORD = "record_json"
_POINT = re.compile(r"[0-9a-f]{24}\.npz(\.[0-9a-f]{16}\.tmp)?")
_Measured = Mapping[tuple[str, str], float]


@dataclass(frozen=True)
class FinishedPoint:
    """What one point of a curve leaves behind: one model, fitted on one share of one draw.

    Args:
        head: the model's name in the report.
        values: {(source, metric): value} of every query set.
        n_query: source -> number of images queried. n_natural: how many of them are natural.
        n_support: number of training images.
        support: SHA-256 of their rows.
        steps, kept_step: optimiser steps taken, and the one whose weights were kept.
        validation_auroc: on the images held out of the subset; None where it was not needed or a class is missing.
        warnings: of the fit.
        arrays: per-image results by name: ``rows`` (q,) int64, ``scores`` (q,) float32 and what the model adds.
    """

    head: str
    values: _Measured
    n_query: Mapping[str, int]
    n_natural: Mapping[str, int]
    n_support: int
    support: str
    steps: int = 0
    kept_step: int = 0
    validation_auroc: float | None = None
    warnings: tuple[str, ...] = ()
    arrays: Mapping[str, NDArray[Any]] = field(default_factory=dict)

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return everything as arrays, for ``.npz``: the per-image ones, and the rest as one JSON text."""
        record = {item.name: getattr(self, item.name) for item in fields(self) if item.name != "arrays"}
        record["values"] = [[source, metric, value] for (source, metric), value in self.values.items()]
        return {_RECORD: np.array(json.dumps(record)), **self.arrays}

    @classmethod
    def from_arrays(cls, stored: Mapping[str, NDArray[Any]]) -> "FinishedPoint":
        """Return the point that ``to_arrays`` wrote."""
        record = json.loads(str(stored[_RECORD]))
        record["values"] = {(source, metric): value for source, metric, value in record["values"]}
        record["warnings"] = tuple(record["warnings"])
        return cls(**record, arrays={name: values for name, values in stored.items() if name != _RECORD})


class ResultCache:
    """Finished points by name, in a folder or (without one) in memory.

    A point is written whole or not at all, and belongs to one fingerprint: another configuration or store finds none.

    Args:
        folder: where the points lie; None keeps them in memory.
        fingerprint: JSON values that all points depend on.
    """

    def __init__(self, folder: Path | None, fingerprint: Mapping[str, Any]) -> None:
        self.folder = folder
        text = json.dumps({"format": FORMAT, **fingerprint}, sort_keys=True, default=str)
        self._belongs = hashlib.sha256(text.encode()).hexdigest()[:16]
        self._memory: dict[str, FinishedPoint] = {}
        if folder is not None:
            claim_folder(folder, purpose=PURPOSE, older=_only_points)

    def get(self, name: str) -> FinishedPoint | None:
        """Return a finished point, or None."""
        if name in self._memory or self.folder is None:
            return self._memory.get(name)
        path = self._path(name)
        if not path.is_file():
            return None
        try:
            return FinishedPoint.from_arrays(read_npz(path))
        except (OSError, ValueError, TypeError, KeyError):
            return None  # damaged: it is computed again, and written over

    def put(self, name: str, point: FinishedPoint) -> None:
        """Keep a finished point.

        Raises:
            OutputError: it cannot be written.
        """
        if self.folder is None:
            self._memory[name] = point
            return
        arrays: dict[str, Any] = point.to_arrays()
        with atomic_write(self._path(name)) as stream:
            np.savez(stream, **arrays)

    def _path(self, name: str) -> Path:
        assert self.folder is not None
        digest = hashlib.sha256(f"{self._belongs} {name}".encode()).hexdigest()[:24]
        return self.folder / f"{digest}.npz"


def clear_points(folder: Path) -> None:
    """Remove a folder of finished points: those of a run that is saved, and of others like it.

    Nothing but points is deleted; where something else lies among them, it stays, and the folder with it.
    """
    if not is_claimed(folder, purpose=PURPOSE):
        return
    for path in folder.iterdir():
        if _POINT.fullmatch(path.name):
            path.unlink()
    if [path.name for path in folder.iterdir()] == [MARK]:
        (folder / MARK).unlink()
    with suppress(OSError):  # something else is in it
        folder.rmdir()


def _only_points(folder: Path) -> bool:
    """Return whether a folder holds nothing but points: one of an earlier version, which left no mark."""
    return all(_POINT.fullmatch(path.name) and _is_point(path) for path in folder.iterdir())


def _is_point(path: Path) -> bool:
    if path.suffix == ".tmp":
        return True
    try:
        with zipfile.ZipFile(path) as archive:
            return f"{_RECORD}.npy" in archive.namelist()
    except (OSError, ValueError, zipfile.BadZipFile):
        return False
