"""Reread a store wholly: every checksum, every digest, and whether its parts fit each other."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fewshot.core.errors import StoreError
from fewshot.embeddings.pipeline.ledger import PartsFolder
from fewshot.embeddings.store.failures import EVERY
from fewshot.embeddings.store.reader import FeatureStore, LayerInfo
from fewshot.embeddings.store.schema import COLUMNS, escape, feature_name
from fewshot.embeddings.store.writer import layer_digest, sample_digest, store_digest

_BLOCK_ROWS = 8192


@dataclass(frozen=True)
class Verification:
    """What a rereading found: ``problems`` in sentences, and how much was read."""

    path: Path
    images: int
    layers: int
    bytes_read: int
    problems: tuple[str, ...]

    @property
    def sound(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


def verify(path: Path | str) -> Verification:
    """Reread everything in a sealed store, and the finished units of an unfinished run beside it.

    Raises:
        StoreError: there is no sealed store to read.
    """
    problems: list[str] = []
    with FeatureStore(path) as store:
        digest = _samples(store, problems)
        bytes_read = 0
        for info in store.layers:
            bytes_read += _layer(store, info, digest, problems)
        _whole(store, digest, problems)
        problems += [f"unfinished file {name} is damaged" for name in PartsFolder(store.path).sound_parts()[1]]
        return Verification(store.path, len(store), len(store.layers), bytes_read, tuple(problems))


def _samples(store: FeatureStore, problems: list[str]) -> bytes:
    try:
        digest = sample_digest(_columns(store))
    except OSError as error:
        problems.append(f"the samples cannot be read: {error}")
        return b""
    recorded = str(store.file.attrs["samples_digest"])
    if digest.hex() != recorded:
        problems.append(f"the samples have digest {digest.hex()[:16]}, and {recorded[:16]} was recorded")
    if len(set(store.raw_column("key").tolist())) != len(store):  # type: ignore[union-attr]  # every store has keys
        problems.append("two samples have one key")
    return digest


def _columns(store: FeatureStore) -> Iterator[tuple[str, Any]]:
    for name in (*COLUMNS, *sorted(store.extra_columns)):
        yield name, store.raw_column(name)


def _layer(store: FeatureStore, info: LayerInfo, samples: bytes, problems: list[str]) -> int:
    """Read one layer block by block; return its bytes."""
    name = f"{info.backbone}/{feature_name(info.layer, info.view)}"
    dataset = store.file[f"/features/{escape(info.backbone)}/{feature_name(info.layer, info.view)}"]
    try:
        present = store.present(info.backbone, view=info.view)
        digest = layer_digest(samples, info.backbone, info.layer, info.view, info.dtype, present)
        for start in range(0, len(store), _BLOCK_ROWS):
            block = dataset[start : start + _BLOCK_ROWS]
            there = present[start : start + _BLOCK_ROWS]
            if np.isnan(block[there]).any() or not np.isnan(block[~there]).all():
                problems.append(f"{name}: absent rows and NaN do not agree")
            digest.update(block.astype(block.dtype.newbyteorder("<"), copy=False).tobytes())
    except OSError as error:
        problems.append(f"{name} cannot be read: {error}")
        return 0
    if digest.hexdigest() != info.digest:
        problems.append(f"{name} has digest {digest.hexdigest()[:16]}, and {info.digest[:16]} was recorded")
    return int(dataset.size * dataset.dtype.itemsize)


def _whole(store: FeatureStore, samples: bytes, problems: list[str]) -> None:
    layers = {
        f"/features/{escape(info.backbone)}/{feature_name(info.layer, info.view)}": info.digest for info in store.layers
    }
    if store_digest(layers) != store.digest:
        problems.append("the digest of the store does not follow from those of its layers")
    try:
        failed = store.failed()
    except OSError as error:
        problems.append(f"the failures cannot be read: {error}")
        return
    unread = set(failed["key"][failed["backbone"] == EVERY])
    both = unread & set(store.column("key").tolist()) if samples else set()
    if both:
        problems.append(f"{len(both)} images stand both among the samples and among the failures")


def require_sound(found: Verification) -> None:
    """Raise when something is wrong.

    Raises:
        StoreError: the message lists every problem.
    """
    if not found.sound:
        raise StoreError(
            f"{found.path} is damaged: {'; '.join(found.problems)}. Restore it from a copy, or embed the images again"
        )
