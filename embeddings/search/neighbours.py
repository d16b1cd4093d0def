"""The nearest images of a query, and what their sources say together."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fewshot.core.arrays import Float64Array, IntArray

TextArray = NDArray[Any]


@dataclass(frozen=True)
class Neighbours:
    """The k nearest rows of each query, nearest first; equal scores in ascending row order.

    Args:
        scores: (M, k) float64, larger = nearer: the cosine, the inner product, or minus the Euclidean distance.
        rows: (M, k) int64 row numbers of the store.
        sources: (M, k) source names, text.
    """

    scores: Float64Array
    rows: IntArray
    sources: TextArray

    def __len__(self) -> int:
        return len(self.rows)

    def first(self, k: int) -> "Neighbours":
        """Return the same queries with their ``k`` nearest rows only."""
        return Neighbours(self.scores[:, :k], self.rows[:, :k], self.sources[:, :k])


def spoken_score(score: float) -> str:
    """Return a score with the digits that distinguish it from its neighbours: cosines near 1 by what they lack.

    >>> spoken_score(0.73218), spoken_score(1 - 3.2e-7), spoken_score(1.0)
    ('0.7322', '1-3.2e-07', '1')
    """
    lacks = 1 - score
    if 0 < lacks < 1e-3:
        return f"1-{lacks:.1e}"
    return "1" if lacks == 0 else f"{score:.4f}"


@dataclass(frozen=True)
class SourceVotes:
    """What the neighbours of each query say of every source.

    Args:
        names: (S,) source names, sorted.
        votes: (M, S) int64, how many of the k neighbours are of the source.
        shares: (M, S) float64, the similarity-weighted vote corrected for source size; every row sums to 1.
        nearest: (M, S) float64, the score of the nearest neighbour of the source; -inf where it has none.
    """

    names: tuple[str, ...]
    votes: IntArray
    shares: Float64Array
    nearest: Float64Array

    @property
    def order(self) -> IntArray:
        """(M, S) positions in ``names``, best first: by share, then nearest neighbour, then name."""
        position = np.broadcast_to(np.arange(len(self.names)), self.shares.shape)
        return np.asarray(np.lexsort((position, -self.nearest, -self.shares), axis=-1), dtype=np.int64)

    @property
    def best(self) -> TextArray:
        """(M,) the name of the best source of each query."""
        return np.array(self.names, dtype=object)[self.order[:, 0]]


def vote(neighbours: Neighbours, counts: Mapping[str, int]) -> SourceVotes:
    """Weigh the neighbours' sources, so that a source wins by likeness and not by size.

    A neighbour weighs 1 when it is the nearest and one half when it is the k-th, linearly in the score between them
    (Dudani 1976, "The distance-weighted k-nearest-neighbor rule", IEEE SMC-6, whose weights fall to 0; here the k-th
    neighbour keeps a voice). A source's weight is divided by its number of rows n: with k_s neighbours of source s,
    k_s / n_s estimates the density of s at the query, so the shares are posteriors under equal priors (Duda, Hart and
    Stork, "Pattern Classification", section 4.5).

    Args:
        neighbours: k nearest rows of each query.
        counts: rows of each source among which the neighbours were found.
    """
    names = tuple(sorted(counts))
    code = np.searchsorted(np.array(names, dtype=object), neighbours.sources)
    member = code[:, :, None] == np.arange(len(names))  # (M, k, S)
    weighed = (member * _weights(neighbours.scores)[:, :, None]).sum(axis=1)
    density = weighed / np.array([counts[name] for name in names], dtype=np.float64)
    scores = np.where(member, neighbours.scores[:, :, None].astype(np.float64), -np.inf)
    return SourceVotes(
        names=names,
        votes=member.sum(axis=1).astype(np.int64),
        shares=density / density.sum(axis=1, keepdims=True),
        nearest=scores.max(axis=1),
    )


def _weights(scores: Float64Array) -> Float64Array:
    """Return (M, k) float64 weights from 1 for the nearest to 1/2 for the k-th; all 1 where they are equally near."""
    wide = scores.astype(np.float64)
    behind, span = wide[:, :1] - wide, wide[:, :1] - wide[:, -1:]
    return 1.0 - 0.5 * np.divide(behind, span, out=np.zeros_like(wide), where=span > 0)
