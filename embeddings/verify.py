"""Reread a store wholly: every checksum, every digest, and whether its parts fit each other."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fewshot.core.arrays import BoolArray, spans
from fewshot.core.errors import StoreError
from fewshot.embeddings.pipeline.ledger import PartsFolder
from fewshot.embeddings.store.digests import layer_digest, sample_digest
from fewshot.embeddings.store.manifest import content_digest
from fewshot.embeddings.store.read_errors import naming_errors
from fewshot.embeddings.store.reader import FeatureStore, LayerInfo
from fewshot.embeddings.store.schema import COLUMNS, features_path, present_path

_BLOCK_ROWS = 8192
_SHOWN_DIGITS = 16


@dataclass(frozen=True)
class Verification:
    """What a rereading found: ``problems`` and ``notes`` in sentences, and how much was read."""

    path: Path
    images: int
    layers: int
    bytes_read: int
    problems: tuple[str, ...]
    notes: tuple[str, ...] = ()

    @property
    def sound(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


@dataclass(frozen=True)
class _Samples:
    """What was found of the samples: their digest (empty when they cannot be read) and the problems."""

    digest: bytes
    problems: tuple[str, ...]


@dataclass(frozen=True)
class _Layer:
    """What was found of one layer: how much was read, and the problems."""

    bytes_read: int
    problems: tuple[str, ...]


def verify(path: Path | str) -> Verification:
    """Reread everything in a sealed store, and the finished units of an unfinished run beside it.

    Raises:
        StoreError: there is no sealed store to read.
    """
    with FeatureStore(path) as store:
        samples = _samples(store)
        layers = [_layer(store, info, samples.digest) for info in store.layers]
        problems = [
            *samples.problems,
            *(problem for layer in layers for problem in layer.problems),
            *_whole_problems(store, samples),
            *(f"unfinished file {name} is damaged" for name in PartsFolder(store.path).sound_parts()[1]),
        ]
        bytes_read = sum(layer.bytes_read for layer in layers)
        return Verification(store.path, len(store), len(layers), bytes_read, tuple(problems), tuple(_notes(store)))


def require_sound(found: Verification) -> None:
    """Raise when something is wrong.

    Raises:
        StoreError: the message lists every problem.
    """
    if not found.sound:
        raise StoreError(
            f"{found.path} is damaged: {'; '.join(found.problems)}. Restore it from a copy, or embed the images again"
        )


def _notes(store: FeatureStore) -> Iterator[str]:
    if not store.structure.covered:
        yield (
            "its attributes (default layers, weights, roots, failures) are covered by no digest, as fewshot wrote it "
            "before stores had a manifest; embed another view or backbone into it, or the images again, to add one"
        )


def _samples(store: FeatureStore) -> _Samples:
    try:
        digest = sample_digest((name, _column(store, name)) for name in (*COLUMNS, *sorted(store.extra_columns)))
    except StoreError as error:
        return _Samples(b"", (f"the samples cannot be read: {error}",))
    problems = []
    if digest.hex() != store.structure.samples_digest:
        problems.append(f"the samples have {_digests(digest.hex(), store.structure.samples_digest)}")
    if len(set(_column(store, "key").tolist())) != len(store):
        problems.append("two samples have one key")
    return _Samples(digest, tuple(problems))


def _column(store: FeatureStore, name: str) -> Any:
    return store.storage.stored_values(store.column_path(name))


def _layer(store: FeatureStore, info: LayerInfo, samples: bytes) -> _Layer:
    """Read one layer block by block, through HDF5 itself."""
    try:
        with naming_errors(store.path, str(info.key)):
            dataset = store.storage.dataset(features_path(info.key))
        store.storage.require_chunks(info)
        present = np.asarray(store.storage.stored_values(present_path(info.key)), dtype=bool)
        digest = layer_digest(samples, info.key, info.dtype, present)
        agree = True
        for block, there in _blocks(store, dataset, present):
            agree = agree and not np.isnan(block[there]).any() and bool(np.isnan(block[~there]).all())
            digest.update(block.astype(block.dtype.newbyteorder("<"), copy=False).tobytes())
    except StoreError as error:
        return _Layer(0, (f"{info.key} cannot be read: {error}",))
    problems = [] if agree else [f"{info.key}: absent rows and NaN do not agree"]
    if digest.hexdigest() != info.digest:
        problems.append(f"{info.key} has {_digests(digest.hexdigest(), info.digest)}")
    return _Layer(int(dataset.size * dataset.dtype.itemsize), tuple(problems))


def _blocks(store: FeatureStore, dataset: Any, present: BoolArray) -> Iterator[tuple[Any, BoolArray]]:
    for start, stop in spans(len(present), _BLOCK_ROWS):
        with naming_errors(store.path, dataset.name):
            block = dataset[start:stop]
        yield block, present[start:stop]


def _whole_problems(store: FeatureStore, samples: _Samples) -> Iterator[str]:
    try:
        unread = {failure.key for failure in store.failures() if failure.of_image}
    except StoreError as error:
        yield f"the failures cannot be read: {error}"
        return
    keys = _column(store, "key").tolist() if samples.digest else []
    both = unread.intersection(key.decode("utf-8", "surrogateescape") for key in keys)
    if both:
        yield f"{len(both)} images are listed both as samples and as failures"
    yield from _content_problems(store)


def _content_problems(store: FeatureStore) -> Iterator[str]:
    """Yield which datasets beside the layers hold other values than were sealed."""
    layers = {features_path(info.key) for info in store.layers}
    for path, recorded in store.structure.contents.items():
        if path in layers:
            continue
        try:
            if content_digest(store.storage.stored_values(path)) != recorded:
                yield f"the values of {path} are not those that were sealed"
        except StoreError as error:
            yield str(error)


def _digests(found: str, recorded: str) -> str:
    return f"digest {found[:_SHOWN_DIGITS]}, and {recorded[:_SHOWN_DIGITS]} was recorded"
