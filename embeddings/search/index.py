"""Search one layer of a store for the images nearest to a query, with exact scores.

FAISS finds candidates; every score is then computed again from the rows themselves (``exact.py``). So scores and order
are the same whatever the batch, the number of threads, the BLAS or the device; an approximate index may miss a
neighbour, but never scores one wrongly.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np

from fewshot.core.arrays import BoolArray, Float32Array, Float64Array, FloatArray, IntArray, spans
from fewshot.core.errors import InputError, OptionError
from fewshot.core.files import atomic_path
from fewshot.core.outputs import INDEX
from fewshot.embeddings.layer_key import CLEAN
from fewshot.embeddings.search.exact import NONE, exact_scores, ranked, rounding_bound, scan, searched_value
from fewshot.embeddings.search.faiss_index import (
    build,
    efforts,
    longest,
    on_device,
    read,
    search_parameters,
    set_probes,
    storage_of,
    vectors_of,
    write,
)
from fewshot.embeddings.search.files import read_description, require_same_layer, write_description
from fewshot.embeddings.search.indexed_layer import IndexedLayer, Metric, Where
from fewshot.embeddings.search.kinds import choose_kind
from fewshot.embeddings.search.neighbours import Neighbours
from fewshot.embeddings.store.reader import FeatureStore, LayerInfo

_QUERY_BLOCK = 1024
_READ_BYTES = 64 << 20  # rows read at a time where the index holds codes only
_MARGIN = 8  # candidates beyond k: enough to prove almost every answer of exact search complete
_GPU_WIDEST = 2048  # most candidates that FAISS selects on a GPU
_LAST_BITS = 1e-12  # the cosine of a row with itself may miss 1 by as much
_SAMPLE, _RECALL_AT = 200, 10  # recall@10 is measured on this many rows


class SourceIndex:
    """The rows of one layer of a store, ready to be searched.

    Rows that the backbone could not embed are left out. Under ``cosine`` rows are divided by their length, unless the
    store says that they already are of unit length.

    Args:
        store: a store or its path.
        backbone: which one; may be left out when the store has only one.
        layer: the backbone's default layer when None.
        metric: ``cosine``, ``ip`` (inner product) or ``l2`` (Euclidean).
        where: which images are indexed, as in ``FeatureStore.select``; all when None.
        index: ``flat`` (exact), ``hnsw``, ``ivf-flat``, ``ivf-pq``, or ``auto``, which chooses; see ``choice``.
        recall: share of the true ten nearest that an approximate index shall find.
        memory_bytes: what ``auto`` may take; half of the free memory when None.
        device: ``cpu``, ``cuda``, ``cuda:N``, or ``auto``: every GPU that FAISS sees, else the CPU.
        seed: of the rows that train and measure an approximate index.

    Raises:
        UnknownNameError: the store has no such backbone, layer, view or column.
        InputError: no row, a zero vector under cosine, or a value that is not finite.
        DeviceError: a GPU was asked for and FAISS sees none.
    """

    def __init__(
        self,
        store: FeatureStore | Path | str,
        *,
        backbone: str | None = None,
        layer: str | None = None,
        view: str = CLEAN,
        metric: Metric = "cosine",
        where: Where | None = None,
        index: str = "flat",
        recall: float = 0.95,
        memory_bytes: int | None = None,
        device: str = "auto",
        seed: int = 0,
    ) -> None:
        opened = store if isinstance(store, FeatureStore) else FeatureStore(store)
        self.indexed = IndexedLayer.choose(
            opened, backbone=backbone, layer=layer, view=view, metric=metric, where=where
        )
        self.choice = choose_kind(
            index, len(self.indexed), self.indexed.dimension, recall=recall, memory_bytes=memory_bytes
        )
        self._index, self._longest = build(self.indexed, self.choice.kind, seed)
        self._searched = on_device(self._index, self.choice.kind, device)
        if self.choice.kind != "flat":
            self._tune(recall, seed)

    @classmethod
    def load(cls, store: FeatureStore | Path | str, path: Path | str, *, device: str = "auto") -> Self:
        """Return the index that ``save`` wrote.

        Raises:
            StoreError: the file is damaged, or the layer it indexes has changed since.
        """
        path = Path(path)
        description = read_description(path)
        self = cls.__new__(cls)
        opened = store if isinstance(store, FeatureStore) else FeatureStore(store)
        self.indexed = IndexedLayer.choose(
            opened,
            backbone=description.backbone,
            layer=description.layer,
            view=description.view,
            metric=description.metric,
            where=description.where or None,
        )
        require_same_layer(path, description, self.indexed)
        self.choice = description.chosen
        self._index = read(path, self.indexed, self.choice.kind)
        self._longest = longest(vectors_of(self._index)) if self.choice.kind == "flat" else float("nan")
        self._searched = on_device(self._index, self.choice.kind, device)
        return self

    def save(self, path: Path | str) -> Path:
        """Write the index to ``path`` and a description of its layer beside it, as JSON; return the path.

        Raises:
            OutputError: it cannot be written.
        """
        path = Path(path)
        with atomic_path(path, option="--index-file", kind=INDEX) as temporary:
            try:
                write(self._index, temporary)
            except RuntimeError as error:  # what the disk refused, as FAISS reports it
                raise OSError(str(error)) from error
        write_description(path, self.indexed, self.choice)
        return path

    def __len__(self) -> int:
        return len(self.indexed)

    def __repr__(self) -> str:
        layer = f"{self.info.backbone}/{self.info.layer}"
        return (
            f"SourceIndex({layer}, {self.metric}, {self.choice.kind}: {len(self)} rows of {len(self.counts)} sources)"
        )

    @property
    def store(self) -> FeatureStore:
        """The indexed store."""
        return self.indexed.store

    @property
    def info(self) -> LayerInfo:
        """The indexed layer."""
        return self.indexed.info

    @property
    def metric(self) -> Metric:
        """How nearness is measured."""
        return self.indexed.metric

    @property
    def rows(self) -> IntArray:
        """(R,) the indexed rows of the store, ascending."""
        return self.indexed.rows

    @property
    def sources(self) -> Any:
        """(R,) the source name of every indexed row."""
        return self.indexed.sources

    @property
    def counts(self) -> dict[str, int]:
        """Number of indexed rows of each source."""
        return self.indexed.counts

    def features(self, positions: IntArray) -> Float32Array:
        """Return raw features of indexed rows, by their position in ``rows``, fit to be queries: (n, D) float32."""
        return self.indexed.raw(positions)

    # -- search ----------------------------------------------------------------------------------------------------

    def nearest(
        self,
        queries: FloatArray,
        k: int = 5,
        *,
        leave_out: Sequence[IntArray] | None = None,
        allowed: BoolArray | None = None,
    ) -> Neighbours:
        """Return the ``k`` nearest rows of each query; fewer when fewer can be found.

        Args:
            queries: (M, D) floating, as the backbone gives them; under cosine they are divided by their length.
            k: neighbours wanted, at least 1.
            leave_out: for each query, the store rows that may not be an answer; for example its own.
            allowed: (R,) bool over ``rows``, which of them may be answers; all when None.

        Raises:
            OptionError: k below 1.
            InputError: queries of another width, not finite, zero under cosine, or no row left for one of them.
        """
        if k < 1:
            raise OptionError(f"k must be at least 1, not {k}")
        prepared = self.indexed.prepared(queries)
        excluded = self._excluded(len(prepared), leave_out, allowed)
        widest = max((len(positions) for positions in excluded), default=0)
        open_rows = len(self) if allowed is None else int(np.count_nonzero(allowed))
        if len(prepared) and open_rows - widest < 1:
            raise InputError(
                f"{self.indexed}: of {open_rows} rows none is left for a query that leaves {widest} out; "
                f"index more images or leave fewer out"
            )
        k = min(k, max(open_rows - widest, 1))
        width = min(k + widest + _MARGIN, open_rows)
        search = self._exact if self.choice.kind == "flat" else self._approximate
        scores, positions = np.empty((len(prepared), k)), np.empty((len(prepared), k), np.int64)
        for start, stop in spans(len(prepared), _QUERY_BLOCK):
            found = search(prepared[start:stop], k, width, excluded[start:stop], allowed)
            scores[start:stop], positions[start:stop] = found
        return Neighbours(scores, self.rows[positions], self.sources[positions])

    def pairs_within(self, *, score: float) -> Iterator[tuple[int, int, float]]:
        """Yield (row, later row, score) of all pairs of indexed rows that score at least ``score``; exact only.

        Raises:
            OptionError: the index is approximate.
        """
        if self.choice.kind != "flat":
            raise OptionError(f"all pairs within a score need an exact index, not {self.choice.kind}; use --index flat")
        for start, stop in spans(len(self), _QUERY_BLOCK):
            queries = vectors_of(self._index)[start:stop]
            least = searched_value(np.full(len(queries), score - _LAST_BITS), metric=self.metric)
            radius = float(np.float32((least - rounding_bound(queries, self._longest, metric=self.metric)).min()))
            limits, _, found = self._index.range_search(queries, -radius if self.metric == "l2" else radius)
            for number in range(stop - start):
                later = np.sort(found[limits[number] : limits[number + 1]])
                later = later[later > start + number]
                scores = exact_scores(self._gather, queries[number : number + 1], later[None], metric=self.metric)[0]
                for position, value in zip(later, scores, strict=True):
                    if value >= score - _LAST_BITS:
                        yield int(self.rows[start + number]), int(self.rows[position]), float(value)

    def _excluded(
        self, queries: int, leave_out: Sequence[IntArray] | None, allowed: BoolArray | None
    ) -> list[IntArray]:
        """Return the positions that each query may not be answered with, beyond those that ``allowed`` closes."""
        if leave_out is None:
            return [np.empty(0, np.int64)] * queries
        if len(leave_out) != queries:
            raise InputError(f"leave_out holds {len(leave_out)} sets of rows for {queries} queries; give one each")
        excluded = []
        for rows in leave_out:
            near = np.minimum(np.searchsorted(self.rows, rows), len(self) - 1)
            positions = near[self.rows[near] == rows]
            excluded.append(positions if allowed is None else positions[allowed[positions]])
        return excluded

    def _exact(
        self, queries: Float32Array, k: int, width: int, excluded: list[IntArray], allowed: BoolArray | None
    ) -> tuple[Float64Array, IntArray]:
        """Return scores and positions (m, k), proven complete: no row outside the candidates can be as near."""
        near, candidates = self._candidates(queries, width, allowed)
        scores, positions = self._ranked(queries, candidates, k, excluded)
        if width == (len(self) if allowed is None else np.count_nonzero(allowed)):
            return scores, positions
        floor = searched_value(scores[:, -1], metric=self.metric) - rounding_bound(
            queries, self._longest, metric=self.metric
        )
        reached = (-near[:, -1] if self.metric == "l2" else near[:, -1]).astype(np.float64)
        for number in np.flatnonzero(reached >= floor):
            one = queries[number : number + 1]
            radius = float(np.nextafter(np.float32(floor[number]), np.float32(-np.inf)))
            _, _, wider = self._index.range_search(
                one, -radius if self.metric == "l2" else radius, params=search_parameters("flat", 0, allowed)
            )
            scores[number], positions[number] = self._ranked(one, wider[None], k, excluded[number : number + 1])
        return scores, positions

    def _approximate(
        self, queries: Float32Array, k: int, width: int, excluded: list[IntArray], allowed: BoolArray | None
    ) -> tuple[Float64Array, IntArray]:
        """Return scores and positions (m, k) of what FAISS finds; where that is too little, of a whole scan."""
        if self.choice.kind == "ivf-pq":  # codes rank only roughly, so more candidates are scored again
            width = max(width, 4 * self.choice.effort)
        _, candidates = self._candidates(queries, min(width, len(self)), allowed)
        scores, positions = self._ranked(queries, candidates, k, excluded)
        short = np.flatnonzero((positions == NONE).any(axis=1))
        if len(short):
            scores[short], positions[short] = scan(
                self.indexed, queries[short], k=k, excluded=[excluded[n] for n in short], allowed=allowed
            )
        return scores, positions

    def _candidates(
        self, queries: Float32Array, width: int, allowed: BoolArray | None
    ) -> tuple[Float32Array, IntArray]:
        """Return FAISS's own values and positions (m, width), best first."""
        if self._searched is self._index or allowed is not None or width > _GPU_WIDEST:
            parameters = search_parameters(self.choice.kind, self.choice.effort, allowed)
            near, candidates = self._index.search(queries, width, params=parameters)
            return near, candidates
        if self.choice.kind.startswith("ivf"):
            set_probes(self._searched, self.choice.effort)
        near, candidates = self._searched.search(queries, width)
        return near, candidates

    def _ranked(
        self, queries: Float32Array, candidates: IntArray, k: int, excluded: list[IntArray]
    ) -> tuple[Float64Array, IntArray]:
        if self.choice.kind == "ivf-pq":  # the index holds codes only
            scores = self._scores_from_the_file(queries, candidates)
        else:
            scores = exact_scores(self._gather, queries, candidates, metric=self.metric)
        return ranked(scores, candidates, k=k, excluded=excluded)

    def _scores_from_the_file(self, queries: Float32Array, candidates: IntArray) -> Float64Array:
        """Return the candidates' scores; the rows of many queries are read together, since they lie in most chunks."""
        scores = np.empty(candidates.shape)
        step = max(1, _READ_BYTES // (4 * self.indexed.dimension * candidates.shape[1]))
        for start, stop in spans(len(queries), step):
            wanted = np.unique(np.maximum(candidates[start:stop], 0))
            vectors = self.indexed.gather(wanted)

            def gather(positions: IntArray, wanted: IntArray = wanted, vectors: Float32Array = vectors) -> Float32Array:
                return vectors[np.searchsorted(wanted, positions)]

            scores[start:stop] = exact_scores(gather, queries[start:stop], candidates[start:stop], metric=self.metric)
        return scores

    def _gather(self, positions: IntArray) -> Float32Array:
        if self.choice.kind == "ivf-flat":
            return np.asarray(self._index.reconstruct_batch(positions))
        return np.asarray(vectors_of(self._index if self.choice.kind == "flat" else storage_of(self._index))[positions])

    # -- recall ----------------------------------------------------------------------------------------------------

    def _tune(self, recall: float, seed: int) -> None:
        """Raise the effort until the wanted recall is measured on a sample of the rows, or nothing is left to raise."""
        sample = np.random.default_rng([seed, len(self)]).permutation(len(self))[:_SAMPLE]
        queries = self.indexed.prepared(self.features(np.sort(sample)))
        own = [np.array([position]) for position in np.sort(sample)]
        effort, most = efforts(self._index, self.choice.kind, len(self))
        k = min(_RECALL_AT, len(self) - 1)
        if k < 1:
            self.choice = replace(self.choice, effort=effort)
            return
        wanted, _ = scan(self.indexed, queries, k=k, excluded=own)
        while True:
            self.choice = replace(self.choice, effort=effort, sample=len(sample))
            found, _ = self._approximate(queries, k, k + 1 + _MARGIN, own, None)
            measured = float((found >= wanted[:, -1:]).mean())
            self.choice = replace(self.choice, recall=measured)
            if measured >= recall or effort >= most:
                return
            effort = min(2 * effort, most)
