"""One unit of work on its way to a file: facts, features and failures of its images, in order."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fewshot.core.arrays import BoolArray, FloatArray
from fewshot.core.errors import StoreError
from fewshot.embeddings.layouts.base import Sample
from fewshot.embeddings.pipeline.plan import Task, Unit
from fewshot.embeddings.pipeline.prepare import Prepared
from fewshot.embeddings.store.failures import EVERY
from fewshot.embeddings.store.schema import COLUMNS
from fewshot.embeddings.store.writer import LayerData, StoreWriter

NOT_FINITE = "not-finite: the network gave NaN or infinite values"


@dataclass(frozen=True)
class UnitFile:
    """What was written for a unit."""

    path: Path
    rows: int
    failures: int


class UnitResult:
    """Collects what becomes of a unit's images; ``write`` makes its file.

    Args:
        unit: the unit; keys: the sample list it refers to; dtype: of stored features.
    """

    def __init__(self, unit: Unit, keys: Sequence[str], *, dtype: str) -> None:
        self.unit = unit
        self.keys = [keys[position] for position in unit.positions]
        self.dtype = np.dtype(dtype)
        self.rows: dict[int, dict[str, Any]] = {}
        self.failures: list[tuple[str, str, str, str]] = []
        self._features: dict[tuple[tuple[str, str], str], FloatArray] = {}
        self._present = {task.place: np.zeros(len(self.keys), bool) for task in unit.tasks}

    def readable(self, place: int, sample: Sample, root: int, prepared: Prepared) -> None:
        """Keep the facts of an image that was read."""
        assert prepared.facts is not None
        self.rows[place] = sample_columns(self.keys[place], sample, root) | {
            **prepared.facts.columns(),
            "mtime_ns": prepared.mtime_ns,
        }

    def unreadable(self, place: int, reason: str) -> None:
        """List an image that cannot be had at all."""
        self.failures.append((self.keys[place], EVERY, EVERY, reason))

    def lacking(self, place: int, task: Task, reason: str) -> None:
        """List an image that one task cannot use."""
        self.failures.append((self.keys[place], *task.place, reason))

    def take(self, task: Task, places: Sequence[int], layers: dict[str, FloatArray]) -> None:
        """Keep the features of one batch; a row that is not finite is listed and stays absent."""
        finite = np.logical_and.reduce([np.isfinite(part).all(axis=1) for part in layers.values()])
        at = np.asarray(places)
        for row in np.flatnonzero(~finite).tolist():
            self.lacking(places[row], task, NOT_FINITE)
        for layer, part in layers.items():
            name = (task.place, layer)
            if name not in self._features:
                self._features[name] = np.full((len(self.keys), part.shape[1]), np.nan, self.dtype)
            self._features[name][at[finite]] = self._stored(part[finite], task, layer)
        self._present[task.place][at[finite]] = True

    def _stored(self, features: FloatArray, task: Task, layer: str) -> FloatArray:
        if self.dtype == np.float16 and len(features):
            largest = float(np.abs(features).max())
            if largest > float(np.finfo(np.float16).max):
                raise StoreError(
                    f"layer {layer!r} of {task.backbone!r} holds {largest:g}, and float16 ends at 65504; "
                    f"run again with --store-dtype float32"
                )
        return features.astype(self.dtype)

    def write(self, path: Path) -> UnitFile:
        """Write the unit's file, a small sealed store of the images that were read."""
        places = sorted(self.rows)
        samples = pd.DataFrame([self.rows[place] for place in places], columns=self._columns(), dtype=object)
        failed = pd.DataFrame(self.failures, columns=["key", "backbone", "view", "reason"], dtype=object)
        with StoreWriter(path, samples) as writer:
            for task in self.unit.tasks:
                present = self._present[task.place][places]
                for layer, dimension in task.layers.items():
                    found = self._features.get((task.place, layer))
                    if found is None:
                        found = np.full((len(self.keys), dimension), np.nan, self.dtype)
                    writer.add(self._layer(task, layer, found[places], present))
            writer.seal(failed, brief=True)
        return UnitFile(path, len(places), len(self.failures))

    def _columns(self) -> list[str]:
        extra: dict[str, None] = {}
        for row in self.rows.values():
            extra.update(dict.fromkeys(name for name in row if name not in COLUMNS))
        return [*COLUMNS, *extra]

    def _layer(self, task: Task, layer: str, features: FloatArray, present: BoolArray) -> LayerData:
        return LayerData(
            backbone=task.backbone,
            layer=layer,
            features=features,
            view=task.view.name,
            present=present,
            default=layer == task.default,
            provenance=task.facts,
        )


def sample_columns(key: str, sample: Sample, root: int) -> dict[str, Any]:
    """Return the columns that a sample brings; a table's column with a built-in's name becomes ``extra.NAME``."""
    own = {f"extra.{name}" if name in COLUMNS else name: value for name, value in sample.extra.items()}
    return {
        **own,
        "key": key,
        "path": sample.path,
        "member": sample.member,
        "root": root,
        "source": sample.source,
        "synthetic": sample.synthetic,
        "split": sample.split,
        "dataset": sample.dataset,
        "category": sample.category,
        "group": sample.group,
    }
