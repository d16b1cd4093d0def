"""A linear support vector machine, for comparison with the RBF one."""

from typing import Any, ClassVar, Self

import numpy as np
from sklearn.svm import SVC

from fewshot.core.arrays import BoolArray, Float64Array, FloatArray, IntArray
from fewshot.heads.base import Head
from fewshot.solvers.batched import Supports, linear_svm_scores


class LinearSvm(Head):
    """scikit-learn's ``SVC(kernel="linear")``: Cortes and Vapnik, Machine Learning 20, 1995, with a free bias.

    Args:
        C: penalty of margin violations.
        tol: stopping tolerance of libsvm for single fits; all draws at once are solved to 1e-10.
    """

    name: ClassVar[str] = "linear-svm"

    def __init__(self, C: float = 1.0, tol: float = 1e-3) -> None:
        self.C = C
        self.tol = tol

    def fit(self, features: FloatArray, y: Any) -> Self:
        """Fit on the support: features (n, D) floating, (n,) two classes."""
        rows, positive = self._check_support(features, y)
        self.svc_ = SVC(C=self.C, kernel="linear", tol=self.tol).fit(rows, positive)
        return self

    def decision_function(self, features: FloatArray) -> Float64Array:
        """Return (M,) signed scores; larger = synthetic."""
        rows = self._check_query(features)
        return np.asarray(self.svc_.decision_function(rows), dtype=np.float64)

    def score_draws(
        self, features: FloatArray, synthetic: BoolArray, supports: IntArray, *, device: str = "cpu"
    ) -> FloatArray:
        """Solve and score all draws at once (``fewshot.solvers.batched``), to libsvm's optimum."""
        return linear_svm_scores(Supports(features, synthetic, supports, device), C=self.C)
