"""One unit of work on its way to a file: metadata, features and failures of its images, in order."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fewshot.core.arrays import BoolArray, FloatArray
from fewshot.core.errors import StoreError
from fewshot.embeddings.layouts.base import Sample
from fewshot.embeddings.pipeline.prepare import Prepared
from fewshot.embeddings.pipeline.units import Task, TaskKey, Unit
from fewshot.embeddings.store.failures import EVERY, Failure
from fewshot.embeddings.store.sample_columns import FrameColumns
from fewshot.embeddings.store.schema import COLUMNS
from fewshot.embeddings.store.writer import LayerData, StoreWriter

NOT_FINITE = "not-finite: the network gave NaN or infinite values"

# How the features of a task were computed, as far as it is known only once they are: device, batch size ...
Execution = Callable[[Task], Mapping[str, Any]]


@dataclass(frozen=True)
class UnitFile:
    """What was written for a unit."""

    path: Path
    rows: int
    failures: int


class UnitResult:
    """Collects what becomes of a unit's images; ``write`` makes its file.

    Images are named by their number in the unit.

    Args:
        unit: the unit; keys: the sample list it refers to; dtype: of stored features.
    """

    def __init__(self, unit: Unit, keys: Sequence[str], *, dtype: str) -> None:
        self.unit = unit
        self.keys = [keys[position] for position in unit.positions]
        self.dtype = np.dtype(dtype)
        self.rows: dict[int, dict[str, Any]] = {}
        self.failures: list[Failure] = []
        self._features: dict[tuple[TaskKey, str], FloatArray] = {}
        self._present = {task.key: np.zeros(len(self.keys), bool) for task in unit.tasks}

    def readable(self, number: int, sample: Sample, root: int, prepared: Prepared) -> None:
        """Keep the metadata of an image that was read."""
        assert prepared.metadata is not None
        self.rows[number] = {
            **prepared.metadata.columns(),
            "mtime_ns": prepared.mtime_ns,
            **sample_columns(self.keys[number], sample, root),  # last: a table's own column keeps its values
        }

    def unreadable(self, number: int, reason: str) -> None:
        """List an image that cannot be had at all."""
        self.failures.append(Failure(self.keys[number], EVERY, EVERY, reason))

    def lacking(self, number: int, task: Task, reason: str) -> None:
        """List an image that one task cannot use."""
        self.failures.append(Failure(self.keys[number], *task.key, reason))

    def take(self, task: Task, numbers: Sequence[int], layers: Mapping[str, FloatArray]) -> None:
        """Keep the features of one batch; a row that is not finite is listed and stays absent."""
        finite = np.logical_and.reduce([np.isfinite(part).all(axis=1) for part in layers.values()])
        at = np.asarray(numbers)
        for row in np.flatnonzero(~finite).tolist():
            self.lacking(numbers[row], task, NOT_FINITE)
        for layer, part in layers.items():
            name = (task.key, layer)
            if name not in self._features:
                self._features[name] = np.full((len(self.keys), part.shape[1]), np.nan, self.dtype)
            self._features[name][at[finite]] = self._stored(part[finite], task, layer)
        self._present[task.key][at[finite]] = True

    def present(self, task: Task) -> BoolArray:
        """Return (images,) bool: which images the task has features of."""
        return self._present[task.key]

    def features(self, task: Task, layer: str) -> FloatArray:
        """Return (images, D) features of one layer, NaN where they are absent."""
        found = self._features.get((task.key, layer))
        return np.full((len(self.keys), task.layers[layer]), np.nan, self.dtype) if found is None else found

    def _stored(self, features: FloatArray, task: Task, layer: str) -> FloatArray:
        if self.dtype == np.float16 and len(features):
            largest = float(np.abs(features).max())
            if largest > float(np.finfo(np.float16).max):
                raise StoreError(
                    f"layer {layer!r} of {task.backbone!r} holds {largest:g}, and float16 ends at 65504; "
                    f"run again with --store-dtype float32"
                )
        return features.astype(self.dtype)

    def write(self, path: Path, execution: Execution) -> UnitFile:
        """Write the unit's file, a small sealed store of the images that were read.

        Args:
            execution: how the features of a task were computed; kept beside its planned provenance.
        """
        numbers = sorted(self.rows)
        samples = pd.DataFrame([self.rows[number] for number in numbers], columns=self._columns(), dtype=object)
        with StoreWriter(path, FrameColumns(samples)) as writer:
            for task in self.unit.tasks:
                provenance = {**task.provenance, **execution(task)}
                for layer in task.layers:
                    writer.add(self._layer(task, layer, numbers, provenance))
            writer.seal(self.failures, provenance={})
        return UnitFile(path, len(numbers), len(self.failures))

    def _columns(self) -> list[str]:
        extra: dict[str, None] = {}
        for row in self.rows.values():
            extra.update(dict.fromkeys(name for name in row if name not in COLUMNS))
        return [*COLUMNS, *extra]

    def _layer(self, task: Task, layer: str, numbers: Sequence[int], provenance: Mapping[str, Any]) -> LayerData:
        return LayerData(
            backbone=task.backbone,
            layer=layer,
            features=self.features(task, layer)[numbers],
            view=task.view.name,
            present=self.present(task)[numbers],
            default=layer == task.default,
            provenance=provenance,
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
