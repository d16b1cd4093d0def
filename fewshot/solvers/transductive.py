"""All draws of transductive heads at once: class means, refined or smoothed by every draw's unlabelled queries."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fewshot.core.arrays import BoolArray, FloatArray
from fewshot.solvers.prepared_pool import Supports
from fewshot.solvers.tiles import ROWS_AT_ONCE

SAME = 1e-9  # cosines this near to 1 are those of one image
NEAREST = 64  # neighbours that are kept of every image, among which a draw's own are sought first
TABLE_BYTES = 1 << 26
TRIALS = 64  # whose supports are summed at a time


@dataclass(frozen=True)
class _ClassMeans:
    """Unit-length rows (N, D) float64, and every trial's sums (T, 2, D) and counts (T, 2): natural, synthetic."""

    rows: Tensor
    sums: Tensor
    counts: Tensor

    @classmethod
    def of(cls, supports: Supports) -> "_ClassMeans":
        raw = torch.as_tensor(np.require(supports.features, requirements=["C", "W"]), device=supports.device)
        rows = raw.double()
        rows /= torch.linalg.vector_norm(rows, dim=1, keepdim=True).clamp_min(1e-300)
        signs = supports.signs
        member = torch.stack([signs < 0, signs > 0], dim=1).double()
        places = torch.as_tensor(supports.rows, device=supports.device)
        parts = [slice(start, start + TRIALS) for start in range(0, len(places), TRIALS)]
        sums = torch.cat([member[part] @ rows[places[part]] for part in parts])
        return cls(rows, sums, member.sum(2))

    def nearer(self, means: Tensor) -> Tensor:
        """(T, N): how much nearer every row lies to the second of the means (T, 2, D) than to the first, in squares."""
        squares = (means**2).sum(2)
        offsets = (squares[:, 0] - squares[:, 1])[:, None]
        return torch.addmm(offsets, means[:, 1] - means[:, 0], self.rows.T, alpha=2)

    @property
    def means(self) -> Tensor:
        """(T, 2, D)."""
        return self.sums / self.counts[:, :, None]


def class_mean_scores(supports: Supports) -> FloatArray:
    """Return (T, N) float64: squared distance to the natural mean of the support minus that to the synthetic one."""
    pool = _ClassMeans.of(supports)
    return _array(pool.nearer(pool.means))


def soft_k_means_scores(supports: Supports, queries: BoolArray, *, sharpness: float, steps: int) -> FloatArray:
    """Return the scores of class means that every trial refines by its queries; see ``heads/soft_k_means.py``.

    Args:
        queries: (T, N) bool, the unlabelled images of every trial.
        sharpness: of the shares. steps: refinements.

    Returns:
        (T, N) float64.
    """
    pool = _ClassMeans.of(supports)
    unlabelled = torch.as_tensor(queries, dtype=torch.float64, device=supports.device)
    means = pool.means
    for _ in range(steps):
        synthetic = torch.sigmoid(sharpness * pool.nearer(means)).mul_(unlabelled)
        shares = torch.stack([unlabelled - synthetic, synthetic], dim=1)
        means = (pool.sums + shares @ pool.rows) / (pool.counts + shares.sum(2))[:, :, None]
    return _array(pool.nearer(means))


def laplacian_scores(
    supports: Supports, queries: BoolArray, *, weight: float, k: int, sharpness: float, rounds: int
) -> FloatArray:
    """Return the scores of class means, smoothed over neighbours among the queries; see ``heads/laplacian_shot.py``.

    The nearest images are the same for all trials; a trial counts the first k of them that it queries. Where its
    queries are so few that they are not among the nearest that are kept, they are sought again, among them alone.

    Args:
        queries: (T, N) bool, the unlabelled images of every trial.
        weight: of the neighbours. k: how many. sharpness: of the distances. rounds: of updates.

    Returns:
        (T, N) float64.
    """
    pool = _ClassMeans.of(supports)
    alone = sharpness * pool.nearer(pool.means)
    near = _nearest(pool.rows, min(len(pool.rows), NEAREST + k))
    scores = torch.empty_like(alone)
    for trial, unlabelled in enumerate(torch.as_tensor(queries, device=alone.device)):
        nearest, there = _of_trial(pool.rows, near, unlabelled, k)
        found = alone[trial]
        for _ in range(rounds):
            found = alone[trial] + weight * (torch.tanh(found / 2)[nearest] * there).sum(1)
        scores[trial] = found
    return _array(scores)


def _of_trial(rows: Tensor, near: tuple[Tensor, Tensor], unlabelled: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Return the k nearest queried images of every row (N, k), and whether they are neighbours at all."""
    nearest, other = near
    counted = unlabelled[nearest] & other
    rank = counted.cumsum(1)
    if int(rank[:, -1].min()) < k and nearest.shape[1] < len(rows):
        chosen = unlabelled.nonzero()[:, 0]
        found, other = _nearest(rows, min(k, len(chosen)), chosen)
        return found, other
    first = (torch.where(counted & (rank <= k), -rank, -len(rows))).argsort(dim=1, descending=True, stable=True)[:, :k]
    return nearest.gather(1, first), (counted & (rank <= k)).gather(1, first)


def _nearest(rows: Tensor, k: int, among: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Return the k most similar of all rows (or of those ``among``) for every row, and which are other images."""
    keys = rows if among is None else rows[among]
    step = max(1, min(ROWS_AT_ONCE, TABLE_BYTES // (8 * len(keys))))
    found, other = [], []
    for start in range(0, len(rows), step):
        similar = rows[start : start + step] @ keys.T
        similar[similar > 1 - SAME] = -torch.inf
        best = similar.topk(k, dim=1)
        found.append(best.indices if among is None else among[best.indices])
        other.append(best.values > -torch.inf)
    return torch.cat(found), torch.cat(other)


def _array(scores: Tensor) -> FloatArray:
    array: FloatArray = scores.cpu().numpy()
    return array
