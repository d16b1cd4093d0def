"""Search one layer of a store for the images nearest to a query; the only module that imports FAISS.

FAISS finds candidates; every score is then computed again from the rows themselves in double precision, rounded to
float32. So scores and order are the same whatever the batch, the number of threads, the BLAS or the device.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import faiss as _faiss
import numpy as np

from fewshot.core.arrays import BoolArray, Float32Array, Float64Array, FloatArray, IntArray, require_finite, unit_rows
from fewshot.core.errors import InputError, OptionError
from fewshot.embeddings.neighbours import Neighbours
from fewshot.embeddings.schema import CLEAN
from fewshot.embeddings.store import FeatureStore

faiss: Any = _faiss  # its type stubs know the C++ signatures, not the Python ones

Metric = Literal["cosine", "ip", "l2"]
METRICS: tuple[str, ...] = get_args(Metric)

_BLOCK_BYTES = 8 << 20  # read and normalised at a time, so that a build needs little more than the index itself
_QUERY_BLOCK = 1024
_GATHER_BYTES = 64 << 20  # rows gathered at a time for scores in double precision
_MARGIN = 8  # candidates beyond k: enough to prove almost every answer complete


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

    Raises:
        UnknownNameError: the store has no such backbone, layer, view or column.
        InputError: no row, a zero vector under cosine, or a value that is not finite.
    """

    def __init__(
        self,
        store: FeatureStore | Path | str,
        *,
        backbone: str | None = None,
        layer: str | None = None,
        view: str = CLEAN,
        metric: Metric = "cosine",
        where: Mapping[str, str | Sequence[str]] | None = None,
    ) -> None:
        if metric not in METRICS:
            raise OptionError(f"there is no metric {metric!r}; choose one of {', '.join(METRICS)}")
        self.store = store if isinstance(store, FeatureStore) else FeatureStore(store)
        self.metric = metric
        name = backbone or _only(self.store)
        self.info = self.store.info(name, layer or self.store.default_layer(name, view=view), view=view)
        self.rows = _indexed_rows(self.store, name, view, where)
        self.sources = self.store.source[self.rows]
        self.counts = dict(sorted(Counter(self.sources).items()))
        self._index = faiss.IndexFlat(self.info.dimension, _faiss_metric(metric))
        self._longest = self._fill()

    def __len__(self) -> int:
        return len(self.rows)

    def __repr__(self) -> str:
        place = f"{self.info.backbone}/{self.info.layer}"
        return f"SourceIndex({place}, {self.metric}: {len(self)} rows of {len(self.counts)} sources)"

    @property
    def what(self) -> str:
        """The layer in words, for messages."""
        return f"layer {self.info.layer!r} of backbone {self.info.backbone!r} in {self.store.path}"

    def features(self, rows: IntArray) -> Float32Array:
        """Return (n, D) float32 features of some rows of the store, fit to be queries."""
        return self.store.read(rows, self.info.backbone, self.info.layer, view=self.info.view)

    # -- search ----------------------------------------------------------------------------------------------------

    def nearest(
        self,
        queries: FloatArray,
        k: int = 5,
        *,
        leave_out: Sequence[IntArray] | None = None,
        among: BoolArray | None = None,
    ) -> Neighbours:
        """Return the ``k`` nearest rows of each query; fewer when fewer can be found.

        Args:
            queries: (M, D) floating, as the backbone gives them; under cosine they are divided by their length.
            k: neighbours wanted, at least 1.
            leave_out: for each query, the store rows that may not be an answer; for example its own.
            among: (R,) bool over ``self.rows``, which of them may be answers; all when None.

        Raises:
            OptionError: k below 1.
            InputError: queries of another width, not finite, zero under cosine, or no row left for one of them.
        """
        if k < 1:
            raise OptionError(f"k must be at least 1, not {k}")
        prepared = self._prepared(queries)
        barred = self._barred(len(prepared), leave_out, among)
        widest = max((len(rows) for rows in barred), default=0)
        open_rows = len(self) if among is None else int(np.count_nonzero(among))
        if len(prepared) and open_rows - widest < 1:
            raise InputError(
                f"{self.what}: of {open_rows} rows none is left for a query that leaves {widest} out; "
                f"index more images or leave fewer out"
            )
        k = min(k, max(open_rows - widest, 1))
        width = min(k + widest + _MARGIN, open_rows)
        found = [
            self._block(prepared[start:stop], k, width, barred[start:stop], among, open_rows)
            for start, stop in _spans(len(prepared), _QUERY_BLOCK)
        ]
        scores = np.concatenate([part[0] for part in found]) if found else np.empty((0, k), np.float32)
        positions = np.concatenate([part[1] for part in found]) if found else np.empty((0, k), np.int64)
        return Neighbours(scores, self.rows[positions], self.sources[positions])

    def _prepared(self, queries: FloatArray) -> Float32Array:
        queries = np.asarray(queries)
        if queries.ndim != 2 or queries.shape[1] != self.info.dimension:
            raise InputError(f"queries must have the shape (M, {self.info.dimension}) of {self.what}; {queries.shape}")
        require_finite(queries, what="queries")
        if self.metric == "cosine":
            return np.ascontiguousarray(unit_rows(queries, what="queries"))
        return np.ascontiguousarray(queries, dtype=np.float32)

    def _barred(self, queries: int, leave_out: Sequence[IntArray] | None, among: BoolArray | None) -> list[IntArray]:
        """Return the positions in the index that each query may not be answered with, beyond those of ``among``."""
        if leave_out is None:
            return [np.empty(0, np.int64)] * queries
        if len(leave_out) != queries:
            raise InputError(f"leave_out holds {len(leave_out)} sets of rows for {queries} queries; give one each")
        barred = []
        for rows in leave_out:
            positions = np.searchsorted(self.rows, rows)
            inside = positions[(positions < len(self)) & (self.rows[np.minimum(positions, len(self) - 1)] == rows)]
            barred.append(inside if among is None else inside[among[inside]])
        return barred

    def _block(
        self,
        queries: Float32Array,
        k: int,
        width: int,
        barred: list[IntArray],
        among: BoolArray | None,
        open_rows: int,
    ) -> tuple[Float32Array, IntArray]:
        """Return scores and positions (m, k), proven complete: no row outside the candidates can be as near."""
        near, candidates = self._index.search(queries, width, params=_selector(among))
        scores, positions = self._ranked(queries, candidates, barred, k)
        if width == open_rows:
            return scores, positions
        floor = self._faiss_value(scores[:, -1]) - self._slack(queries)
        reached = -near[:, -1] if self.metric == "l2" else near[:, -1]
        for number in np.flatnonzero(reached.astype(np.float64) >= floor):
            one = queries[number : number + 1]
            radius = np.nextafter(np.float32(floor[number]), np.float32(-np.inf))
            _, _, wider = self._index.range_search(
                one, float(-radius if self.metric == "l2" else radius), params=_selector(among)
            )
            ranked = self._ranked(one, wider[None, :], barred[number : number + 1], k)
            scores[number], positions[number] = ranked[0][0], ranked[1][0]
        return scores, positions

    def _ranked(
        self, queries: Float32Array, candidates: IntArray, barred: list[IntArray], k: int
    ) -> tuple[Float32Array, IntArray]:
        """Return the ``k`` best of the candidates by exact score, then ascending row: (m, k) scores and positions."""
        scores = self._scores(queries, candidates)
        for number, positions in enumerate(barred):
            if len(positions):
                scores[number, np.isin(candidates[number], positions)] = -np.inf
        order = np.lexsort((candidates, -scores), axis=-1)[:, :k]
        return np.take_along_axis(scores, order, 1), np.take_along_axis(candidates, order, 1)

    def _scores(self, queries: Float32Array, candidates: IntArray) -> Float32Array:
        """Return (m, c) float32 scores, each summed in double precision, independent of its neighbours in memory."""
        vectors = self._vectors()
        scores = np.empty(candidates.shape, np.float32)
        across = max(1, _GATHER_BYTES // (8 * self.info.dimension))
        for first, last in _spans(candidates.shape[1], across):
            columns = candidates[:, first:last]
            for start, stop in _spans(len(queries), max(1, across // max(1, last - first))):
                gathered = vectors[columns[start:stop]].astype(np.float64)
                query = queries[start:stop, None, :].astype(np.float64)
                if self.metric == "l2":
                    scores[start:stop, first:last] = 0.0 - np.sqrt(((gathered - query) ** 2).sum(axis=-1))
                else:
                    scores[start:stop, first:last] = (gathered * query).sum(axis=-1)
        return scores

    def _faiss_value(self, scores: Float32Array) -> Float64Array:
        """Return scores as FAISS ranks them, larger = nearer: it uses squared distances."""
        wide = scores.astype(np.float64)
        return -(wide**2) if self.metric == "l2" else wide

    def _slack(self, queries: Float32Array) -> Float64Array:
        """Return (m,) how far a float32 sum over D products may lie from the exact one: 4 sqrt(D) units of rounding.

        A blocked or vectorised sum of D products errs by far less than its worst case D u |q||x| (Higham, "Accuracy
        and Stability of Numerical Algorithms", section 4.2), typically by sqrt(D) u |q||x|.
        """
        lengths = np.linalg.norm(queries.astype(np.float64), axis=1)
        scale = (lengths + self._longest) ** 2 if self.metric == "l2" else lengths * self._longest
        return np.asarray(4 * np.sqrt(self.info.dimension) * np.finfo(np.float32).eps * scale)

    # -- build -----------------------------------------------------------------------------------------------------

    def _vectors(self) -> Float32Array:
        """Return the indexed rows (R, D) float32, a view of FAISS's own memory."""
        size = len(self) * self.info.dimension
        flat: Float32Array = faiss.rev_swig_ptr(self._index.get_xb(), size)
        return flat.reshape(len(self), self.info.dimension)

    def _fill(self) -> float:
        """Read the layer block by block straight into FAISS's memory; return the length of the longest row."""
        self._index.codes.resize(len(self) * self._index.code_size)
        self._index.ntotal = len(self)
        vectors = self._vectors()
        longest = 0.0
        for start, stop in _spans(len(self), max(1, _BLOCK_BYTES // (4 * self.info.dimension))):
            block = self._checked(self.features(self.rows[start:stop]))
            vectors[start:stop] = block
            longest = max(longest, float(np.sqrt(np.einsum("ij,ij->i", block, block, dtype=np.float64).max())))
        return longest

    def _checked(self, block: Float32Array) -> Float32Array:
        require_finite(block, what=self.what)
        if self.metric == "cosine" and not self.info.normalised:
            return unit_rows(block, what=self.what)
        return block


def rows_sharing(values: Any, queries: Any) -> list[IntArray]:
    """Return, for each query value, the positions in ``values`` that hold it; none for an empty value.

    >>> [list(map(int, rows)) for rows in rows_sharing(["a", "b", "a", ""], ["a", "c", ""])]
    [[0, 2], [], []]
    """
    where: dict[Any, list[int]] = {}
    for position, value in enumerate(values):
        if value != "":
            where.setdefault(value, []).append(position)
    return [np.array(where.get(value, []), dtype=np.int64) for value in queries]


def _only(store: FeatureStore) -> str:
    if len(store.backbones) != 1:
        raise OptionError(f"{store.path} holds the backbones {', '.join(store.backbones)}; choose one by --backbone")
    return store.backbones[0]


def _indexed_rows(
    store: FeatureStore, backbone: str, view: str, where: Mapping[str, str | Sequence[str]] | None
) -> IntArray:
    present = store.present(backbone, view=view)
    rows = store.select(where)
    found = rows[present[rows]]
    if not len(found):
        raise InputError(
            f"{store.path}: none of the {len(rows)} images asked for has features of {backbone!r} ({view}); "
            f"`fewshot inspect {store.path}` lists what there is"
        )
    return found


def _faiss_metric(metric: str) -> Any:
    return faiss.METRIC_L2 if metric == "l2" else faiss.METRIC_INNER_PRODUCT


def _selector(among: BoolArray | None) -> Any:
    if among is None:
        return None
    return faiss.SearchParameters(sel=faiss.IDSelectorBitmap(np.packbits(among, bitorder="little")))


def _spans(length: int, step: int) -> list[tuple[int, int]]:
    return [(start, min(start + step, length)) for start in range(0, length, step)]
