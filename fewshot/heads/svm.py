"""An RBF support vector machine, FiSeR's few-shot head (arXiv 2606.00606; fiser/heads.py @ ad2637c)."""

from typing import Any, ClassVar, Self

import numpy as np
from sklearn.svm import SVC

from fewshot.core.arrays import BoolArray, Float64Array, FloatArray, IntArray
from fewshot.heads.base import Head
from fewshot.solvers.batched import Supports, svm_scores


class Svm(Head):
    """scikit-learn's ``SVC(C=1, kernel="rbf", gamma="scale")``; the score is its decision function.

    C = 1 and gamma = 1 / (D * variance of the support) are FiSeR's (fiser/heads.py).

    Args:
        C: penalty of margin violations.
        gamma: width of the kernel; ``"scale"`` or a number.
        tol: stopping tolerance of libsvm for single fits; all draws at once are solved to 1e-10.
    """

    name: ClassVar[str] = "svm"

    def __init__(self, C: float = 1.0, gamma: float | str = "scale", tol: float = 1e-3) -> None:
        self.C = C
        self.gamma = gamma
        self.tol = tol

    def fit(self, features: FloatArray, y: Any) -> Self:
        """Fit on the support: (n, D) floating, (n,) two classes."""
        rows, positive = self._check_support(features, y)
        self.svc_ = SVC(C=self.C, kernel="rbf", gamma=self.gamma, tol=self.tol).fit(rows, positive)
        return self

    def decision_function(self, features: FloatArray) -> Float64Array:
        """Return (M,) signed scores; larger = synthetic."""
        rows = self._check_query(features)
        return np.asarray(self.svc_.decision_function(rows), dtype=np.float64)

    def score_draws(
        self, features: FloatArray, synthetic: BoolArray, supports: IntArray, *, device: str = "cpu"
    ) -> FloatArray:
        """Solve and score all draws at once (``fewshot.solvers.batched``), to libsvm's optimum."""
        return svm_scores(Supports(features, synthetic, supports, device), C=self.C, gamma=self.gamma)
