"""L2-regularised logistic regression, FiSeR's ``linear`` head (arXiv 2606.00606; fiser/heads.py @ ad2637c)."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

import numpy as np

from fewshot.core.arrays import BoolArray, Float64Array, FloatArray, IntArray
from fewshot.core.errors import unknown_name
from fewshot.heads.base import Head
from fewshot.heads.state import Learned
from fewshot.solvers.logistic_optimum import fit_to_optimum


class Logistic(Head):
    """Logistic regression with an L2 penalty: scikit-learn's ``LogisticRegression(C=1, max_iter=2000)``.

    Its lbfgs stops when the gradient of the *mean* loss is below ``tol``, in the features' own precision: with a few
    images of unit length that is up to a few hundredths of a score away from the optimum, enough to swap images whose
    scores are near. ``newton`` goes on to the optimum, which is what all draws at once are solved to.

    Args:
        C: inverse strength of the penalty; 1 is FiSeR's (fiser/heads.py).
        tol: stopping tolerance of lbfgs.
        max_iter: steps of lbfgs allowed.
        method: ``lbfgs`` as published, or ``newton``: in float64, to a gradient of 1e-10 of the weights.
    """

    name: ClassVar[str] = "logistic"
    learned: ClassVar[Mapping[str, Learned]] = {"coef_": Learned("1 D"), "intercept_": Learned("1")}
    coef_: FloatArray
    intercept_: FloatArray

    def __init__(
        self, C: float = 1.0, tol: float = 1e-4, max_iter: int = 2000, method: Literal["lbfgs", "newton"] = "lbfgs"
    ) -> None:
        self.C = C
        self.tol = tol
        self.max_iter = max_iter
        self.method = method

    def fit(self, features: FloatArray, y: Any) -> Self:
        """Fit on the support: (n, D) floating, (n,) two classes."""
        from sklearn.linear_model import LogisticRegression

        if self.method not in ("lbfgs", "newton"):
            raise unknown_name("method of logistic regression", str(self.method), ("lbfgs", "newton"))
        rows, positive = self._check_support(features, y)
        if self.method == "newton":
            found = fit_to_optimum(np.asarray(rows, dtype=np.float64), positive, C=self.C)
            self._learn({"coef_": found.coefficients[None], "intercept_": np.array([found.intercept])})
            self.n_iter_ = np.array([found.steps], dtype=np.int32)
            return self
        model = LogisticRegression(C=self.C, tol=self.tol, max_iter=self.max_iter).fit(rows, positive)
        self._learn({"coef_": model.coef_, "intercept_": model.intercept_})
        self.n_iter_ = model.n_iter_
        return self

    def converged(self) -> Self:
        """Return the same head solved to its optimum, unfitted."""
        return type(self)(C=self.C, method="newton")

    def decision_function(self, features: FloatArray) -> Float64Array:
        """Return (M,) log odds of synthetic."""
        rows = self._check_query(features)
        return np.asarray((rows @ self.coef_.T + self.intercept_)[:, 0], dtype=np.float64)

    def score_draws(
        self, features: FloatArray, synthetic: BoolArray, supports: IntArray, *, device: str = "cpu"
    ) -> FloatArray:
        """Solve and score all draws at once (``fewshot.solvers.batched``), to the exact optimum."""
        from fewshot.solvers.batched import logistic_scores
        from fewshot.solvers.prepared_pool import Supports

        return logistic_scores(Supports(features, synthetic, supports, device), C=self.C)
