"""One RBF machine over several blocks of features, on all trials at once: kernels, their weights, scores.

The kernels of every block between the support images of a trial are small: (s, s). Machines on the folds of a support
are solved on parts of these, all folds of all blocks and trials in a few calls, and the weighted sum is one kernel
more. Only the scores of the pool are large; the blocks add theirs to one array.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from fewshot.core.arrays import Float64Array, FloatArray, spans
from fewshot.solvers.blocks import block_columns, stratified_folds
from fewshot.solvers.dual import solve_svm
from fewshot.solvers.fusion_weights import TIED, Weigh, kernel_weights, require_weigh
from fewshot.solvers.prepared_pool import PreparedPool, Supports

KERNEL_BYTES = 1 << 26  # of the support kernels that are held at a time


@dataclass(frozen=True)
class Fusion:
    """How blocks are fused: see ``heads/fused.py`` for the parameters."""

    widths: Sequence[int] = ()
    weigh: Weigh = "auroc"
    C: float = 1.0
    gamma: float | str = "scale"

    def weights(self, supports: Supports) -> Float64Array:
        """Return (T, B) float64, the weight of every block in every trial; only the supports' rows are looked at."""
        kernels = _SupportKernels.of(supports, self)
        return np.concatenate([self._weights(kernels.of_trials(part), kernels.signs[part]) for part in kernels.parts()])

    def scores(self, supports: Supports) -> FloatArray:
        """Return (T, N) float32, or float64 where every block's pool is small; larger = more likely synthetic."""
        kernels = _SupportKernels.of(supports, self)
        weights, duals, biases = [], [], []
        for part in kernels.parts():
            found, signs = kernels.of_trials(part), kernels.signs[part]
            weights.append(torch.as_tensor(self._weights(found, signs), device=signs.device))
            total = torch.einsum("tb,btsr->tsr", weights[-1], found)
            solution = solve_svm(total, signs, C=self.C)
            duals.append(solution.weights)
            biases.append(solution.bias)
        each = torch.cat(weights).T[:, :, None] * torch.cat(duals)
        return _pool_scores(kernels, each, torch.cat(biases))

    def _weights(self, kernels: Tensor, signs: Tensor) -> Float64Array:
        """Return (t, B) from kernels (B, t, s, s), natural images first."""
        require_weigh(self.weigh)
        blocks, trials, shots, _ = kernels.shape
        if self.weigh == "uniform" or blocks == 1:
            return np.full((trials, blocks), 1.0 / blocks)
        between = ~torch.eye(shots, dtype=torch.bool, device=kernels.device)
        entries = kernels[:, :, between]
        spread = entries.std(dim=2, correction=0).T.cpu().numpy()
        if self.weigh == "alignment":
            return kernel_weights(_alignment(entries, (signs[:, :, None] * signs[:, None, :])[:, between]), spread)
        return kernel_weights(2 * _validated_auroc(kernels, signs, self.C) - 1, spread)


@dataclass(frozen=True)
class _SupportKernels:
    """The supports, natural images first, and what their kernels are made of.

    Args:
        supports: of the whole pool.
        columns: the columns of every block.
        pools: of every block, the support rows of all trials only.
        gammas: (B, T) float64.
        signs: (T, s) float64.
    """

    supports: Supports
    columns: tuple[slice, ...]
    pools: tuple[PreparedPool, ...]
    gammas: Tensor
    signs: Tensor

    @classmethod
    def of(cls, supports: Supports, fusion: Fusion) -> "_SupportKernels":
        order = np.argsort(supports.synthetic[supports.rows], axis=1, kind="stable")
        ordered = replace(supports, rows=np.take_along_axis(supports.rows, order, axis=1))
        union, rows = np.unique(ordered.rows, return_inverse=True)
        columns = block_columns(fusion.widths, supports.features.shape[1])
        seen = Supports(
            supports.features[union], supports.synthetic[union], rows.reshape(ordered.rows.shape), supports.device
        )
        pools = tuple(PreparedPool.of(replace(seen, features=seen.features[:, block])) for block in columns)
        gammas = torch.stack([pool.gammas(fusion.gamma) for pool in pools])
        return cls(ordered, columns, pools, gammas, ordered.signs)

    def of_trials(self, part: slice) -> Tensor:
        """(B, t, s, s) float64 kernels of some trials."""
        return torch.stack(
            [
                torch.exp(-gammas[part, None, None] * pool.support_distances(part))
                for pool, gammas in zip(self.pools, self.gammas, strict=True)
            ]
        )

    def parts(self) -> Iterator[slice]:
        """Yield slices of trials with equally many synthetic images, whose kernels fit into memory together."""
        shots, widest = self.signs.shape[1], max(pool.rows.shape[1] for pool in self.pools)
        step = max(1, KERNEL_BYTES // (8 * shots * (2 * len(self.pools) * shots + widest)))
        counts = (self.signs > 0).sum(1).tolist()
        changes = [0, *(trial for trial in range(1, len(counts)) if counts[trial] != counts[trial - 1]), len(counts)]
        for first, last in zip(changes, changes[1:], strict=False):
            for start, stop in spans(last - first, step):
                yield slice(first + start, first + stop)


def _validated_auroc(kernels: Tensor, signs: Tensor, C: float) -> Float64Array:
    """Return (t, B) the mean AUROC over the folds of the machine on every kernel; one half where there are none."""
    blocks, trials, shots, _ = kernels.shape
    each, sides = kernels.reshape(-1, shots, shots), signs.repeat(blocks, 1)
    positive = (signs[0] > 0).cpu().numpy()  # natural images first, equally many in every trial
    found = []
    for held_out in stratified_folds(positive):
        kept = np.setdiff1d(np.arange(shots), held_out)
        solution = solve_svm(each[:, kept][:, :, kept].contiguous(), sides[:, kept].contiguous(), C=C)
        scores = torch.einsum("phk,pk->ph", each[:, held_out][:, :, kept], solution.weights)
        synthetic = positive[held_out]
        lead = scores[:, synthetic, None] - scores[:, None, ~synthetic]
        won = torch.where(lead.abs() <= TIED, 0.5, (lead > 0).to(torch.float64))
        found.append(won.mean((1, 2)))
    mean = torch.stack(found).mean(0) if found else torch.full((len(each),), 0.5, dtype=torch.float64)
    validated: Float64Array = mean.reshape(blocks, trials).T.cpu().numpy()
    return validated


def _alignment(entries: Tensor, wanted: Tensor) -> Float64Array:
    """Return (t, B) the correlation of kernels' entries (B, t, m) with those of the labels' kernels (t, m)."""
    centred, target = entries - entries.mean(2, keepdim=True), wanted - wanted.mean(1, keepdim=True)
    lengths = torch.linalg.vector_norm(centred, dim=2) * torch.linalg.vector_norm(target, dim=1)
    products = (centred * target).sum(2)
    aligned: Float64Array = (products / torch.where(lengths > 0, lengths, 1.0)).T.cpu().numpy()
    return aligned


def _pool_scores(kernels: _SupportKernels, weights: Tensor, biases: Tensor) -> FloatArray:
    """Return (T, N) scores of the whole pool: weights (B, T, s), biases (T,)."""
    supports, found = kernels.supports, None
    for number, columns in enumerate(kernels.columns):
        pool = PreparedPool.of(replace(supports, features=supports.features[:, columns]))
        if found is None:
            found = biases.to(pool.dtype)[:, None].repeat(1, len(pool.rows))
        pool.add_rbf_scores(found, kernels.gammas[number], weights[number])
    assert found is not None
    array: FloatArray = found.cpu().numpy()
    return array
