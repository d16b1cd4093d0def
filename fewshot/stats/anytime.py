"""Bounds that hold at every look: however often a growing stream is looked at, they fail with the stated probability.

Rates: the mixture of likelihood ratios (Robbins 1970, "Statistical methods related to the law of the iterated
logarithm"; Howard, Ramdas, McAuliffe and Sekhon 2021, "Time-uniform, nonparametric, nonasymptotic confidence
sequences"). For a rate p and k successes in t trials,

    M_t(p) = B(k + 1/2, t - k + 1/2) / (B(1/2, 1/2) p^k (1 - p)^(t - k))

is a martingale of mean 1 when p is the rate, so that it ever reaches 1 / level with probability at most ``level``
(Ville 1939). The rates at which it has not are an interval that holds at all t at once.

Distributions: the bound of Dvoretzky, Kiefer and Wolfowitz with Massart's constant (Annals of Probability 18, 1990),

    P(sup_x |F_t(x) - F(x)| > sqrt(log(2 / level) / (2 t))) <= level,

at sizes t that grow geometrically, the j-th of them at the share 1 / ((j + 1)(j + 2)) of the level. These shares sum to
one, so that all of them hold together (the union over looks of Darling and Robbins 1968, "Some nonparametric sequential
tests with power one"). Up to a million images this is tighter than the bound with an iterated logarithm of Howard and
Ramdas 2022 ("Sequential estimation of quantiles with applications to A/B testing and best-arm identification").
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from fewshot.core.arrays import BoolArray, Float64Array, FloatArray
from fewshot.stats.intervals import Interval

FIRST_LOOK = 10  # a smaller stream can be told from nothing
_GROWTH = 1.1  # a look comes at most a tenth of the stream late
_PRIOR = 0.5  # of Krichevsky and Trofimov: within log(t) / 2 of the best rate in hindsight


def rate_interval(successes: int, trials: int, *, level: float) -> Interval:
    """Return the interval of a rate that holds at every number of trials at once, with probability 1 - ``level``.

    >>> found = rate_interval(5, 100, level=0.05)
    >>> round(found.low, 3), round(found.high, 3)
    (0.007, 0.156)
    """
    from scipy.optimize import brentq

    found = successes / trials if trials else 0.5

    def beyond(rate: float) -> float:
        return float(_log_ratio(np.array([successes]), np.array([trials]), rate)[0] + np.log(level))

    edge = 1e-12
    low = brentq(beyond, edge, found) if successes and beyond(edge) > 0 else 0.0
    high = brentq(beyond, found, 1 - edge) if successes < trials and beyond(1 - edge) > 0 else 1.0
    return Interval(float(low), float(high), 1 - level)


def first_above(outcomes: BoolArray, rate: float, *, level: float) -> int | None:
    """Return after how many trials the lower end of ``rate_interval`` first lay above ``rate``; None if it never did.

    When the true rate is at most ``rate``, that it ever does has probability at most ``level``.

    Args:
        outcomes: (n,) bool, in the order of the stream.
    """
    if not len(outcomes) or rate >= 1:
        return None
    trials = np.arange(1, len(outcomes) + 1)
    successes = np.cumsum(outcomes)
    ratio = _log_ratio(successes, trials, max(rate, 1e-12))
    crossed = np.flatnonzero((ratio >= -np.log(level)) & (successes > rate * trials))
    return int(trials[crossed[0]]) if len(crossed) else None


def rate_at_most(successes: int, trials: int, *, level: float) -> float:
    """Return the upper bound of a rate from a sample of fixed size (Clopper and Pearson 1934), of level ``level``.

    >>> round(rate_at_most(0, 59, level=0.05), 4)
    0.0495
    """
    from scipy.stats import beta

    return float(beta.isf(level, successes + 1, trials - successes)) if successes < trials else 1.0


@dataclass(frozen=True)
class KsLook:
    """The Kolmogorov-Smirnov distances of a stream from a reference at one size of the stream.

    Args:
        images: how many of the stream were looked at.
        higher: largest excess of the reference's distribution function over the stream's, which scores that rose give;
            lower: the other way round.
        bound: what either stays below, when both are drawn from one distribution.
    """

    images: int
    higher: float
    lower: float
    bound: float


def ks_looks(reference: FloatArray, stream: FloatArray, *, level: float) -> list[KsLook]:
    """Return the looks at a stream so far; they all stay within their bounds with probability 1 - ``level``.

    Half of the level is spent on the reference, half on the stream.

    Args:
        reference: (n,) scores, a sample of fixed size, at least one.
        stream: (t,) scores, in order.
    """
    ordered = np.sort(np.asarray(reference, dtype=np.float64))
    own = _dkw(len(ordered), level / 2)
    looks = []
    for number, images in enumerate(_sizes(len(stream))):
        seen = np.sort(np.asarray(stream[:images], dtype=np.float64))
        share = level / 2 / ((number + 1) * (number + 2))
        higher, lower = _distances(ordered, seen)
        looks.append(KsLook(images, higher, lower, own + _dkw(images, share)))
    return looks


def _sizes(most: int) -> Iterator[int]:
    size = FIRST_LOOK
    while size <= most:
        yield size
        size = max(size + 1, int(size * _GROWTH))


def _dkw(size: int, level: float) -> float:
    return float(np.sqrt(np.log(2 / level) / (2 * size)))


def _distances(reference: Float64Array, seen: Float64Array) -> tuple[float, float]:
    points = np.concatenate([reference, seen])
    expected = np.searchsorted(reference, points, side="right") / len(reference)
    found = np.searchsorted(seen, points, side="right") / len(seen)
    return float(max((expected - found).max(), 0.0)), float(max((found - expected).max(), 0.0))


def _log_ratio(successes: np.ndarray, trials: np.ndarray, rate: float) -> Float64Array:
    """Return the logarithm of M_t(rate)."""
    from scipy.special import betaln

    failures = trials - successes
    mixture = betaln(successes + _PRIOR, failures + _PRIOR) - betaln(_PRIOR, _PRIOR)
    return np.asarray(mixture - successes * np.log(rate) - failures * np.log1p(-rate), dtype=np.float64)
