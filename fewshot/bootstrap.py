"""Intervals over new draws and new query images at once, by the two-way bootstrap.

Trials and images are resampled together with replacement, as rows and columns of one table (Owen, Annals of Applied
Statistics 1, 2007). An AUROC with weights on the images is a ratio of two bilinear forms, so a resample costs a
weighted rank sum per trial and no new ordering. The resamples give the standard error; the interval is Student's around
the measured value, which covers better than the percentiles of the resamples do (docs/experiments/coverage.md).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from fewshot.core.arrays import BoolArray, Float64Array, FloatArray, IntArray
from fewshot.statistics import CONFIDENCE, Interval

RESAMPLES = 1000


@dataclass(frozen=True)
class Asked:
    """What the trials asked, the same for all heads that are compared.

    Args:
        query: (T, n) bool: which images each trial queried.
        synthetic: (n,) bool.
    """

    query: BoolArray
    synthetic: BoolArray


def two_way_bootstrap(scores: FloatArray, asked: Asked, *, seed: int, resamples: int = RESAMPLES) -> Interval:
    """Return the 95 % interval of the mean AUROC over new draws and new query images, on the logit scale.

    Args:
        scores: (T, n) of every trial.
        seed: of the resampling.

    Returns:
        NaN where the mean AUROC is 0 or 1, of which no resample can differ.
    """
    ranked = _Ranked.of(scores, asked)
    centre = float(np.nanmean(ranked.auroc(_whole(asked))))
    if not 0 < centre < 1:
        return Interval(float("nan"), float("nan"))
    (means,) = _resampled([ranked], asked, seed=seed, resamples=resamples)
    error = _logit(means).std(ddof=1)
    half = _quantile(asked) * error
    low, high = (1 / (1 + np.exp(-(_logit(centre) + step))) for step in (-half, half))
    return Interval(float(low), float(high))


@dataclass(frozen=True)
class TwoWayDifference:
    """A difference of two mean AUROCs over new draws and new query images.

    Args:
        difference: first minus second, as measured.
        low, high: its 95 % interval.
        p: two-sided, for "no difference".
    """

    difference: float
    low: float
    high: float
    p: float


def two_way_difference(
    first: FloatArray, second: FloatArray, asked: Asked, *, seed: int, resamples: int = RESAMPLES
) -> TwoWayDifference:
    """Compare two heads on the same draws and images; scores are (T, n) each."""
    ranked = [_Ranked.of(scores, asked) for scores in (first, second)]
    whole = _whole(asked)
    difference = float(np.nanmean(ranked[0].auroc(whole) - ranked[1].auroc(whole)))
    mine, theirs = _resampled(ranked, asked, seed=seed, resamples=resamples)
    error = float((mine - theirs).std(ddof=1))
    half = _quantile(asked) * error
    p = (1.0 if difference == 0 else 0.0) if error == 0 else 2 * stats.t.sf(abs(difference) / error, _freedom(asked))
    return TwoWayDifference(difference, difference - half, difference + half, float(p))


def _resampled(ranked: "list[_Ranked]", asked: Asked, *, seed: int, resamples: int) -> Float64Array:
    """Return (heads, R) mean AUROCs; all heads see the same resampled trials and images."""
    generator = np.random.default_rng(seed)
    trials, images = asked.query.shape
    found = np.empty((len(ranked), resamples))
    for resample in range(resamples):
        chosen = np.bincount(generator.integers(trials, size=trials), minlength=trials)
        counts = np.bincount(generator.integers(images, size=images), minlength=images)
        for head, one in enumerate(ranked):
            aurocs = one.auroc(counts)
            weights = chosen * ~np.isnan(aurocs)
            with np.errstate(invalid="ignore"):
                found[head, resample] = np.nan_to_num(aurocs) @ weights / weights.sum()
    return found[:, np.isfinite(found).all(axis=0)]


def _whole(asked: Asked) -> IntArray:
    return np.ones(len(asked.synthetic), np.int64)


def _freedom(asked: Asked) -> int:
    """Degrees of freedom: of the scarcest of trials, natural and synthetic images."""
    synthetic = int(asked.synthetic.sum())
    return max(1, min(len(asked.query), synthetic, len(asked.synthetic) - synthetic) - 1)


def _quantile(asked: Asked) -> float:
    return float(stats.t.ppf((1 + CONFIDENCE) / 2, _freedom(asked)))


def _logit(values: Any) -> Any:
    inside = np.clip(values, 1e-9, 1 - 1e-9)
    return np.log(inside / (1 - inside))


@dataclass(frozen=True)
class _Ranked:
    """One head's images in ascending order of their scores, each trial's own: all arrays are (T, n).

    Args:
        order: numbers of the images.
        natural, synthetic: 1 where the trial queried an image of that class, else 0.
        last, before: the place of the last score equal to each, and the place before the first; None without ties.
    """

    order: IntArray
    natural: IntArray
    synthetic: IntArray
    last: IntArray | None
    before: IntArray | None

    @classmethod
    def of(cls, scores: FloatArray, asked: Asked) -> "_Ranked":
        order = np.argsort(scores, axis=1, kind="stable")
        query, synthetic = np.take_along_axis(asked.query, order, axis=1), asked.synthetic[order]
        places = _ties(np.take_along_axis(scores, order, axis=1))
        return cls(order, (query & ~synthetic).astype(np.int64), (query & synthetic).astype(np.int64), *places)

    def auroc(self, counts: IntArray) -> Float64Array:
        """Return (T,) AUROCs of the queried images, each counted (n,) times; NaN where a class has none."""
        weights = counts[self.order]
        upto = np.cumsum(weights * self.natural, axis=1)
        positive = weights * self.synthetic
        pairs = upto[:, -1] * positive.sum(axis=1)
        if self.last is None or self.before is None:
            twice = 2 * upto
        else:
            below = np.take_along_axis(upto, np.maximum(self.before, 0), axis=1) * (self.before >= 0)
            twice = np.take_along_axis(upto, self.last, axis=1) + below
        with np.errstate(invalid="ignore", divide="ignore"):
            share: Float64Array = np.einsum("tn,tn->t", positive, twice) / (2.0 * pairs)
        return share


def _ties(ranked: FloatArray) -> tuple[IntArray, IntArray] | tuple[None, None]:
    """Return (T, n) the place of the last score equal to each and that before the first, in ascending rows."""
    changes = ranked[:, 1:] != ranked[:, :-1]
    if changes.all():
        return None, None
    places, edge = np.arange(ranked.shape[1]), np.ones((len(ranked), 1), bool)
    ends = np.where(np.concatenate([changes, edge], axis=1), places, ranked.shape[1])
    starts = np.where(np.concatenate([edge, changes], axis=1), places, -1)
    last = np.flip(np.minimum.accumulate(np.flip(ends, axis=1), axis=1), axis=1)
    return last, np.maximum.accumulate(starts, axis=1) - 1
