"""Statements about many trials: intervals of a mean, of a single draw, and of a single AUROC."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from fewshot.core.arrays import Float64Array

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Interval:
    """A range with the confidence that it covers what it is meant for."""

    low: float
    high: float
    confidence: float = CONFIDENCE


@dataclass(frozen=True)
class Summary:
    """What many trials of one measure say.

    Args:
        trials: number of values; values that are NaN (undefined in that trial) are left out and not counted.
        mean: their mean.
        sd: standard deviation of one trial (ddof 1, or as asked); NaN for a single trial with ddof 1.
        low, high: 95 % interval of the mean over draws from these images; see ``mean_interval``.
        p5, p95: the range in which a single draw lands nine times of ten.
    """

    trials: int
    mean: float
    sd: float
    low: float
    high: float
    p5: float
    p95: float


def summarise(values: Sequence[float] | Float64Array, *, ddof: int = 1) -> Summary:
    """Return mean, spread, interval of the mean and 5-95 % range of one value per trial.

    >>> summary = summarise([0.7, 0.8, 0.9])
    >>> round(summary.mean, 3), round(summary.sd, 3), round(summary.low, 3), round(summary.high, 3)
    (0.8, 0.1, 0.552, 1.048)
    """
    known = np.asarray(values, dtype=np.float64)
    known = known[~np.isnan(known)]
    if len(known) == 0:
        return Summary(0, *(float("nan"),) * 6)
    sd = float(np.std(known, ddof=ddof)) if len(known) > ddof else float("nan")
    interval = mean_interval(known)
    p5, p95 = np.percentile(known, [5, 95])
    return Summary(len(known), float(known.mean()), sd, interval.low, interval.high, float(p5), float(p95))


def mean_interval(values: Sequence[float] | Float64Array, *, confidence: float = CONFIDENCE) -> Interval:
    """Return Student's interval of the mean of independent trials.

    The trials are independent draws from one pool of images, so what it covers is the mean over all draws that this
    pool allows; it says nothing of other images (``two_way_bootstrap`` does). NaN for fewer than two values.
    """
    known = np.asarray(values, dtype=np.float64)
    if len(known) < 2:
        return Interval(float("nan"), float("nan"), confidence)
    half = stats.t.ppf((1 + confidence) / 2, len(known) - 1) * np.std(known, ddof=1) / np.sqrt(len(known))
    return Interval(float(known.mean() - half), float(known.mean() + half), confidence)
