"""L2-regularised logistic regression, FiSeR's ``linear`` head (arXiv 2606.00606; fiser/heads.py @ ad2637c)."""

from typing import Any, ClassVar, Self

import numpy as np
from sklearn.linear_model import LogisticRegression

from fewshot.core.arrays import BoolArray, Float64Array, FloatArray, IntArray
from fewshot.heads.base import Head
from fewshot.solvers.batched import Supports, logistic_scores


class Logistic(Head):
    """scikit-learn's ``LogisticRegression(C=1, max_iter=2000)``; the score is its decision function.

    Args:
        C: inverse strength of the penalty; 1 is FiSeR's (fiser/heads.py).
        tol: stopping tolerance of lbfgs for single fits; all draws at once are solved to 1e-10.
        max_iter: steps of lbfgs allowed.
    """

    name: ClassVar[str] = "logistic"

    def __init__(self, C: float = 1.0, tol: float = 1e-4, max_iter: int = 2000) -> None:
        self.C = C
        self.tol = tol
        self.max_iter = max_iter

    def fit(self, features: FloatArray, y: Any) -> Self:
        """Fit on the support: (n, D) floating, (n,) two classes."""
        rows, positive = self._check_support(features, y)
        self.model_ = LogisticRegression(C=self.C, tol=self.tol, max_iter=self.max_iter).fit(rows, positive)
        self.n_iter_ = self.model_.n_iter_
        return self

    def decision_function(self, features: FloatArray) -> Float64Array:
        """Return (M,) log odds of synthetic."""
        rows = self._check_query(features)
        return np.asarray(self.model_.decision_function(rows), dtype=np.float64)

    def score_draws(
        self, features: FloatArray, synthetic: BoolArray, supports: IntArray, *, device: str = "cpu"
    ) -> FloatArray:
        """Solve and score all draws at once (``fewshot.solvers.batched``), to the exact optimum."""
        return logistic_scores(Supports(features, synthetic, supports, device), C=self.C)
