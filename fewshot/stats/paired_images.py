"""Two classifiers on the same images: shares and AUROCs of both, and their differences, with intervals over images."""

from dataclasses import dataclass

import numpy as np

from fewshot.core.arrays import BoolArray, Float64Array
from fewshot.stats.intervals import CONFIDENCE, Interval, placements


@dataclass(frozen=True)
class Difference:
    """A measure of the first minus that of the second, on the same images.

    Args:
        value: the difference; low, high: its interval, NaN where the images say nothing of it.
        p: two-sided, for "no difference".
    """

    value: float
    low: float
    high: float
    p: float


def exact_interval(count: int, images: int, *, confidence: float = CONFIDENCE) -> Interval:
    """Return the exact interval of a share (Clopper and Pearson, Biometrika 26, 1934).

    >>> interval = exact_interval(0, 20)
    >>> round(interval.low, 3), round(interval.high, 3)
    (0.0, 0.168)
    """
    from scipy.special import betaincinv

    tail = (1 - confidence) / 2
    low = float(betaincinv(count, images - count + 1, tail)) if count else 0.0
    high = float(betaincinv(count + 1, images - count, 1 - tail)) if count < images else 1.0
    return Interval(low, high, confidence)


def share_difference(first: BoolArray, second: BoolArray, *, confidence: float = CONFIDENCE) -> Difference:
    """Return the difference of two shares of the same images.

    The interval is Newcombe's for paired shares (Statistics in Medicine 17, 1998, 2635-2650, method 10), the p-value
    McNemar's exact one, which looks only at the images on which the two differ.

    Args:
        first, second: (n,) bool, whether each image counts.

    >>> agree = np.repeat([True, False], [30, 10])
    >>> share_difference(agree, agree).p
    1.0
    """
    images = len(first)
    both, only_first = int((first & second).sum()), int((first & ~second).sum())
    only_second, neither = int((~first & second).sum()), int((~first & ~second).sum())
    one, other = (both + only_first) / images, (both + only_second) / images
    (low_1, high_1), (low_2, high_2) = (_wilson(share, images, confidence) for share in (one, other))
    phi = _phi(both, only_first, only_second, neither)
    down = _root(one - low_1, high_2 - other, phi)
    up = _root(other - low_2, high_1 - one, phi)
    return Difference(one - other, one - other - down, one - other + up, _mcnemar(only_first, only_second))


def auroc_difference(
    first: tuple[Float64Array, Float64Array],
    second: tuple[Float64Array, Float64Array],
    *,
    confidence: float = CONFIDENCE,
) -> Difference:
    """Return the difference of two AUROCs on the same images (DeLong, DeLong, Clarke-Pearson, Biometrics 44, 1988).

    Args:
        first, second: (n0,) scores of natural and (n1,) of synthetic images, in the same order for both.
    """
    from scipy.special import ndtr, ndtri

    mine, theirs = placements(*first), placements(*second)
    value = float(mine.synthetic.mean() - theirs.synthetic.mean())
    gaps = (mine.natural - theirs.natural, mine.synthetic - theirs.synthetic)
    if min(map(len, gaps)) < 2:
        return Difference(value, float("nan"), float("nan"), float("nan"))
    error = float(np.sqrt(sum(gap.var(ddof=1) / len(gap) for gap in gaps)))
    if error == 0:
        same = value == 0
        return Difference(value, value, value, 1.0) if same else Difference(value, *(float("nan"),) * 3)
    half = float(ndtri((1 + confidence) / 2)) * error
    return Difference(value, max(value - half, -1.0), min(value + half, 1.0), float(2 * ndtr(-abs(value) / error)))


def _wilson(share: float, images: int, confidence: float) -> tuple[float, float]:
    """Return Wilson's interval of one share, on which Newcombe's stands."""
    from scipy.special import ndtri

    z = float(ndtri((1 + confidence) / 2))
    centre, wide = share + z * z / (2 * images), 1 + z * z / images
    half = z * np.sqrt(share * (1 - share) / images + z * z / (4 * images * images))
    return max(float((centre - half) / wide), 0.0), min(float((centre + half) / wide), 1.0)


def _phi(both: int, only_first: int, only_second: int, neither: int) -> float:
    """Return how the two go together, corrected for continuity where they do (Newcombe 1998, method 10)."""
    images = both + only_first + only_second + neither
    scale = (both + only_first) * (only_second + neither) * (both + only_second) * (only_first + neither)
    product = both * neither - only_first * only_second
    if scale == 0:
        return 0.0
    return (max(product - images / 2, 0.0) if product > 0 else float(product)) / float(np.sqrt(float(scale)))


def _root(one: float, other: float, phi: float) -> float:
    return float(np.sqrt(max(one * one - 2 * phi * one * other + other * other, 0.0)))


def _mcnemar(only_first: int, only_second: int) -> float:
    from scipy.special import bdtr

    differing = only_first + only_second
    return min(1.0, 2 * float(bdtr(min(only_first, only_second), differing, 0.5))) if differing else 1.0
