"""Intervals over new draws and new images at once, by the two-way bootstrap.

Trials and queried images are resampled together with replacement, as rows and columns of one table (Owen, Annals of
Applied Statistics 1, 2007). An AUROC with weights on the images is a ratio of two bilinear forms, so a resample costs a
weighted rank sum per trial and no new ordering.

Supports are drawn from the same images as queries: a pool whose classes happen to lie far apart in some direction both
teaches heads that direction and rewards them for it. No resampling of trials or queries sees that, so its variance is
added in closed form: every image's influence through the supports that hold it, by the infinitesimal jackknife with its
correction for few trials (Wager, Hastie, Efron, JMLR 15, 2014, section 3), beside its influence as a query (DeLong's
components). Without it the interval covers about 80 % instead of 95 % (docs/experiments/coverage.md).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fewshot.core.arrays import BoolArray, Float64Array, FloatArray, IntArray, spans
from fewshot.stats import student
from fewshot.stats.intervals import CONFIDENCE, Interval, placements
from fewshot.stats.weighted_auroc import of_images

RESAMPLES = 1000
MOST_FOR_ONE = 2.5  # by simulation: 93 to 100 % with 10 to 300 images a class (docs/experiments/coverage.md)
_BLOCK = 1 << 21  # counts of images that are held at once


@dataclass(frozen=True)
class TrialMasks:
    """What the trials learned from and queried, the same for all heads that are compared.

    Args:
        query: (T, n) bool: which images each trial queried.
        synthetic: (n,) bool.
        support: (T, n) bool: the images each trial was fitted on.
    """

    query: BoolArray
    synthetic: BoolArray
    support: BoolArray


def two_way_bootstrap(scores: FloatArray, masks: TrialMasks, *, seed: int, resamples: int = RESAMPLES) -> Interval:
    """Return the 95 % interval of the mean AUROC over new draws and new images.

    It is Wilson's (Journal of the American Statistical Association 22, 1927) of a share of as many images as the
    variance speaks for. Near 1 hardly any resample differs and the variance is as good as unknown, so that no more
    images are counted than ``MOST_FOR_ONE`` times those of the scarcer class.

    Args:
        scores: (T, n) of every trial.
        seed: of the resampling.

    Returns:
        NaN where no trial queried both classes.
    """
    found = _Influences.of(scores, masks)
    share = found.mean
    if np.isnan(share):
        return Interval(float("nan"), float("nan"))
    (means,) = _resampled([scores], masks, seed=seed, resamples=resamples)
    variance = (float(means.var(ddof=1)) if len(means) > 1 else 0.0) + found.shared_variance(masks)
    images = MOST_FOR_ONE * _scarcest(masks)
    if variance > 0:
        images = min(images, share * (1 - share) / variance)
    return _wilson(share, images, _quantile(masks))


def _scarcest(masks: TrialMasks) -> float:
    """Return how many images a trial queries of the class that has fewer, on average."""
    return float(min(masks.query[:, masks.synthetic == side].sum(axis=1).mean() for side in (False, True)))


def _wilson(share: float, images: float, quantile: float) -> Interval:
    """Return Wilson's interval of a share of some images."""
    over = quantile**2 / max(images, 1e-9)
    middle = (share + over / 2) / (1 + over)
    half = float(np.sqrt(over * share * (1 - share) + over**2 / 4)) / (1 + over)
    return Interval(max(0.0, middle - half), min(1.0, middle + half))


