"""Statements about many trials: intervals of a mean, of a single draw, and of a single AUROC."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fewshot.core.arrays import Float64Array
from fewshot.stats import student

CONFIDENCE = 0.95
ENOUGH_DRAWS = 10  # fewer give no interval, and no range in which nine of ten land


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
        sd: standard deviation of one trial (ddof 1, or as given); NaN for a single trial with ddof 1.
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
    pool allows; it says nothing of other images (``two_way.two_way_bootstrap`` does). NaN for fewer than two values.
    """
    known = np.asarray(values, dtype=np.float64)
    if len(known) < 2:
        return Interval(float("nan"), float("nan"), confidence)
    half = student.quantile((1 + confidence) / 2, len(known) - 1) * np.std(known, ddof=1) / np.sqrt(len(known))
    return Interval(float(known.mean() - half), float(known.mean() + half), confidence)


def draws_interval(values: Sequence[float] | Float64Array, *, confidence: float = CONFIDENCE) -> Interval:
    """Return the interval of a mean over draws as tables show it: bounded for shares, none of fewer than ten draws.

    Values that all lie between 0 and 1 are shares, whose interval is Student's on the logit scale of the mean (delta
    method), so that it stays between 0 and 1; of others it is ``mean_interval``. NaN where there is none.

    >>> found = draws_interval([0.99, 1.0, 0.98, 1.0, 1.0, 0.97, 1.0, 1.0, 1.0, 0.9])
    >>> round(found.low, 3), round(found.high, 3)
    (0.937, 0.996)
    """
    known = np.asarray(values, dtype=np.float64)
    known = known[~np.isnan(known)]
    if len(known) < ENOUGH_DRAWS:
        return Interval(float("nan"), float("nan"), confidence)
    plain, mean = mean_interval(known, confidence=confidence), float(known.mean())
    if known.min() < 0 or known.max() > 1 or plain.low == plain.high or not 0 < mean < 1:
        return plain
    return _on_logit_scale(mean, plain.high - mean, confidence)


def delong_interval(natural: Float64Array, synthetic: Float64Array, *, confidence: float = CONFIDENCE) -> Interval:
    """Return DeLong's interval of the AUROC of one fitted head over query images like these, on the logit scale.

    DeLong, DeLong, Clarke-Pearson, Biometrics 44, 1988; the logit keeps it within 0 and 1 (Pepe 2003, section 5.2).

    Args:
        natural: (n0,) scores.
        synthetic: (n1,) scores.
    """
    from scipy.special import ndtri

    rows = placements(natural, synthetic)
    auroc = float(rows.synthetic.mean())
    variance = rows.synthetic.var(ddof=1) / len(rows.synthetic) + rows.natural.var(ddof=1) / len(rows.natural)
    if not 0 < auroc < 1 or not np.isfinite(variance):
        return Interval(float("nan"), float("nan"), confidence)
    return _on_logit_scale(auroc, ndtri((1 + confidence) / 2) * np.sqrt(variance), confidence)


def _on_logit_scale(share: float, half: float, confidence: float) -> Interval:
    """Return the interval of a share between 0 and 1 whose half width is ``half`` on its own scale (delta method)."""
    centre, reach = np.log(share / (1 - share)), half / (share * (1 - share))
    low, high = (1 / (1 + np.exp(-(centre + step))) for step in (-reach, reach))
    return Interval(float(low), float(high), confidence)


@dataclass(frozen=True)
class Placements:
    """For every image the share of the other class that it beats, ties counted half: (n0,) and (n1,) float64."""

    natural: Float64Array
    synthetic: Float64Array


def placements(natural: Float64Array, synthetic: Float64Array) -> Placements:
    """Return DeLong's structural components; the mean of either side is the AUROC."""
    return Placements(1 - _beaten(synthetic, natural), _beaten(natural, synthetic))


def _beaten(others: Float64Array, scores: Float64Array) -> Float64Array:
    ordered = np.sort(others)
    twice = np.searchsorted(ordered, scores, side="left") + np.searchsorted(ordered, scores, side="right")
    share: Float64Array = twice / (2.0 * len(ordered))
    return share


@dataclass(frozen=True)
class Paired:
    """A comparison of A with B on the same draws.

    Args:
        difference: mean of A minus B.
        low, high: its 95 % interval over draws from these images; it says nothing of other images
            (``two_way.two_way_difference`` does).
        p: two-sided, for "no difference", corrected for draws that overlap; see ``paired``.
        p_query_overlap: the same with the ratio turned round, query / support, as Nadeau and Bengio print it for
            large training sets; for a few shots it is so large that hardly anything can be significant.
        trials: number of pairs.
    """

    difference: float
    low: float
    high: float
    p: float
    p_query_overlap: float
    trials: int


def paired(
    mine: Sequence[float] | Float64Array,
    theirs: Sequence[float] | Float64Array,
    *,
    n_support: int,
    n_query: int,
) -> Paired:
    """Compare two lists of values of the same draws by Nadeau and Bengio's corrected resampled t-test.

    Draws from one pool share images, so their values correlate with some rho and the variance of their mean is
    S^2 (1 / T + rho / (1 - rho)) and not S^2 / T (Machine Learning 52, 2003, eq. 3 and section 4). They set rho to the
    share of the pool that the *test* part takes, which is right where the training part hardly matters. With a few
    shots it is the other way round: the value of a draw varies with its support, and two supports share
    n_support / (n_support + n_query) of their images on average; hence rho / (1 - rho) = n_support / n_query here
    (docs/decisions/0010-overlapping-draws.md).
    """
    gaps = np.asarray(mine, dtype=np.float64) - np.asarray(theirs, dtype=np.float64)
    gaps = gaps[~np.isnan(gaps)]
    trials = len(gaps)
    if trials < 2:
        nan = float("nan")
        return Paired(float(gaps.mean()) if trials else nan, nan, nan, nan, nan, trials)
    mean, variance = float(gaps.mean()), float(gaps.var(ddof=1))
    errors = [np.sqrt(variance * (1 / trials + ratio)) for ratio in (n_support / n_query, n_query / max(n_support, 1))]
    p, turned = (student.two_sided(mean, error, trials - 1) for error in errors)
    interval = mean_interval(gaps)
    return Paired(mean, interval.low, interval.high, p, turned, trials)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values corrected for making all these comparisons (Holm, Scandinavian Journal of Statistics 6, 1979).

    >>> [round(p, 3) for p in holm([0.01, 0.04, 0.03])]
    [0.03, 0.06, 0.06]
    """
    order = np.argsort(p_values, kind="stable")
    corrected = [0.0] * len(p_values)
    largest = 0.0
    for rank, number in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[number]))
        corrected[number] = largest
    return corrected
