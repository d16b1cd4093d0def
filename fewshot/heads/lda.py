"""Linear discriminant analysis with a shrunk covariance."""

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np

from fewshot.core.arrays import Float64Array, FloatArray
from fewshot.heads.base import Head
from fewshot.heads.state import Learned


class Lda(Head):
    """Fisher's discriminant (Annals of Eugenics 7, 1936) with Ledoit and Wolf's shrinkage of each class's covariance.

    scikit-learn's ``LinearDiscriminantAnalysis(solver="lsqr")``; one fit costs the cube of the dimension.

    Args:
        shrinkage: between 0 and 1; ``"auto"`` for Ledoit and Wolf's.
    """

    name: ClassVar[str] = "lda"
    learned: ClassVar[Mapping[str, Learned]] = {"coef_": Learned("1 D"), "intercept_": Learned("1")}
    coef_: FloatArray
    intercept_: FloatArray

    def __init__(self, shrinkage: float | str = "auto") -> None:
        self.shrinkage = shrinkage

    def fit(self, features: FloatArray, y: Any) -> Self:
        """Fit on the support: features (n, D) floating, (n,) two classes."""
        from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

        rows, positive = self._check_support(features, y)
        exact = np.asarray(rows, dtype=np.float64)
        model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=self.shrinkage).fit(exact, positive)
        self._learn({"coef_": model.coef_, "intercept_": model.intercept_})
        return self

    def decision_function(self, features: FloatArray) -> Float64Array:
        """Return (M,) log odds of synthetic."""
        rows = self._check_query(features)
        return np.asarray((rows @ self.coef_.T + self.intercept_)[:, 0], dtype=np.float64)
