"""Distance to the two classes under their common covariance."""

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np

from fewshot.core.arrays import Float64Array, FloatArray
from fewshot.core.errors import OptionError
from fewshot.heads.base import Head
from fewshot.heads.state import Learned


class Mahalanobis(Head):
    """Squared Mahalanobis distance to the natural mean minus that to the synthetic mean, one covariance for both.

    Lee et al., A simple unified framework for detecting out-of-distribution samples, NeurIPS 2018, eq. 2. With fewer
    images than dimensions the tied covariance is shrunk towards a multiple of the identity (Ledoit and Wolf, Journal
    of Multivariate Analysis 88, 2004), and inverted in the span of the support (Woodbury).

    Args:
        shrinkage: weight of the identity, between 0 and 1; ``"auto"`` for Ledoit and Wolf's. At least 1e-10 is added,
            without which fewer images than dimensions could not be inverted.
    """

    name: ClassVar[str] = "mahalanobis"
    learned: ClassVar[Mapping[str, Learned]] = {"means_": Learned("2 D"), "direction_": Learned("D")}
    means_: Float64Array
    direction_: Float64Array

    def __init__(self, shrinkage: float | str = "auto") -> None:
        self.shrinkage = shrinkage

    def fit(self, features: FloatArray, y: Any) -> Self:
        """Fit on the support: features (n, D) floating, (n,) two classes."""
        rows, positive = self._check_support(features, y)
        exact = np.asarray(rows, dtype=np.float64)
        means = np.stack([exact[~positive].mean(0), exact[positive].mean(0)])
        residual = exact - means[positive.astype(int)]
        direction = _solved(residual, means[1] - means[0], self._chosen(residual))
        self._learn({"means_": means, "direction_": direction})
        return self

    def decision_function(self, features: FloatArray) -> Float64Array:
        """Return (M,) differences of squared distances; larger = synthetic."""
        rows = self._check_query(features)
        scores: Float64Array = 2.0 * (rows - self.means_.mean(0)) @ self.direction_
        return scores

    def _chosen(self, residual: Float64Array) -> float:
        if self.shrinkage != "auto":
            if isinstance(self.shrinkage, str) or not 0 <= self.shrinkage <= 1:
                raise OptionError(f"shrinkage is {self.shrinkage!r}; give 'auto' or a number from 0 to 1")
            return float(self.shrinkage)
        from sklearn.covariance import ledoit_wolf_shrinkage

        return float(ledoit_wolf_shrinkage(residual, assume_centered=True)) if residual.any() else 1.0


def _solved(residual: Float64Array, right_hand_side: Float64Array, shrinkage: float) -> Float64Array:
    """Return the inverse of (1 - a) R'R / n + a t I times ``right_hand_side``, with t the mean variance: (D,)."""
    count, dimension = residual.shape
    variance = float((residual**2).sum()) / (count * dimension) or 1.0
    ridge = max(shrinkage * variance, 1e-10 * variance)
    scaled = residual * np.sqrt((1 - shrinkage) / count)
    if count >= dimension:
        return np.linalg.solve(scaled.T @ scaled + ridge * np.eye(dimension), right_hand_side)
    inner = np.linalg.solve(scaled @ scaled.T + ridge * np.eye(count), scaled @ right_hand_side)
    found: Float64Array = (right_hand_side - scaled.T @ inner) / ridge
    return found
