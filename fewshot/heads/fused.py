"""One RBF support vector machine over several backbones: a sum of kernels, weighted by what the support shows."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from fewshot.core.arrays import BoolArray, Float64Array, FloatArray, IntArray
from fewshot.core.errors import OptionError, WeightsError
from fewshot.heads.base import CONVERGED, Head
from fewshot.heads.state import HeadState, Learned
from fewshot.solvers.block_kernels import add_scores, kernel_width, left_out_scores, rbf, require_gamma
from fewshot.solvers.blocks import block_columns
from fewshot.solvers.fusion_weights import Weigh, weigh_kernels

if TYPE_CHECKING:
    from fewshot.solvers.fused import Fusion


class Fused(Head):
    """A support vector machine on sum_b weight_b K_b / spread_b, K_b the RBF kernel of one block of columns.

    Every block (a layer of a backbone) has its own width, scikit-learn's ``gamma="scale"`` of its own columns; its
    kernel is brought to one spread, the standard deviation between different support images, so that the weights say
    how much each block counts. They come from the support alone: nothing of a query is looked at. A weighted sum of
    kernels is a kernel (Goenen and Alpaydin, Multiple Kernel Learning Algorithms, JMLR 12, 2011).

    Args:
        widths: columns of each block, side by side in the features; empty for a single block, which is ``svm``.
        weigh: by what a block is weighed: ``alignment`` of its kernel with the classes, centred and without its
            diagonal; ``auroc``, cross-validated, of its own machine inside the support; ``uniform``, all alike. What is
            found is shrunk towards uniform as far as chance explains it (docs/decisions/0016-fusion-weights.md).
        C: penalty of margin violations.
        gamma: of every block; ``"scale"``, ``"auto"`` or a number.

    Attributes:
        weights_: (B,) float64, how much each block counts; 0 or more, adding up to 1.
        coefficients_: (B,) float64, weights over spreads, adding up to 1: what kernels are multiplied with.
        gammas_: (B,) float64.
        support_vectors_: (s, D) float64; dual_coef_: (s,) float64, label times dual variable; intercept_: the bias.
    """

    name: ClassVar[str] = "fused"
    weights_: Float64Array
    coefficients_: Float64Array
    gammas_: Float64Array
    support_vectors_: Float64Array
    dual_coef_: Float64Array
    intercept_: float

    def __init__(
        self, widths: tuple[int, ...] = (), weigh: Weigh = "alignment", C: float = 1.0, gamma: float | str = "scale"
    ) -> None:
        self.widths = widths
        self.weigh: Weigh = weigh
        self.C = C
        self.gamma = gamma

    def fit(self, features: FloatArray, y: Any) -> Self:
        """Fit on the support: features (n, D) floating, y (n,) two classes."""
        from sklearn.svm import SVC

        rows, positive = self._check_support(features, y)
        exact = np.asarray(rows, dtype=np.float64)
        blocks = [exact[:, columns] for columns in block_columns(self.widths, rows.shape[1])]
        gammas = [kernel_width(block, self.gamma) for block in blocks]
        kernels = np.stack([rbf(block, block, gamma) for block, gamma in zip(blocks, gammas, strict=True)])
        weighed = weigh_kernels(
            kernels,
            positive,
            weigh=self.weigh,
            left_out=lambda: left_out_scores(list(kernels), positive, C=self.C),
        )
        total = np.tensordot(weighed.coefficients, kernels, axes=1)
        machine = SVC(C=self.C, kernel="precomputed", tol=CONVERGED).fit(total, positive)
        self._learn(
            {
                "weights_": weighed.weights,
                "coefficients_": weighed.coefficients,
                "gammas_": gammas,
                "support_vectors_": exact[machine.support_],
                "dual_coef_": machine.dual_coef_[0],
                "intercept_": machine.intercept_[0],
            }
        )
        return self

    def decision_function(self, features: FloatArray) -> Float64Array:
        """Return (M,) signed scores; larger = synthetic."""
        rows = self._check_query(features)
        scores = np.full(len(rows), self.intercept_)
        for number, columns in enumerate(block_columns(self.widths, rows.shape[1])):
            coefficient, gamma = float(self.coefficients_[number]), float(self.gammas_[number])
            if coefficient:
                vectors, duals = self.support_vectors_[:, columns], coefficient * self.dual_coef_
                add_scores(scores, rows[:, columns], vectors, gamma=gamma, weights=duals)
        return scores

    def parts(self) -> tuple[HeadState, ...]:
        """Return one state of the head ``svm`` per block, whose scores of the block's columns add up to this head's.

        The bias is in the first. A sum in another order rounds differently, in the last digits.
        """
        whole = self.state()
        found = []
        for number, columns in enumerate(block_columns(self.widths, self.n_features_in_)):
            arrays = {
                "support_vectors_": np.ascontiguousarray(self.support_vectors_[:, columns]),
                "dual_coef_": self.coefficients_[number] * self.dual_coef_,
                "intercept_": np.asarray(self.intercept_ if number == 0 else 0.0),
                "gamma_": np.asarray(self.gammas_[number]),
            }
            settings = {
                **whole.settings,
                "head": "svm",
                "parameters": {"C": float(self.C), "gamma": self.gamma, "tol": CONVERGED},
                "dimension": columns.stop - columns.start,
            }
            found.append(HeadState(arrays, settings))
        return tuple(found)

    def draw_weights(self, features: FloatArray, synthetic: BoolArray, supports: IntArray) -> Float64Array:
        """Return the weights of every draw, from the support alone.

        Args:
            features: (N, D) floating, the pool.
            synthetic: (N,) bool.
            supports: (T, s) int64 rows of the pool.

        Returns:
            (T, B) float64.
        """
        from fewshot.solvers.prepared_pool import Supports

        return self._fusion().weights(Supports(features, synthetic, supports))

    def score_draws(
        self, features: FloatArray, synthetic: BoolArray, supports: IntArray, *, device: str = "cpu"
    ) -> FloatArray:
        """Weigh, solve and score all draws at once (``fewshot.solvers.fused``)."""
        from fewshot.solvers.prepared_pool import Supports

        return self._fusion().scores(Supports(features, synthetic, supports, device))

    def _fusion(self) -> "Fusion":
        from fewshot.solvers.fused import Fusion

        require_gamma(self.gamma)
        return Fusion(self.widths, self.weigh, self.C, self.gamma)

    def _declared(self) -> Mapping[str, Learned]:
        try:
            blocks = len(block_columns(self.widths, self.n_features_in_))
        except OptionError as error:
            raise WeightsError(f"the saved head 'fused' cannot be used: {error}; fit it and save it again") from error
        return {
            **dict.fromkeys(("weights_", "coefficients_", "gammas_"), Learned(f"{blocks}")),
            "support_vectors_": Learned("s D"),
            "dual_coef_": Learned("s"),
            "intercept_": Learned(""),
        }
