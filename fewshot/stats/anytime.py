"""Bounds that hold at every look: however often a growing stream is looked at, they fail with the stated probability.

Intervals of a rate: the mixture of likelihood ratios (Robbins 1970, "Statistical methods related to the law of the
iterated logarithm"; Howard, Ramdas, McAuliffe and Sekhon 2021, "Time-uniform, nonparametric, nonasymptotic confidence
sequences"). For a rate p and k successes in t trials,

    M_t(p) = B(k + 1/2, t - k + 1/2) / (B(1/2, 1/2) p^k (1 - p)^(t - k))

is a martingale of mean 1 when p is the rate, so that it ever reaches 1 / level with probability at most ``level``
(Ville 1939). The rates at which it has not are an interval that holds at all t at once.

Tests: the stream is cut into blocks of 16, 32, 64 ... images, so that a change is seen whenever it begins, and each
block is tested once, as a sample of fixed size, when it is full. The i-th block of the k-th size (both from 0) takes
the share 1 / ((i + 1)(i + 2)(k + 1)(k + 2)) of the level. These shares sum to one, so that all blocks of an endless
stream hold together (the union over looks of Darling and Robbins 1968, "Some nonparametric sequential tests with power
one").
"""

from dataclasses import dataclass

import numpy as np

from fewshot.core.arrays import BoolArray, Float64Array, FloatArray, IntArray
from fewshot.stats.intervals import Interval

SMALLEST_BLOCK = 16
_EDGE = 1e-15
_PRIOR = 0.5  # of Krichevsky and Trofimov: within log(t) / 2 of the best rate in hindsight


@dataclass(frozen=True)
class Blocks:
    """The full blocks of a stream, in the order in which they filled.

    Args:
        start, stop: (b,) int64, of each block in the stream.
        share: (b,) float64, of the level that each takes.
    """

    start: IntArray
    stop: IntArray
    share: Float64Array

    @property
    def size(self) -> IntArray:
        """(b,) images in each."""
        return self.stop - self.start


def full_blocks(images: int) -> Blocks:
    """Return the full blocks of a stream of so many images; those of a longer stream begin with the same ones.

    >>> found = full_blocks(50)
    >>> found.start.tolist(), found.stop.tolist()
    ([0, 0, 16, 32], [16, 32, 32, 48])
    """
    found: list[tuple[int, int, float]] = []
    size, rank = SMALLEST_BLOCK, 0
    while size <= images:
        for number in range(images // size):
            share = 1 / ((number + 1) * (number + 2) * (rank + 1) * (rank + 2))
            found.append((number * size, (number + 1) * size, share))
        size, rank = 2 * size, rank + 1
    found.sort(key=lambda block: (block[1], block[0]))
    return Blocks(
        start=np.array([block[0] for block in found], dtype=np.int64),
        stop=np.array([block[1] for block in found], dtype=np.int64),
        share=np.array([block[2] for block in found], dtype=np.float64),
    )


def blocks_above(outcomes: BoolArray, rate: float, blocks: Blocks, *, level: float) -> BoolArray:
    """Return (b,) in which blocks outcomes are so frequent that their rate lies above ``rate``.

    When no outcome has a rate above it, given those before, any block is named with probability at most ``level``.

    Args:
        outcomes: (t,) bool, the stream.
    """
    from scipy.stats import binom

    total = np.concatenate([[0], np.cumsum(outcomes)])
    counts = total[blocks.stop] - total[blocks.start]
    return np.asarray(binom.sf(counts - 1, blocks.size, rate) <= level * blocks.share)


def rate_at_most(successes: int, trials: int, *, level: float) -> float:
    """Return the upper bound of a rate from a sample of fixed size (Clopper and Pearson 1934), of level ``level``.

    >>> round(rate_at_most(0, 59, level=0.05), 4)
    0.0495
    """
    from scipy.stats import beta

    return float(beta.isf(level, successes + 1, trials - successes)) if successes < trials else 1.0


def rate_interval(successes: int, trials: int, *, level: float) -> Interval:
    """Return the interval of a rate that holds at every number of trials at once, with probability 1 - ``level``.

    >>> found = rate_interval(5, 100, level=0.05)
    >>> round(found.low, 3), round(found.high, 3)
    (0.007, 0.156)
    """
    from scipy.optimize import brentq
    from scipy.special import betaln, xlog1py, xlogy

    if not trials:
        return Interval(0.0, 1.0, 1 - level)
    failures = trials - successes
    mixture = betaln(successes + _PRIOR, failures + _PRIOR) - betaln(_PRIOR, _PRIOR)

    def excess(rate: float) -> float:
        return float(mixture - xlogy(successes, rate) - xlog1py(failures, -rate) + np.log(level))

    found = successes / trials  # where M_t is smallest, and below 1
    low = brentq(excess, _EDGE, found) if successes else 0.0
    high = brentq(excess, found, 1 - _EDGE) if failures else 1.0
    return Interval(float(low), float(high), 1 - level)


def dkw_bound(images: int | IntArray, level: float | Float64Array) -> Float64Array:
    """Return what a sample's distribution function stays within of the true one, with probability 1 - ``level``.

    Dvoretzky, Kiefer and Wolfowitz 1956 with the constant of Massart, Annals of Probability 18, 1990.

    >>> round(float(dkw_bound(100, 0.05)), 4)
    0.1358
    """
    return np.asarray(np.sqrt(np.log(2 / np.asarray(level)) / (2 * np.asarray(images))), dtype=np.float64)


def ks_distances(reference: FloatArray, scores: FloatArray) -> tuple[float, float]:
    """Return the Kolmogorov-Smirnov distances of scores that are higher, and lower, than those of a reference.

    The first is the largest excess of the reference's distribution function over that of the scores.

    Args:
        reference: (n,), ascending; scores: (t,); both not empty.
    """
    ordered = np.sort(np.asarray(scores, dtype=np.float64))
    points = np.concatenate([reference, ordered])
    expected = np.searchsorted(reference, points, side="right") / len(reference)
    found = np.searchsorted(ordered, points, side="right") / len(ordered)
    return float(max((expected - found).max(), 0.0)), float(max((found - expected).max(), 0.0))