@dataclass(frozen=True)
class TwoWayDifference:
    """A difference of two mean AUROCs over new draws and new images.

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
    first: FloatArray, second: FloatArray, masks: TrialMasks, *, seed: int, resamples: int = RESAMPLES
) -> TwoWayDifference:
    """Compare two heads on the same draws and images; scores are (T, n) each."""
    mine, theirs = (_Influences.of(scores, masks) for scores in (first, second))
    gap = _Influences(mine.values - theirs.values, mine.queries - theirs.queries)
    means = _resampled([first, second], masks, seed=seed, resamples=resamples)
    error = float(np.sqrt((means[0] - means[1]).var(ddof=1) + gap.shared_variance(masks)))
    half = _quantile(masks) * error
    p = student.two_sided(gap.mean, error, _freedom(masks))
    return TwoWayDifference(gap.mean, gap.mean - half, gap.mean + half, p)


@dataclass(frozen=True)
class _Influences:
    """How far every image moves the mean AUROC, as DeLong's components show for a query.

    Args:
        values: (T,) AUROC of every trial; NaN where it queried one class only.
        queries: (n,) influence of every image as a query; 0 where no trial queried it.
    """

    values: Float64Array
    queries: Float64Array

    @classmethod
    def of(cls, scores: FloatArray, masks: TrialMasks) -> "_Influences":
        components, values = np.full(scores.shape, np.nan), np.full(len(scores), np.nan)
        for trial, (row, query) in enumerate(zip(scores, masks.query, strict=True)):
            natural, synthetic = (np.flatnonzero(query & (masks.synthetic == side)) for side in (False, True))
            if len(natural) and len(synthetic):
                found = placements(row[natural].astype(np.float64), row[synthetic].astype(np.float64))
                values[trial] = found.synthetic.mean()
                components[trial, natural] = found.natural - values[trial]
                components[trial, synthetic] = found.synthetic - values[trial]
        known = np.count_nonzero(~np.isnan(components), axis=0)
        means = np.nansum(components, axis=0) / np.maximum(known, 1)
        return cls(values, means / np.maximum(_class_sizes(known > 0, masks.synthetic), 1))

    @property
    def mean(self) -> float:
        """The mean AUROC."""
        return float(np.nanmean(self.values)) if np.isfinite(self.values).any() else float("nan")

    def shared_variance(self, masks: TrialMasks) -> float:
        """Return the variance that comes from supports and queries sharing a pool; at least 0."""
        known = np.isfinite(self.values)
        gaps, trials = (self.values - self.mean)[known], int(known.sum())
        if trials < 2:
            return 0.0
        held = masks.support[known].astype(np.float64)
        drawn = np.asarray(masks.support[known].any(axis=0))
        share = np.where(drawn, _class_means(held.mean(axis=0), drawn, masks.synthetic), 0.0)
        supports = gaps @ (held - held.mean(axis=0)) / trials / np.maximum(1 - share, 1e-9)
        noise = gaps.var(ddof=1) / trials * share / np.maximum(1 - share, 1e-9)
        return max(0.0, float((supports**2 - noise * drawn + 2 * supports * self.queries).sum()))


def _class_sizes(chosen: BoolArray, synthetic: BoolArray) -> IntArray:
    """Return for each image the number of chosen images of its class."""
    sizes: IntArray = np.where(synthetic, np.count_nonzero(chosen & synthetic), np.count_nonzero(chosen & ~synthetic))
    return sizes


def _class_means(values: Float64Array, chosen: BoolArray, synthetic: BoolArray) -> Float64Array:
    """Return for each image the mean value of the chosen images of its class."""
    sums = np.where(synthetic, values[chosen & synthetic].sum(), values[chosen & ~synthetic].sum())
    return np.asarray(sums / np.maximum(_class_sizes(chosen, synthetic), 1))


def _resampled(tables: Sequence[FloatArray], masks: TrialMasks, *, seed: int, resamples: int) -> Float64Array:
    """Return (heads, R) mean AUROCs; all heads see the same resampled trials and images."""
    generator = np.random.default_rng(seed)
    columns = np.flatnonzero(masks.query.any(axis=0))
    query, synthetic = masks.query[:, columns], masks.synthetic[columns]
    weighted = [of_images(scores[:, columns], query, synthetic) for scores in tables]
    trials, images = query.shape
    found = np.empty((len(weighted), resamples))
    for start, stop in spans(resamples, max(1, _BLOCK // images)):
        drawn = [
            (generator.integers(trials, size=trials), generator.integers(images, size=images))
            for _ in range(start, stop)
        ]
        chosen = np.stack([np.bincount(rows, minlength=trials) for rows, _ in drawn])
        counts = np.stack([np.bincount(rows, minlength=images) for _, rows in drawn])
        for head, one in enumerate(weighted):
            aurocs = one.aurocs(counts)
            weights = chosen * ~np.isnan(aurocs)
            with np.errstate(invalid="ignore"):
                found[head, start:stop] = (np.nan_to_num(aurocs) * weights).sum(axis=1) / weights.sum(axis=1)
    return found[:, np.isfinite(found).all(axis=0)]


def _freedom(masks: TrialMasks) -> int:
    """Degrees of freedom: of the scarcest of trials, natural and synthetic images."""
    images = masks.synthetic[masks.query.any(axis=0)]
    return max(1, min(len(masks.query), int(images.sum()), int((~images).sum())) - 1)


def _quantile(masks: TrialMasks) -> float:
    return student.quantile((1 + CONFIDENCE) / 2, _freedom(masks))
