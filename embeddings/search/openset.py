"""Is a query of a source that the store knows? Conformal p-values of its best score.

The statistic is the score of the nearest row. Row i of the store has it too, against all other rows (leave one out).
If the query and the rows are exchangeable, its rank allowed theirs is uniform, so that

    p = (1 + #{i: s_i <= s}) / (R + 1)          (Vovk, Gammerman and Shafer 2005, section 2.2)

is at most a with probability at most a: "unknown at 5 %" is false for at most 5 % of images of known sources. Full
conformal prediction would let the query take part in every s_i. That changes nothing here: where s_i <= s, the query
can raise s_i at most to its own similarity with row i, which is at most s; where s_i > s, s_i only grows.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fewshot.core.arrays import BoolArray, Float64Array, FloatArray, IntArray
from fewshot.core.errors import OptionError
from fewshot.embeddings.search.index import SourceIndex

MOST, LEAST = 2000, 200  # rows whose leave-one-out score is taken; a p-value is then known to 1 in 2001, or 1 in 201
_PRODUCTS = 2e11  # what taking them may cost, a few seconds: a large store is sampled with fewer rows


@dataclass(frozen=True)
class KnownScores:
    """How near images of the known sources lie to the rest of the store.

    Args:
        scores: (R,) float64, ascending: the leave-one-out best score of rows of the index.
    """

    scores: Float64Array

    def p_values(self, best: FloatArray) -> Float64Array:
        """Return (M,) conformal p-values of the best scores (M,) of queries: small = unlike every known source."""
        below = np.searchsorted(self.scores, np.asarray(best, dtype=np.float64), side="right")
        return np.asarray((1 + below) / (len(self.scores) + 1), dtype=np.float64)

    def threshold(self, rate: float) -> float:
        """Return the score below which p <= ``rate``; minus infinity when there are too few rows to say so.

        Args:
            rate: stated share of known images that may be called unknown, above 0 and below 1.
        """
        require_rate(rate)
        spared = int(np.floor(rate * (len(self.scores) + 1) + 1e-9)) - 1
        return float(self.scores[spared]) if spared >= 0 else float("-inf")

    def unknown(self, best: FloatArray, *, rate: float) -> BoolArray:
        """Return (M,) which queries are unlike the known sources: p <= ``rate``."""
        return np.asarray(np.asarray(best, dtype=np.float64) < self.threshold(rate))


def known_scores(
    index: SourceIndex,
    *,
    leave_out: Sequence[IntArray] | None = None,
    allowed: BoolArray | None = None,
    sample: int | None = None,
    seed: int = 0,
) -> KnownScores:
    """Return the leave-one-out scores of the index's rows, of a seeded sample where there are many.

    Args:
        index: the index that queries will be searched in.
        leave_out: for each row of ``index.rows``, the store rows that are no answer to it (images of the same
            pixels or group); the row itself when None.
        allowed: (R,) bool, which rows of the index are there; all when None.
        sample: at most this many rows are queried; 2000, and fewer of large stores, when None.
    """
    there = np.arange(len(index)) if allowed is None else np.flatnonzero(allowed)
    there = sampled(there, among=len(index), dimension=index.info.dimension, most=sample, seed=seed)
    out = [index.rows[row : row + 1] if leave_out is None else leave_out[row] for row in there.tolist()]
    found = index.nearest(index.features(there), k=1, leave_out=out, allowed=allowed)
    return KnownScores(np.sort(found.scores[:, 0]))


def sampled(rows: IntArray, *, among: int, dimension: int, most: int | None = None, seed: int) -> IntArray:
    """Return the rows whose leave-one-out scores are taken, all or a seeded sample, ascending.

    Args:
        among: of how many rows of ``dimension`` values the nearest one is looked for.
        most: at most this many; ``MOST``, and fewer where looking costs more, when None.
    """
    if most is None:
        most = int(np.clip(_PRODUCTS / (among * dimension), LEAST, MOST))
    if len(rows) <= most:
        return rows
    return np.sort(np.random.default_rng([seed, most]).choice(rows, most, replace=False))


def require_rate(rate: float) -> None:
    """Raise unless a rate of false unknowns is a share between 0 and 1."""
    if not 0 < rate < 1:
        raise OptionError(f"the rate of false unknowns must lie above 0 and below 1, for example 0.05, not {rate}")
