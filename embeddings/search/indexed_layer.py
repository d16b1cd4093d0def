"""The rows of one layer as an index sees them: which they are, of which source, and fit for a metric."""

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, Literal, Self, get_args

import numpy as np

from fewshot.core.arrays import Float32Array, FloatArray, IntArray, require_finite, spans, unit_rows
from fewshot.core.errors import InputError, OptionError
from fewshot.embeddings.store.reader import FeatureStore, LayerInfo

Metric = Literal["cosine", "ip", "l2"]
METRICS: tuple[str, ...] = get_args(Metric)
Where = Mapping[str, str | Sequence[str]]

_BLOCK_BYTES = 8 << 20  # read and normalised at a time, so that a build needs little more than the index itself
_CACHE_BYTES = 1 << 20  # made ready at a time; small enough for the cache


@dataclass(frozen=True)
class IndexedLayer:
    """Some rows of one layer of a store, in ascending order; *positions* number them from 0.

    Args:
        store: where they are read from, block by block.
        info: backbone, layer, view, dimension and digest.
        metric: under ``cosine`` rows are divided by their length, unless the store says that they are of unit length.
        where: which images, as in ``FeatureStore.select``; kept for an index file.
        rows: (R,) int64 row numbers of the store.
    """

    store: FeatureStore
    info: LayerInfo
    metric: Metric
    where: Where | None
    rows: IntArray

    @classmethod
    def choose(
        cls,
        store: FeatureStore,
        *,
        backbone: str | None,
        layer: str | None,
        view: str,
        metric: str,
        where: Where | None,
    ) -> Self:
        """Return the present rows of a layer; the only backbone and its default layer when they are None.

        Raises:
            UnknownNameError: the store has no such backbone, layer, view or column.
            OptionError: no such metric, or several backbones to choose from.
            InputError: no row is left.
        """
        if metric not in METRICS:
            raise OptionError(f"there is no metric {metric!r}; choose one of {', '.join(METRICS)}")
        name = backbone or _only(store)
        info = store.info(name, layer or store.default_layer(name, view=view), view=view)
        rows = store.select(where)
        there = rows[store.present(name, view=view)[rows]]
        if not len(there):
            raise InputError(
                f"{store.path}: none of the {len(rows)} chosen images has features of {name!r} ({view}); "
                f"`fewshot inspect {store.path}` lists what there is"
            )
        return cls(store, info, metric, where, there)  # type: ignore[arg-type]  # checked above

    def __len__(self) -> int:
        return len(self.rows)

    def __str__(self) -> str:
        return f"layer {self.info.layer!r} of backbone {self.info.backbone!r} in {self.store.path}"

    @property
    def dimension(self) -> int:
        """Number of values of a row."""
        return self.info.dimension

    @cached_property
    def sources(self) -> Any:
        """(R,) the source name of every row."""
        return self.store.source[self.rows]

    @cached_property
    def counts(self) -> dict[str, int]:
        """Number of rows of each source, by name."""
        return dict(sorted(Counter(map(str, self.sources)).items()))

    # -- vectors ---------------------------------------------------------------------------------------------------

    @property
    def block_rows(self) -> int:
        """How many rows are read at a time."""
        return max(1, _BLOCK_BYTES // (4 * self.dimension))

    def blocks(self) -> Iterator[tuple[int, Float32Array]]:
        """Yield (first position, (n, D) float32 vectors) over all rows, in order.

        Raises:
            InputError: a value is not finite, or a row is zero under cosine.
        """
        for start in range(0, len(self), self.block_rows):
            yield start, self._vectors(self.rows[start : start + self.block_rows])

    def fill(self, vectors: Float32Array) -> None:
        """Put all vectors into (R, D) float32, contiguous: read straight into their place and made ready there.

        Raises:
            InputError: a value is not finite, or a row is zero under cosine.
        """
        follow = len(self) and self.rows[-1] - self.rows[0] == len(self) - 1
        for start, stop in spans(len(self), len(self) if follow else self.block_rows):
            rows = self.rows[start:stop]
            self.store.read_into(vectors[start:stop], rows, self.info.backbone, self.info.layer, view=self.info.view)
        with ThreadPoolExecutor(min(8, len(os.sched_getaffinity(0)))) as pool:
            parts = spans(len(self), max(1, _CACHE_BYTES // (4 * self.dimension)))
            for _ in pool.map(lambda part: self._ready(vectors[slice(*part)], self.rows[slice(*part)]), parts):
                pass

    def gather(self, positions: IntArray) -> Float32Array:
        """Return the vectors at some positions, in any order: (n, D) float32; memory is a block beyond the result."""
        wanted, inverse = np.unique(np.asarray(positions, np.int64), return_inverse=True)
        found = np.empty((len(wanted), self.dimension), np.float32)
        edges = np.searchsorted(wanted, np.arange(0, len(self) + self.block_rows, self.block_rows))
        for start, stop in pairwise(edges):
            if stop > start:
                found[start:stop] = self._vectors(self.rows[wanted[start:stop]])
        return found[inverse.reshape(-1)]

    def raw(self, positions: IntArray) -> Float32Array:
        """Return the features at some positions as the store holds them, fit to be queries: (n, D) float32."""
        return self.store.read(self.rows[positions], self.info.backbone, self.info.layer, view=self.info.view)

    def prepared(self, queries: FloatArray) -> Float32Array:
        """Return queries fit for the metric: (M, D) float32; under cosine divided by their length.

        Raises:
            InputError: another width, a value that is not finite, or a zero vector under cosine.
        """
        queries = np.asarray(queries)
        if queries.ndim != 2 or queries.shape[1] != self.dimension:
            raise InputError(f"queries must have the shape (M, {self.dimension}) of {self}, not {queries.shape}")
        require_finite(queries, what="queries")
        if self.metric == "cosine":
            return np.ascontiguousarray(unit_rows(queries, what="queries"))
        return np.ascontiguousarray(queries, dtype=np.float32)

    def _vectors(self, rows: IntArray) -> Float32Array:
        return self._ready(self.store.read(rows, self.info.backbone, self.info.layer, view=self.info.view), rows)

    def _ready(self, block: Float32Array, rows: IntArray) -> Float32Array:
        """Return vectors fit for the metric, made so in place; ``rows`` are theirs in the store."""
        lengths = np.linalg.norm(block, axis=1, keepdims=True)
        if not np.isfinite(lengths).all():
            row = int(rows[np.flatnonzero(~np.isfinite(lengths[:, 0]))[0]])
            raise InputError(
                f"{self}: row {row} holds NaN or infinite values, or is too long for float32; embed these images "
                f"again, in --precision fp32 if they were made in fp16"
            )
        if self.metric != "cosine" or self.info.normalised:
            return block
        if not lengths.all():
            row = int(rows[np.flatnonzero(lengths[:, 0] == 0)[0]])
            raise InputError(
                f"{self}: row {row} is a zero vector, which has no direction; choose another --layer, or leave the "
                f"image out"
            )
        block /= lengths  # as unit_rows does, without another copy
        return block


def _only(store: FeatureStore) -> str:
    if len(store.backbones) != 1:
        raise OptionError(f"{store.path} holds the backbones {', '.join(store.backbones)}; choose one by --backbone")
    return store.backbones[0]
