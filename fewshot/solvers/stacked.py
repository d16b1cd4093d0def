"""Scores of one RBF machine per block, stacked on all trials at once: left-out scores, weights, log odds."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from fewshot.core.arrays import Float64Array, FloatArray
from fewshot.solvers.blocks import stratified_folds
from fewshot.solvers.dual import solve_svm
from fewshot.solvers.fusion_weights import Weigh
from fewshot.solvers.prepared_pool import Supports
from fewshot.solvers.score_stack import ScoreStack
from fewshot.solvers.support_kernels import SupportKernels, held_out_scores


@dataclass(frozen=True)
class RbfSvm:
    """The machine of every block: its penalty, and the width of its kernel as scikit-learn names it."""

    C: float
    gamma: float | str


def stacked_svm_weights(supports: Supports, widths: Sequence[int], *, weigh: Weigh, svm: RbfSvm) -> Float64Array:
    """Return (T, B) float64, the weight of every block in every trial; only the supports' rows are looked at."""
    support = SupportKernels.of(supports, widths)
    moments = _row_moments(support)
    found = [_stack(support, part, moments, weigh=weigh, svm=svm).weights for part in support.parts()]
    return np.concatenate(found)


def stacked_svm_scores(supports: Supports, widths: Sequence[int], *, weigh: Weigh, svm: RbfSvm) -> FloatArray:
    """Return (T, N) log odds of the whole pool, float32, or float64 where every block's pool is small."""
    support = SupportKernels.of(supports, widths)
    gammas, moments, duals, biases = support.gammas(svm.gamma), _row_moments(support), [], []
    for part in support.parts():
        stack = _stack(support, part, moments, weigh=weigh, svm=svm)
        kernels, signs = support.kernels(part, gammas), support.signs[part]
        blocks, trials, shots, _ = kernels.shape
        solution = solve_svm(kernels.reshape(-1, shots, shots), signs.repeat(blocks, 1), C=svm.C)
        slopes = torch.as_tensor(stack.slopes.T.copy(), device=signs.device)
        duals.append(slopes[:, :, None] * solution.weights.reshape(blocks, trials, shots))
        offset = torch.as_tensor(stack.offset, device=signs.device)
        biases.append((slopes * solution.bias.reshape(blocks, trials)).sum(0) + offset)
    return support.pool_scores(gammas, torch.cat(duals, dim=1), torch.cat(biases))


def _stack(support: SupportKernels, part: slice, moments: Tensor, *, weigh: Weigh, svm: RbfSvm) -> ScoreStack:
    """Return the stack of some trials, by left-out scores (t, B, s)."""
    positive, signs = support.positive(part), support.signs[part]
    distances = torch.stack([pool.support_distances(part) for pool in support.pools])
    scores = torch.zeros(distances.shape[:3], dtype=torch.float64, device=signs.device)
    for rows in stratified_folds(positive):
        held_out = torch.as_tensor(rows, device=signs.device)
        kept = torch.as_tensor(np.setdiff1d(np.arange(len(positive)), rows), device=signs.device)
        columns = support.pools[0].columns[part][:, kept]
        variances = moments[:, 1, columns].mean(2) + moments[:, 0, columns].var(2, correction=0)
        each = zip(support.pools, variances, strict=True)
        widths = torch.stack([replace(pool, variance=variance).gammas(svm.gamma) for pool, variance in each])
        kernels = torch.exp(-widths[:, :, None, None] * distances)
        scores[:, :, held_out] = held_out_scores(kernels, signs, held_out, kept, C=svm.C)
    return ScoreStack.of(scores.transpose(0, 1).cpu().numpy(), positive, weigh=weigh)


def _row_moments(support: SupportKernels) -> Tensor:
    """(B, 2, U) float64: mean and variance of the entries of every support row, from which those of folds follow."""
    rows = np.asarray(support.supports.features[np.unique(support.supports.rows)], dtype=np.float64)
    found = np.array([[rows[:, block].mean(axis=1), rows[:, block].var(axis=1)] for block in support.columns])
    return torch.as_tensor(found, device=support.signs.device)
