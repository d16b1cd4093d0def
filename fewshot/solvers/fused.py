"""One RBF machine over several blocks of features, on all trials at once: kernels, their weights, scores.

The kernels of every block between the support images of a trial are small: (s, s). Machines on the folds of a support
are solved on parts of these, for all blocks and trials in one call a fold, and the weighted sum is one kernel more.
Only the scores of the pool are large; the blocks add theirs to one array.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fewshot.core.arrays import BoolArray, Float64Array, FloatArray
from fewshot.solvers.blocks import stratified_folds
from fewshot.solvers.dual import solve_svm
from fewshot.solvers.fusion_weights import KernelWeights, Weigh, weigh_kernels
from fewshot.solvers.prepared_pool import Supports
from fewshot.solvers.support_kernels import SupportKernels, held_out_scores


@dataclass(frozen=True)
class Fusion:
    """How blocks are fused: see ``heads/fused.py`` for the parameters."""

    widths: Sequence[int] = ()
    weigh: Weigh = "alignment"
    C: float = 1.0
    gamma: float | str = "scale"

    def weights(self, supports: Supports) -> Float64Array:
        """Return (T, B) float64, the weight of every block in every trial; only the supports' rows are looked at."""
        support = SupportKernels.of(supports, self.widths)
        gammas = support.gammas(self.gamma)
        return np.concatenate([self._weighed(support, part, gammas)[1].weights for part in support.parts()])

    def scores(self, supports: Supports) -> FloatArray:
        """Return (T, N) float32, or float64 where every block's pool is small; larger = more likely synthetic."""
        support = SupportKernels.of(supports, self.widths)
        gammas, duals, biases = support.gammas(self.gamma), [], []
        for part in support.parts():
            (kernels, weighed), signs = self._weighed(support, part, gammas), support.signs[part]
            coefficients = torch.as_tensor(weighed.coefficients, device=signs.device)
            solution = solve_svm(torch.einsum("tb,btsr->tsr", coefficients, kernels), signs, C=self.C)
            duals.append(coefficients.T[:, :, None] * solution.weights)
            biases.append(solution.bias)
        return support.pool_scores(gammas, torch.cat(duals, dim=1), torch.cat(biases))

    def _weighed(self, support: SupportKernels, part: slice, gammas: Tensor) -> tuple[Tensor, KernelWeights]:
        """Return the kernels (B, t, s, s) of some trials, and how much each counts (t, B)."""
        kernels, signs, positive = support.kernels(part, gammas), support.signs[part], support.positive(part)

        def left_out() -> Float64Array:
            scores: Float64Array = left_out_scores(kernels, signs, positive, C=self.C).transpose(0, 1).cpu().numpy()
            return scores

        found: Float64Array = kernels.transpose(0, 1).cpu().numpy()
        return kernels, weigh_kernels(found, positive, weigh=self.weigh, left_out=left_out)


def left_out_scores(kernels: Tensor, signs: Tensor, positive: BoolArray, *, C: float) -> Tensor:
    """Return (B, t, s) the score of every support image by the machine on the other folds; 0 without folds."""
    scores = torch.zeros(kernels.shape[:3], dtype=torch.float64, device=kernels.device)
    for rows in stratified_folds(positive):
        held_out = torch.as_tensor(rows, device=kernels.device)
        kept = torch.as_tensor(np.setdiff1d(np.arange(len(positive)), rows), device=kernels.device)
        scores[:, :, held_out] = held_out_scores(kernels, signs, held_out, kept, C=C)
    return scores
