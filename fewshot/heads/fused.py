"""One RBF support vector machine over several backbones: a sum of kernels, weighted by what the support shows."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from fewshot.core.arrays import BoolArray, Float64Array, FloatArray, IntArray, spans
from fewshot.core.errors import OptionError, WeightsError, unknown_name
from fewshot.heads.base import CONVERGED, Head
from fewshot.heads.state import HeadState, Learned
from fewshot.solvers.blocks import block_columns, stratified_folds
from fewshot.solvers.fusion_weights import TIED, Weigh, kernel_weights, require_weigh

if TYPE_CHECKING:
    from fewshot.solvers.fused import Fusion

_BLOCK_ROWS = 4096


class Fused(Head):
    """A support vector machine on sum_b weight_b K_b, K_b the RBF kernel of one block of columns.

    Every block (a layer of a backbone) has its own width, scikit-learn's ``gamma="scale"`` of its own columns, and its
    weight comes from the support alone: nothing of a query is looked at. A weighted sum of kernels is a kernel
    (Goenen and Alpaydin, Multiple Kernel Learning Algorithms, JMLR 12, 2011).

    Args:
        widths: columns of each block, side by side in the features; empty for a single block, which is ``svm``.
        weigh: by what a block is weighed: ``auroc``, the cross-validated AUROC of its own machine inside the support;
            ``alignment``, of its centred kernel with the labels (Cortes, Mohri and Rostamizadeh, JMLR 13, 2012), the
            diagonal left out; ``uniform``, all alike.
        C: penalty of margin violations.
        gamma: of every block; ``"scale"``, ``"auto"`` or a number.

    Attributes:
        weights_: (B,) float64, 0 or more, adding up to 1. gammas_: (B,) float64.
        support_vectors_: (s, D) float64; dual_coef_: (s,) float64, label times dual variable; intercept_: the bias.
    """

    name: ClassVar[str] = "fused"
    weights_: Float64Array
    gammas_: Float64Array
    support_vectors_: Float64Array
    dual_coef_: Float64Array
    intercept_: float

    def __init__(
        self, widths: tuple[int, ...] = (), weigh: Weigh = "auroc", C: float = 1.0, gamma: float | str = "scale"
    ) -> None:
        self.widths = widths
        self.weigh = weigh
        self.C = C
        self.gamma = gamma

    def fit(self, features: FloatArray, y: Any) -> Self:
        """Fit on the support: features (n, D) floating, y (n,) two classes."""
        from sklearn.svm import SVC

        rows, positive = self._check_support(features, y)
        exact = np.asarray(rows, dtype=np.float64)
        blocks = [exact[:, columns] for columns in block_columns(self.widths, rows.shape[1])]
        gammas = [_width(block, self.gamma) for block in blocks]
        kernels = np.stack([_kernel(block, block, gamma) for block, gamma in zip(blocks, gammas, strict=True)])
        weights = self._weights(kernels, positive)
        total = np.tensordot(weights, kernels, axes=1)
        machine = SVC(C=self.C, kernel="precomputed", tol=CONVERGED).fit(total, positive)
        self._learn(
            {
                "weights_": weights,
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
            if self.weights_[number] == 0:
                continue
            vectors, gamma = self.support_vectors_[:, columns], float(self.gammas_[number])
            for start, stop in spans(len(rows), _BLOCK_ROWS):
                block = np.asarray(rows[start:stop, columns], dtype=np.float64)
                scores[start:stop] += _kernel(block, vectors, gamma) @ (self.weights_[number] * self.dual_coef_)
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
                "dual_coef_": self.weights_[number] * self.dual_coef_,
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

        if isinstance(self.gamma, str) and self.gamma not in ("scale", "auto"):
            raise unknown_name("gamma", self.gamma, ("scale", "auto"))
        return Fusion(self.widths, self.weigh, self.C, self.gamma)

    def _weights(self, kernels: Float64Array, positive: BoolArray) -> Float64Array:
        """Return (B,) the weights of kernels (B, n, n) on the support."""
        require_weigh(self.weigh)
        if self.weigh == "uniform" or len(kernels) == 1:
            return np.full(len(kernels), 1.0 / len(kernels))
        between = ~np.eye(len(positive), dtype=bool)
        entries = kernels[:, between]
        if self.weigh == "alignment":
            signs = np.where(positive, 1.0, -1.0)
            return kernel_weights(_alignment(entries, np.outer(signs, signs)[between]), entries.std(axis=1))
        found = np.array([_validated_auroc(kernel, positive, self.C) for kernel in kernels])
        return kernel_weights(2 * found - 1, entries.std(axis=1))

    def _declared(self) -> Mapping[str, Learned]:
        try:
            blocks = len(block_columns(self.widths, self.n_features_in_))
        except OptionError as error:
            raise WeightsError(f"the saved head 'fused' cannot be used: {error}; fit it and save it again") from error
        return {
            "weights_": Learned(f"{blocks}"),
            "gammas_": Learned(f"{blocks}"),
            "support_vectors_": Learned("s D"),
            "dual_coef_": Learned("s"),
            "intercept_": Learned(""),
        }


def _kernel(rows: Float64Array, vectors: Float64Array, gamma: float) -> Float64Array:
    """Return (M, s) of rows (M, D) and vectors (s, D)."""
    centre = vectors.mean(axis=0)  # changes no distance, and keeps the products' rounding small
    rows, vectors = rows - centre, vectors - centre
    distances = (rows**2).sum(axis=1)[:, None] + (vectors**2).sum(axis=1) - 2.0 * (rows @ vectors.T)
    return np.asarray(np.exp(-gamma * np.maximum(distances, 0.0)))


def _width(rows: Float64Array, gamma: float | str) -> float:
    """Return scikit-learn's gamma of a block of the support (n, D)."""
    if not isinstance(gamma, str):
        return float(gamma)
    if gamma not in ("scale", "auto"):
        raise unknown_name("gamma", gamma, ("scale", "auto"))
    variance = float(rows.var()) if gamma == "scale" else 1.0
    return 1.0 / (rows.shape[1] * variance) if variance else 1.0


def _alignment(entries: Float64Array, wanted: Float64Array) -> Float64Array:
    """Return (B,) the correlation of kernels' entries (B, m) with those of the labels' kernel (m,)."""
    centred, target = entries - entries.mean(axis=1, keepdims=True), wanted - wanted.mean()
    lengths = np.linalg.norm(centred, axis=1) * np.linalg.norm(target)
    return np.asarray((centred @ target) / np.where(lengths > 0, lengths, 1.0))


def _validated_auroc(kernel: Float64Array, positive: BoolArray, C: float) -> float:
    """Return the mean AUROC over the folds of the machine on one kernel (n, n); one half where there are none."""
    from sklearn.svm import SVC

    found = []
    for held_out in stratified_folds(positive):
        kept = np.setdiff1d(np.arange(len(positive)), held_out)
        machine = SVC(C=C, kernel="precomputed", tol=CONVERGED).fit(kernel[np.ix_(kept, kept)], positive[kept])
        scores = machine.decision_function(kernel[np.ix_(held_out, kept)])
        found.append(_auroc(scores, positive[held_out]))
    return float(np.mean(found)) if found else 0.5


def _auroc(scores: Float64Array, positive: BoolArray) -> float:
    lead = scores[positive][:, None] - scores[~positive]
    return float(np.mean(np.where(np.abs(lead) <= TIED, 0.5, lead > 0)))
