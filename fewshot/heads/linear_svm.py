"""A linear support vector machine, for comparison with the RBF one."""

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np

from fewshot.core.arrays import BoolArray, Float64Array, FloatArray, IntArray
from fewshot.heads.base import CONVERGED, Head
from fewshot.heads.state import Learned


class LinearSvm(Head):
    """Linear support vector machine with a free bias: ``SVC(kernel="linear")``, Cortes and Vapnik 1995.

    Args:
        C: penalty of margin violations.
        tol: stopping tolerance of libsvm for single fits; all draws at once are solved to 1e-10.
    """

    name: ClassVar[str] = "linear-svm"
    learned: ClassVar[Mapping[str, Learned]] = {"coef_": Learned("1 D"), "intercept_": Learned("1")}
    coef_: FloatArray
    intercept_: FloatArray

    def __init__(self, C: float = 1.0, tol: float = 1e-3) -> None:
        self.C = C
        self.tol = tol

    def fit(self, features: FloatArray, y: Any) -> Self:
        """Fit on the support: features (n, D) floating, (n,) two classes."""
        from sklearn.svm import SVC

        rows, positive = self._check_support(features, y)
        svc = SVC(C=self.C, kernel="linear", tol=self.tol).fit(rows, positive)
        self._learn({"coef_": svc.coef_, "intercept_": svc.intercept_})
        return self

    def converged(self) -> Self:
        """Return the same head at the tolerance of all draws at once, unfitted."""
        return type(self)(C=self.C, tol=CONVERGED)

    def decision_function(self, features: FloatArray) -> Float64Array:
        """Return (M,) signed scores; larger = synthetic."""
        rows = self._check_query(features)
        return np.asarray((rows @ self.coef_.T + self.intercept_)[:, 0], dtype=np.float64)

    def score_draws(
        self, features: FloatArray, synthetic: BoolArray, supports: IntArray, *, device: str = "cpu"
    ) -> FloatArray:
        """Solve and score all draws at once (``fewshot.solvers.batched``), to libsvm's optimum."""
        from fewshot.solvers.batched import linear_svm_scores
        from fewshot.solvers.prepared_pool import Supports

        return linear_svm_scores(Supports(features, synthetic, supports, device), C=self.C)
