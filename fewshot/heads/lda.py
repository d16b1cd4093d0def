"""Linear discriminant analysis with a shrunk covariance."""

from typing import Any, ClassVar, Self

import numpy as np
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from fewshot.core.arrays import Float64Array, FloatArray
from fewshot.heads.base import Head


class Lda(Head):
    """Fisher's discriminant (Annals of Eugenics 7, 1936) with Ledoit and Wolf's shrinkage of each class's covariance.

    scikit-learn's ``LinearDiscriminantAnalysis(solver="lsqr")``; one fit costs the cube of the dimension.

    Args:
        shrinkage: between 0 and 1; ``"auto"`` for Ledoit and Wolf's.
    """

    name: ClassVar[str] = "lda"

    def __init__(self, shrinkage: float | str = "auto") -> None:
        self.shrinkage = shrinkage

    def fit(self, features: FloatArray, y: Any) -> Self:
        """Fit on the support: features (n, D) floating, (n,) two classes."""
        rows, positive = self._check_support(features, y)
        exact = np.asarray(rows, dtype=np.float64)
        self.model_ = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=self.shrinkage).fit(exact, positive)
        return self

    def decision_function(self, features: FloatArray) -> Float64Array:
        """Return (M,) log odds of synthetic."""
        rows = self._check_query(features)
        return np.asarray(self.model_.decision_function(np.asarray(rows, np.float64)), dtype=np.float64)
