"""Measures of scores against labels: AUROC, average precision, TPR at a false-positive rate, accuracies.

Everywhere a larger score means more likely synthetic, and synthetic is the positive class: average precision is not
symmetric, and others compute it with natural images as positives. Values equal scikit-learn's, ties included.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

from fewshot.core.arrays import BoolArray, Float64Array, FloatArray, IntArray, spans
from fewshot.core.errors import InputError
from fewshot.stats.pairs_won import twice_pairs_won

Tpr = Literal["at-most", "nearest"]
FPR = 0.05
FEWEST_NATURAL = round(1 / FPR)  # of fewer natural images, 5 % is less than one
_WORKERS = min(8, os.cpu_count() or 1)  # sorting releases the interpreter lock
_SCORES_AT_ONCE = 1 << 17  # of several trials, in one thread
METRICS = (
    "auroc",
    "average_precision",
    "tpr_at_5_fpr",
    "accuracy",
    "f1",
    "natural_accuracy",
    "synthetic_accuracy",
)


@dataclass(frozen=True)
class Ranked:
    """The scores of one query set, ordered once; any subset of the synthetic images is then measured cheaply.

    Every generator is measured against the same natural images, so what a synthetic image needs is how many natural
    ones score below it.

    Args:
        natural: (n0,) scores of natural images, ascending.
        synthetic: (n1,) scores of synthetic images, as given.
        below: (n1,) int64: natural images that score lower than each.
        upto: (n1,) int64: natural images that score at most as high as each.
    """

    natural: FloatArray
    synthetic: FloatArray
    below: NDArray[np.int64]
    upto: NDArray[np.int64]

    @classmethod
    def of(cls, scores: FloatArray, synthetic: BoolArray) -> Self:
        """Order scores (n,) with their classes (n,).

        Raises:
            InputError: one class only, or a score that is NaN.
        """
        require_both_classes(synthetic)
        _require_scores(scores)
        natural = np.sort(scores[~synthetic])
        positive = scores[synthetic]
        below = np.searchsorted(natural, positive, side="left").astype(np.int64)
        return cls(natural, positive, below, np.searchsorted(natural, positive, side="right").astype(np.int64))

    def only(self, chosen: BoolArray) -> "Ranked":
        """Return the same natural images against some of the synthetic ones: chosen (n1,) bool, at least one."""
        return Ranked(self.natural, self.synthetic[chosen], self.below[chosen], self.upto[chosen])

    @property
    def placements(self) -> Float64Array:
        """(n1,) share of natural images that each synthetic one outscores, ties counted half."""
        return (self.below + self.upto) / (2.0 * len(self.natural))

    def auroc(self) -> float:
        """Return the probability that a synthetic image outscores a natural one, ties counted half."""
        pairs = len(self.natural) * len(self.synthetic)
        return float((int(self.below.sum()) + int(self.upto.sum())) / (2 * pairs))

    def average_precision(self) -> float:
        """Return the mean over synthetic images of the precision at their own score (scikit-learn's step rule)."""
        ordered = np.sort(self.synthetic)
        positives = len(ordered) - np.searchsorted(ordered, self.synthetic, side="left")
        naturals = len(self.natural) - self.below
        return float(np.mean(positives / (positives + naturals)))

    def tpr_at_most(self, fpr: float = FPR) -> float:
        """Return the largest true-positive rate whose false-positive rate is at most ``fpr``."""
        allowed = int(np.floor(fpr * len(self.natural) + 1e-9))
        if allowed >= len(self.natural):
            return 1.0
        limit = self.natural[len(self.natural) - 1 - allowed]
        return float(np.mean(self.synthetic > limit))

    def tpr_nearest(self, fpr: float = FPR) -> float:
        """Return the true-positive rate at the ROC point nearest to ``fpr`` on either side, the first among equals.

        The ROC points are scikit-learn's with collinear ones dropped, as FiSeR's metrics.py takes them.
        """
        rates, found = self._roc_points()
        return float(found[np.argmin(np.abs(rates - fpr))])

    def auroc_by_trapezoids(self) -> float:
        """Return scikit-learn's AUROC, equal to ``auroc`` but for the last digits."""
        rates, found = self._roc_points()
        return float(np.trapezoid(found, rates))

    def _roc_points(self) -> tuple[Float64Array, Float64Array]:
        """Return false-positive and true-positive rates (p,), to the last bit as scikit-learn's ``roc_curve`` has them.

        Its checks of what is given take longer than the curve.
        """
        scores = np.concatenate([self.natural, self.synthetic]).astype(np.float64)
        synthetic = np.repeat([False, True], [len(self.natural), len(self.synthetic)])
        order = np.argsort(-scores, kind="stable")
        last = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)  # of every run of equal scores
        true = np.cumsum(synthetic[order])[last]
        false = 1 + last - true
        if len(last) > 2:
            turns = (np.diff(false, 2) != 0) | (np.diff(true, 2) != 0)
            corners = np.concatenate([[True], turns, [True]])
            true, false = true[corners], false[corners]
        true, false = np.append(0, true), np.append(0, false)
        return false / false[-1], true / true[-1]

    def measure(self, metric: str, *, tpr: Tpr = "at-most") -> float:
        """Return one of ``METRICS``; decisions are made at the score 0.

        With ``tpr="nearest"`` TPR and AUROC are FiSeR's: the latter by scikit-learn's trapezoids, whose last digits
        decide between equals when FiSeR chooses the best k.

        Raises:
            KeyError: not one of ``METRICS``.
        """
        if tpr == "nearest" and metric in _PUBLISHED:
            return _PUBLISHED[metric](self)
        return _MEASURES[metric](self)

    @property
    def natural_accuracy(self) -> float:
        """Share of natural images with a score of at most 0."""
        return float(np.mean(self.natural <= 0))

    @property
    def synthetic_accuracy(self) -> float:
        """Share of synthetic images with a score above 0."""
        return float(np.mean(self.synthetic > 0))

    @property
    def accuracy(self) -> float:
        """Share of all images decided rightly."""
        right = np.count_nonzero(self.natural <= 0) + np.count_nonzero(self.synthetic > 0)
        return float(right / (len(self.natural) + len(self.synthetic)))

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall of the synthetic class; 0 when nothing is found."""
        true, false = np.count_nonzero(self.synthetic > 0), np.count_nonzero(self.natural > 0)
        return float(2 * true / (true + false + len(self.synthetic)))


_MEASURES: dict[str, Callable[[Ranked], float]] = {
    "auroc": Ranked.auroc,
    "average_precision": Ranked.average_precision,
    "tpr_at_5_fpr": Ranked.tpr_at_most,
    "accuracy": lambda ranked: ranked.accuracy,
    "f1": lambda ranked: ranked.f1,
    "natural_accuracy": lambda ranked: ranked.natural_accuracy,
    "synthetic_accuracy": lambda ranked: ranked.synthetic_accuracy,
}

_PUBLISHED: dict[str, Callable[[Ranked], float]] = {
    "auroc": Ranked.auroc_by_trapezoids,
    "tpr_at_5_fpr": Ranked.tpr_nearest,
}


def require_both_classes(synthetic: BoolArray) -> None:
    """Raise unless both classes are there.

    Raises:
        InputError: one class only, or nothing.
    """
    positives = int(np.count_nonzero(synthetic))
    if positives == 0 or positives == len(synthetic):
        raise InputError(
            f"both natural and synthetic images are needed, and there are {len(synthetic) - positives} natural and "
            f"{positives} synthetic ones; add images of the other class or loosen --where"
        )


def auroc(scores: FloatArray, synthetic: BoolArray) -> Float64Array:
    """Return the AUROC of every trial: scores (T, n), synthetic (n,) -> (T,) float64.

    >>> auroc(np.array([[0.1, 0.4, 0.35, 0.8]]), np.array([False, False, True, True]))
    array([0.75])
    """
    require_both_classes(synthetic)
    _require_scores(scores)
    return _of_all(lambda trial: _sorted_auroc(scores[trial], synthetic), *scores.shape)


def auroc_without(scores: FloatArray, synthetic: BoolArray, left_out: IntArray) -> Float64Array:
    """Return the AUROC of every trial over all images but some: scores (T, n), left_out (T, s) rows -> (T,) float64."""
    require_both_classes(synthetic)
    _require_scores(scores)

    def one(trial: int) -> float:
        inside = int(np.count_nonzero(synthetic[left_out[trial]]))
        pairs = (positives - inside) * (len(synthetic) - positives - (left_out.shape[1] - inside))
        return float(won(scores[trial], synthetic, left_out[trial]) / (2 * pairs))

    positives = int(np.count_nonzero(synthetic))
    won = twice_pairs_won if scores.dtype == np.float32 else _twice_won_without
    return _of_all(one, *scores.shape)


def _twice_won_without(scores: FloatArray, synthetic: BoolArray, left_out: IntArray) -> int:
    """Count the pairs won over all images, and take away those with an image that is left out."""
    inside = synthetic[left_out]
    out_natural, out_synthetic = scores[left_out[~inside]], scores[left_out[inside]]
    natural, positive = np.sort(scores[~synthetic]), np.sort(scores[synthetic])
    won = _twice_won(natural, positive) - _twice_won(natural, out_synthetic)
    won -= 2 * len(positive) * len(out_natural) - _twice_won(positive, out_natural)
    return won + _twice_won(np.sort(out_natural), out_synthetic)


def _twice_won(ordered: FloatArray, scores: FloatArray) -> int:
    """Twice the number of pairs in which a score beats a member of the ordered array, ties counted half."""
    below = np.searchsorted(ordered, scores, side="left")
    return int(below.sum()) + int(np.searchsorted(ordered, scores, side="right").sum())


def _sorted_auroc(scores: FloatArray, synthetic: BoolArray) -> float:
    natural, positive = np.sort(scores[~synthetic]), np.sort(scores[synthetic])
    return _twice_won(natural, positive) / (2 * len(natural) * len(positive))


def _require_scores(scores: FloatArray) -> None:
    if np.isnan(scores.min(initial=0)):  # NaN if one is; no array of booleans as large as the scores
        raise InputError(f"{int(np.isnan(scores).sum())} of {scores.size} scores are NaN; look at the features")


def _of_all(measure: Callable[[int], float], trials: int, images: int) -> Float64Array:
    """Return (T,) one value per trial; threads take so many trials at a time that handing them over costs little."""
    parts = list(spans(trials, max(1, _SCORES_AT_ONCE // max(images, 1))))
    found = np.empty(trials)

    def some(part: tuple[int, int]) -> None:
        for trial in range(*part):
            found[trial] = measure(trial)

    if len(parts) == 1:
        some(parts[0])
        return found
    with ThreadPoolExecutor(max_workers=_WORKERS) as workers:
        list(workers.map(some, parts))
    return found
