"""The supports of all trials, natural images first, and the small kernels of every block between their images."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from fewshot.core.arrays import BoolArray, FloatArray, spans
from fewshot.solvers.blocks import block_columns
from fewshot.solvers.dual import solve_svm
from fewshot.solvers.prepared_pool import PreparedPool, Supports

KERNEL_BYTES = 1 << 26  # of the support kernels that are held at a time


@dataclass(frozen=True)
class SupportKernels:
    """What kernels of supports are made of; no row is looked at that no trial supports with.

    Args:
        supports: of the whole pool, natural images first in every trial.
        columns: the columns of every block.
        pools: of every block, the support rows of all trials only.
        signs: (T, s) float64: -1 natural, 1 synthetic.
    """

    supports: Supports
    columns: tuple[slice, ...]
    pools: tuple[PreparedPool, ...]
    signs: Tensor

    @classmethod
    def of(cls, supports: Supports, widths: Sequence[int]) -> "SupportKernels":
        """Prepare the blocks of so many columns each; empty for a single block."""
        order = np.argsort(supports.synthetic[supports.rows], axis=1, kind="stable")
        ordered = replace(supports, rows=np.take_along_axis(supports.rows, order, axis=1))
        union, rows = np.unique(ordered.rows, return_inverse=True)
        features, shape = supports.features[union], ordered.rows.shape
        seen = replace(ordered, features=features, synthetic=supports.synthetic[union], rows=rows.reshape(shape))
        columns = block_columns(widths, features.shape[1])
        pools = tuple(PreparedPool.of(replace(seen, features=features[:, block])) for block in columns)
        return cls(ordered, columns, pools, ordered.signs)

    def gammas(self, gamma: float | str) -> Tensor:
        """(B, T) float64: the width of every block in every trial."""
        return torch.stack([pool.gammas(gamma) for pool in self.pools])

    def kernels(self, part: slice, gammas: Tensor) -> Tensor:
        """(B, t, s, s) float64 of some trials; gammas (B, T)."""
        each = zip(self.pools, gammas[:, part, None, None], strict=True)
        return torch.stack([torch.exp(-width * pool.support_distances(part)) for pool, width in each])

    def positive(self, part: slice) -> BoolArray:
        """(s,) bool: which support images are synthetic, in every trial of a part."""
        positive: BoolArray = (self.signs[part.start] > 0).cpu().numpy()
        return positive

    def parts(self) -> Iterator[slice]:
        """Yield slices of trials with equally many synthetic images, whose kernels fit into memory together."""
        shots, widest = self.signs.shape[1], max(block.stop - block.start for block in self.columns)
        step = max(1, KERNEL_BYTES // (8 * shots * (2 * len(self.pools) * shots + widest)))
        counts = (self.signs > 0).sum(1).cpu().numpy()
        changes = [0, *(np.flatnonzero(np.diff(counts)) + 1).tolist(), len(counts)]
        for first, last in pairwise(changes):
            for start, stop in spans(last - first, step):
                yield slice(first + start, first + stop)

    def pool_scores(self, gammas: Tensor, weights: Tensor, biases: Tensor) -> FloatArray:
        """Return (T, N) scores of the whole pool: gammas (B, T), weights (B, T, s) and biases (T,) float64."""
        found: Tensor | None = None
        for number, block in enumerate(self.columns):
            pool = PreparedPool.of(replace(self.supports, features=self.supports.features[:, block]))
            if found is None:
                found = biases.to(pool.dtype)[:, None].repeat(1, len(self.supports.features))
            pool.add_rbf_scores(found, gammas[number], weights[number])
        assert found is not None
        scores: FloatArray = found.cpu().numpy()
        return scores


def held_out_scores(kernels: Tensor, signs: Tensor, held_out: Tensor, kept: Tensor, *, C: float) -> Tensor:
    """Return (B, t, h) scores of held-out images by machines on the others: kernels (B, t, s, s), signs (t, s)."""
    blocks, trials, shots, _ = kernels.shape
    each, sides = kernels.reshape(-1, shots, shots), signs[:, kept].repeat(blocks, 1)
    solution = solve_svm(each[:, kept][:, :, kept].contiguous(), sides, C=C)
    scores = torch.einsum("phk,pk->ph", each[:, held_out][:, :, kept], solution.weights) + solution.bias[:, None]
    return scores.reshape(blocks, trials, -1)
