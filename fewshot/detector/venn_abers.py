"""Probabilities as intervals: inductive Venn-Abers prediction (Vovk, Petej and Fedorova 2015, arXiv 1511.00213).

For a new score the calibration set is completed once by the pair (score, natural) and once by (score, synthetic);
isotonic regression of either gives p0 and p1. The frequency of synthetic images among those with one of the two as
forecast is that forecast; the distance between them shows how little the calibration set says.
"""

from dataclasses import dataclass

import numpy as np

from fewshot.core.arrays import BoolArray, Float64Array, FloatArray


@dataclass(frozen=True)
class VennAbers:
    """The interval of every place that a score can take among the calibration scores.

    Args:
        scores: (m,) float64, the distinct calibration scores, ascending.
        low, high: (2m + 1,) float64, p0 and p1: below the first score, at it, between it and the second, and so on.
    """

    scores: Float64Array
    low: Float64Array
    high: Float64Array

    @classmethod
    def fit(cls, scores: FloatArray, synthetic: BoolArray) -> "VennAbers":
        """Return the intervals of a calibration set.

        Args:
            scores: (n,) finite, of images that took no part in fitting; synthetic: (n,) bool, both classes.

        Raises:
            ValueError: a score is not finite, or a class is missing.
        """
        wide, synthetic = np.asarray(scores, dtype=np.float64), np.asarray(synthetic, dtype=bool)
        if not np.isfinite(wide).all() or synthetic.all() or not synthetic.any():
            raise ValueError("a calibration set needs finite scores of both classes")
        # Equal scores are one point, so that the order among them decides nothing.
        distinct, where = np.unique(wide, return_inverse=True)
        weights = np.bincount(where).astype(np.float64)
        means = np.bincount(where, weights=synthetic.astype(np.float64)) / weights
        low, high = (_forecasts(means, weights, label) for label in (0.0, 1.0))
        return cls(distinct, low, high)

    def interval(self, scores: FloatArray) -> tuple[Float64Array, Float64Array]:
        """Return (p0, p1) of new scores: two arrays (M,) float64 with p0 <= p1."""
        scores = np.asarray(scores, dtype=np.float64)
        after = np.searchsorted(self.scores, scores, side="left")
        found = np.searchsorted(self.scores, scores, side="right") > after
        place = 2 * after + found
        return self.low[place], self.high[place]


def _forecasts(means: Float64Array, weights: Float64Array, label: float) -> Float64Array:
    """Return, per place, the isotonic fit at it once a pair of this label was added there: (2m + 1,).

    Args:
        means: (m,) share of synthetic images at each distinct score, ascending; weights: (m,) how many images.
    """
    from sklearn.isotonic import isotonic_regression

    found = np.empty(2 * len(means) + 1)
    for place in range(len(found)):
        at, on_a_score = divmod(place, 2)
        if on_a_score:
            y, w = means.copy(), weights.copy()
            y[at], w[at] = (means[at] * weights[at] + label) / (weights[at] + 1), weights[at] + 1
        else:
            y, w = np.insert(means, at, label), np.insert(weights, at, 1.0)
        found[place] = isotonic_regression(y, sample_weight=w)[at]
    return found
