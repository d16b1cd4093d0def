"""Ridge regression on the labels -1 and +1."""

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np

from fewshot.core.arrays import Float64Array, FloatArray
from fewshot.heads.base import Head
from fewshot.heads.state import Learned


class Ridge(Head):
    """Least squares with an L2 penalty and a free intercept: Hoerl and Kennard, Technometrics 12, 1970.

    As a few-shot head: Bertinetto et al., Meta-learning with differentiable closed-form solvers, ICLR 2019.

    Args:
        alpha: weight of the squared norm against the sum of squared errors.
    """

    name: ClassVar[str] = "ridge"
    learned: ClassVar[Mapping[str, Learned]] = {"coef_": Learned("D"), "intercept_": Learned("")}
    coef_: Float64Array
    intercept_: float

    def __init__(self, alpha: float = 1.0) -> None:
        self.alpha = alpha

    def fit(self, features: FloatArray, y: Any) -> Self:
        """Fit on the support: features (n, D) floating, (n,) two classes."""
        from sklearn.linear_model import Ridge as RidgeRegression

        rows, positive = self._check_support(features, y)
        exact = np.asarray(rows, dtype=np.float64)
        model = RidgeRegression(alpha=self.alpha).fit(exact, np.where(positive, 1.0, -1.0))
        self._learn({"coef_": model.coef_, "intercept_": model.intercept_})
        return self

    def decision_function(self, features: FloatArray) -> Float64Array:
        """Return (M,) regressed labels; larger = synthetic."""
        rows = self._check_query(features)
        return np.asarray(rows @ self.coef_ + self.intercept_, dtype=np.float64)
