"""One RBF machine over several blocks of features, on all trials at once: kernels, their weights, scores.

The kernels of every block between the support images of a trial are small: (s, s). Machines on the folds of a support
are solved on parts of these, for all blocks and trials in one call a fold, and the weighted sum is one kernel more. Only
the scores of the pool are large; the blocks add theirs to one array.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fewshot.core.arrays import BoolArray, Float64Array, FloatArray
from fewshot.solvers.blocks import stratified_folds
from fewshot.solvers.dual import solve_svm
from fewshot.solvers.fusion_weights import (
    Weigh,
    alignment_evidence,
    auroc_evidence,
    block_weights,
    kernel_spread,
    require_weigh,
)
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
        gammas, weights = support.gammas(self.gamma), np.empty((len(supports.rows), len(support.columns)))
        for part in support.parts():
            weights[part] = self._weights(support.kernels(part, gammas), support.signs[part], support.positive(part))
        return weights

    def scores(self, supports: Supports) -> FloatArray:
        """Return (T, N) float32, or float64 where every block's pool is small; larger = more likely synthetic."""
        support = SupportKernels.of(supports, self.widths)
        gammas, duals, biases = support.gammas(self.gamma), [], []
        for part in support.parts():
            kernels, signs = support.kernels(part, gammas), support.signs[part]
            weights = torch.as_tensor(self._weights(kernels, signs, support.positive(part)), device=signs.device)
            solution = solve_svm(torch.einsum("tb,btsr->tsr", weights, kernels), signs, C=self.C)
            duals.append(weights.T[:, :, None] * solution.weights)
            biases.append(solution.bias)
        return support.pool_scores(gammas, torch.cat(duals, dim=1), torch.cat(biases))

    def _weights(self, kernels: Tensor, signs: Tensor, positive: BoolArray) -> Float64Array:
        """Return (t, B) from kernels (B, t, s, s)."""
        require_weigh(self.weigh)
        blocks, trials = kernels.shape[:2]
        if self.weigh == "uniform" or blocks == 1:
            return np.full((trials, blocks), 1.0 / blocks)
        found: Float64Array = kernels.transpose(0, 1).cpu().numpy()
        if self.weigh == "alignment":
            evidence = alignment_evidence(found, signs.cpu().numpy())
        else:
            left_out = left_out_scores(kernels, signs, positive, C=self.C)
            evidence = auroc_evidence(left_out.transpose(0, 1).cpu().numpy(), positive)
        return block_weights(evidence, kernel_spread(found))


def left_out_scores(kernels: Tensor, signs: Tensor, positive: BoolArray, *, C: float) -> Tensor:
    """Return (B, t, s) the score of every support image by the machine on the other folds; 0 without folds."""
    scores = torch.zeros(kernels.shape[:3], dtype=torch.float64, device=kernels.device)
    for rows in stratified_folds(positive):
        held_out = torch.as_tensor(rows, device=kernels.device)
        kept = torch.as_tensor(np.setdiff1d(np.arange(len(positive)), rows), device=kernels.device)
        scores[:, :, held_out] = held_out_scores(kernels, signs, held_out, kept, C=C)
    return scores
