"""Exact scores of candidates, and their one order: by score descending, then by row ascending.

Every score is a sum in double precision over one pair of rows, so it does not depend on what else is computed beside
it. It stays in double precision: where all images of a backbone point nearly the same way, float32 cosines are all 1.
"""

from collections.abc import Callable

import numpy as np

from fewshot.core.arrays import BoolArray, Float32Array, Float64Array, IntArray, spans
from fewshot.embeddings.search.indexed_layer import IndexedLayer, Metric

NONE = -1  # the position of a candidate that is not there
_GATHER_BYTES = 8 << 20  # rows gathered at a time; small enough for the cache
_MARGIN = 8  # candidates per block beyond k, for what float32 sums may confuse

Gather = Callable[[IntArray], Float32Array]


def exact_scores(gather: Gather, queries: Float32Array, candidates: IntArray, *, metric: Metric) -> Float64Array:
    """Return the scores of each query's candidates: (m, c) float64, larger = nearer; -inf where there is none.

    Args:
        gather: returns the vectors (n, D) float32 at some positions.
        queries: (m, D) float32.
        candidates: (m, c) int64 positions, ``NONE`` where there is none.
        metric: ``cosine``, ``ip``: the inner product, ``l2``: minus the Euclidean distance.
    """
    scores = np.full(candidates.shape, -np.inf)
    across = max(1, _GATHER_BYTES // (8 * queries.shape[1]))
    for first, last in spans(candidates.shape[1], across):
        for start, stop in spans(len(queries), max(1, across // max(1, last - first))):
            positions = candidates[start:stop, first:last]
            vectors = gather(np.maximum(positions, 0).reshape(-1)).reshape(*positions.shape, -1)
            found = _pairwise(vectors, queries[start:stop, None, :], metric)
            scores[start:stop, first:last] = np.where(positions == NONE, -np.inf, found)
    return scores


def ranked(
    scores: Float64Array, candidates: IntArray, *, k: int, excluded: list[IntArray]
) -> tuple[Float64Array, IntArray]:
    """Return the ``k`` best candidates: (m, k) scores and positions; ``NONE`` at -inf where there are fewer.

    Args:
        scores, candidates: (m, c) scores and positions.
        excluded: for each query, positions that are no answer.
    """
    allowed = candidates != NONE
    for number, positions in enumerate(excluded):
        if len(positions):
            allowed[number] &= ~np.isin(candidates[number], positions)
    scores, candidates = np.where(allowed, scores, -np.inf), np.where(allowed, candidates, NONE)
    order = np.lexsort((candidates, -scores), axis=-1)[:, :k]
    return np.take_along_axis(scores, order, 1), np.take_along_axis(candidates, order, 1)


def scan(
    indexed: IndexedLayer,
    queries: Float32Array,
    *,
    k: int,
    excluded: list[IntArray],
    allowed: BoolArray | None = None,
) -> tuple[Float64Array, IntArray]:
    """Return scores and positions (m, k) by brute force over the blocks of a layer, without any index.

    Args:
        queries: (m, D) float32, prepared.
        excluded: for each query, positions that are no answer.
        allowed: (R,) bool, which positions may be answers; all when None.
    """
    scores, best = np.full((len(queries), 1), -np.inf), np.full((len(queries), 1), NONE, np.int64)
    width = k + max((len(positions) for positions in excluded), default=0) + _MARGIN
    for start, block in indexed.blocks():
        inside = np.arange(len(block)) if allowed is None else np.flatnonzero(allowed[start : start + len(block)])
        if not len(inside):
            continue
        rough = queries @ block[inside].T
        if indexed.metric == "l2":
            rough -= np.einsum("ij,ij->i", block[inside], block[inside]) / 2  # |q|^2 is the same for all
        kept = inside[np.argpartition(-rough, min(width, len(inside)) - 1, axis=1)[:, :width]]
        near = exact_scores(block.__getitem__, queries, kept, metric=indexed.metric)
        scores, best = ranked(np.hstack([scores, near]), np.hstack([best, start + kept]), k=k, excluded=excluded)
    return scores, best


def searched_value(scores: Float64Array, *, metric: Metric) -> Float64Array:
    """Return scores as a search ranks them, larger = nearer: squared distances instead of distances."""
    return -(scores**2) if metric == "l2" else scores


def rounding_bound(queries: Float32Array, longest: float, *, metric: Metric) -> Float64Array:
    """Return (m,) how far a float32 sum over D products may lie from the exact one: 4 sqrt(D) units of rounding.

    A blocked or vectorised sum of D products errs by far less than its worst case D u |q||x| (Higham 2002, "Accuracy
    and Stability of Numerical Algorithms", sections 3.1 and 4.2), typically by sqrt(D) u |q||x|.

    Args:
        queries: (m, D) float32.
        longest: the length of the longest row.
    """
    lengths = np.linalg.norm(queries.astype(np.float64), axis=1)
    scale = (lengths + longest) ** 2 if metric == "l2" else lengths * longest
    return np.asarray(4 * np.sqrt(queries.shape[1]) * np.finfo(np.float32).eps * scale)


def _pairwise(vectors: Float32Array, queries: Float32Array, metric: Metric) -> Float64Array:
    wide, queried = vectors.astype(np.float64), queries.astype(np.float64)
    if metric == "l2":
        return np.asarray(0.0 - np.sqrt(((wide - queried) ** 2).sum(axis=-1)))
    products = (wide * queried).sum(axis=-1)
    if metric == "ip":
        return np.asarray(products)
    lengths = np.sqrt((wide**2).sum(axis=-1)) * np.sqrt(
        (queried**2).sum(axis=-1)
    )  # float32 rows are 1 to rounding only
    return np.asarray(np.clip(products / lengths, -1, 1))
