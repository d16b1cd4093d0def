"""The work of an extraction: tasks (backbone, view, layers), and the units of it over the sample list."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fewshot.core.arrays import BoolArray, IntArray
from fewshot.embeddings.inputs.rule import InputRule
from fewshot.embeddings.inputs.views import InputStep, View
from fewshot.embeddings.layer_key import LOGIT
from fewshot.embeddings.pipeline.prepare import Input

TaskKey = tuple[str, str]

_UNIT_IMAGES, _MOST_UNIT_IMAGES, _UNITS_WANTED = 128, 2048, 1024


@dataclass(frozen=True)
class Task:
    """One backbone under one view.

    Args:
        backbone: the card's name.
        layers: layer -> dimension, of those to be computed; ``logit`` among them where a head is loaded.
        default: the card's default layer.
        rule: the card's input rule.
        provenance: how the features will be produced, JSON values; kept beside every layer.
        fingerprint: hash of those fields of it that must be equal for features to stand in one layer.
    """

    backbone: str
    view: View
    layers: Mapping[str, int] = field(hash=False)
    default: str
    rule: InputRule
    provenance: Mapping[str, Any] = field(hash=False, compare=False)
    fingerprint: str

    @property
    def input(self) -> Input:
        """The array it needs; tasks of equal inputs share it."""
        return Input(self.view.pixels, self.rule.steps)

    @property
    def input_step(self) -> InputStep | None:
        """What is done to the network's input, if anything."""
        return self.view.input

    @property
    def key(self) -> TaskKey:
        """(backbone, view), as stores name them."""
        return (self.backbone, self.view.name)

    @property
    def feature_layers(self) -> tuple[str, ...]:
        """The layers without the reserved ``logit``, which is there only when the checkpoint brought a head."""
        return tuple(layer for layer in self.layers if layer != LOGIT)


@dataclass(frozen=True)
class Unit:
    """One unit of work: some samples, by their positions in the sample list, and the tasks to do on them."""

    positions: tuple[int, ...]
    tasks: tuple[Task, ...]

    def id(self, keys: Sequence[str]) -> str:
        """Return the name of the unit's file: a hash of the fingerprints of its tasks and of its sample keys."""
        digest = hashlib.sha256()
        for task in self.tasks:
            digest.update(f"{task.key} {sorted(task.layers)} {task.fingerprint}\n".encode())
        for position in self.positions:
            digest.update(keys[position].encode("utf-8", "surrogateescape") + b"\0")
        return digest.hexdigest()[:24]


@dataclass(frozen=True)
class Known:
    """What the store that is added to knows of an image: the hashes of its bytes and of its pixels."""

    sha256: str
    pixel_id: str


def unit_images(images: int) -> int:
    """Return how many images make one unit of work.

    It follows from the number of images alone, so that every machine cuts the list at the same places; batches never
    cross a unit. About a thousand units at most of large sets, so that the ledger stays small.

    >>> unit_images(2_370), unit_images(1_000_000)
    (128, 1024)
    """
    wanted = _UNIT_IMAGES
    while wanted < _MOST_UNIT_IMAGES and images > wanted * _UNITS_WANTED:
        wanted *= 2
    return wanted


def units(images: int, todo: Mapping[Task, BoolArray]) -> Iterator[Unit]:
    """Yield the units of work in sample order.

    Args:
        images: the length of the sample list.
        todo: task -> (images,) bool, which samples it still needs.
    """
    size = unit_images(images)
    for start in range(0, images, size):
        groups: dict[tuple[int, ...], list[Task]] = {}
        for task, missing in todo.items():
            positions = _true_positions(missing[start : start + size]) + start
            if len(positions):
                groups.setdefault(tuple(positions.tolist()), []).append(task)
        for wanted, tasks in groups.items():
            yield Unit(wanted, tuple(tasks))


def share_of(work: Sequence[Unit], *, images: int, shard: tuple[int, int] | None) -> list[Unit]:
    """Return the units of shard ``(i, n)``, i from 1; all when None. A stretch of the list keeps its owner."""
    if shard is None:
        return list(work)
    number, count = shard
    size = unit_images(images)
    return [unit for unit in work if unit.positions[0] // size % count == number - 1]


def _true_positions(values: BoolArray) -> IntArray:
    return np.flatnonzero(values).astype(np.int64)
