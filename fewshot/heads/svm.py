"""An RBF support vector machine, FiSeR's few-shot head (arXiv 2606.00606; fiser/heads.py @ ad2637c)."""

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np

from fewshot.core.arrays import BoolArray, Float64Array, FloatArray, IntArray
from fewshot.heads.base import CONVERGED, Head
from fewshot.heads.state import Learned
from fewshot.solvers.block_kernels import add_scores, require_gamma


class Svm(Head):
    """FiSeR's support vector machine with an RBF kernel: scikit-learn's ``SVC(C=1, kernel="rbf", gamma="scale")``.

    C = 1 and gamma = 1 / (D * variance of the support) are FiSeR's (fiser/heads.py).

    Args:
        C: penalty of margin violations.
        gamma: width of the kernel; ``"scale"`` or a number.
        tol: stopping tolerance of libsvm for single fits; all draws at once are solved to 1e-10.

    Attributes:
        support_vectors_: (s, D) float64; dual_coef_: (s,) float64, label times dual variable.
        intercept_, gamma_: the bias, and the width that ``"scale"`` or ``"auto"`` came to.
    """

    name: ClassVar[str] = "svm"
    learned: ClassVar[Mapping[str, Learned]] = {
        "support_vectors_": Learned("s D"),
        "dual_coef_": Learned("s"),
        "intercept_": Learned(""),
        "gamma_": Learned(""),
    }
    support_vectors_: Float64Array
    dual_coef_: Float64Array
    intercept_: float
    gamma_: float

    def __init__(self, C: float = 1.0, gamma: float | str = "scale", tol: float = 1e-3) -> None:
        self.C = C
        self.gamma = gamma
        self.tol = tol

    def fit(self, features: FloatArray, y: Any) -> Self:
        """Fit on the support: (n, D) floating, (n,) two classes."""
        from sklearn.svm import SVC

        rows, positive = self._check_support(features, y)
        gamma = _width(np.asarray(rows, dtype=np.float64), self.gamma)
        svc = SVC(C=self.C, kernel="rbf", gamma=gamma, tol=self.tol).fit(rows, positive)
        self._learn(
            {
                "support_vectors_": svc.support_vectors_,
                "dual_coef_": svc.dual_coef_[0],
                "intercept_": svc.intercept_[0],
                "gamma_": gamma,
            }
        )
        return self

    def converged(self) -> Self:
        """Return the same head at the tolerance of all draws at once, unfitted."""
        return type(self)(C=self.C, gamma=self.gamma, tol=CONVERGED)

    def decision_function(self, features: FloatArray) -> Float64Array:
        """Return (M,) signed scores; larger = synthetic."""
        rows = self._check_query(features)
        scores = np.full(len(rows), self.intercept_)
        add_scores(scores, rows, self.support_vectors_, gamma=self.gamma_, weights=self.dual_coef_)
        return scores

    def score_draws(
        self, features: FloatArray, synthetic: BoolArray, supports: IntArray, *, device: str = "cpu"
    ) -> FloatArray:
        """Solve and score all draws at once (``fewshot.solvers.batched``), to libsvm's optimum."""
        from fewshot.solvers.batched import svm_scores
        from fewshot.solvers.prepared_pool import Supports

        require_gamma(self.gamma)
        return svm_scores(Supports(features, synthetic, supports, device), C=self.C, gamma=self.gamma)


def _width(rows: Float64Array, gamma: float | str) -> float:
    """Return scikit-learn's gamma of a support (n, D); another text than "scale" or "auto" is left to its refusal."""
    variance = float(rows.var())
    if gamma == "scale":
        return 1.0 / (rows.shape[1] * variance) if variance else 1.0
    return 1.0 / rows.shape[1] if gamma == "auto" else gamma  # type: ignore[return-value]  # SVC refuses other texts
