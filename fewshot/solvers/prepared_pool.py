"""The pool of a batched fit on its device: products of supports and queries in tiles, so that memory stays bounded.

All trials share one pool of images. The squared distances (or products) between the pool and the union of all support
rows are one matrix product, made in tiles (``tiles.py``); every trial then only picks its rows. The pool is centred
first, which changes no distance and keeps the product's rounding small beside the distances.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fewshot.core.arrays import BoolArray, FloatArray, IntArray
from fewshot.core.device import torch_device
from fewshot.solvers.tiles import visit_products

EXACT_OPERATIONS = 2e10  # up to this many multiply-adds the products are computed in float64
PREPARE_ROWS = 4096
LARGEST_EXPONENT = 60.0  # exp of it times a thousand terms stays within float32
SUPPORT_BLOCK_BYTES = 1 << 27

Weigh = Callable[[Tensor, slice, slice], Tensor]  # (t, s, n) products, trials, rows of the pool -> (t, n) scores


@dataclass(frozen=True)
class Supports:
    """The supports of all trials over one pool of features.

    Args:
        features: (N, D) floating, the pool: support and query images.
        synthetic: (N,) bool.
        rows: (T, s) int64 rows of the pool, the same number in every trial.
        device: where to compute: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.

    Raises:
        DeviceError: the device is not there.
    """

    features: FloatArray
    synthetic: BoolArray
    rows: IntArray
    device: str = "cpu"

    def __post_init__(self) -> None:
        object.__setattr__(self, "device", str(torch_device(self.device)))

    @property
    def signs(self) -> Tensor:
        """(T, s) float64: +1 synthetic, -1 natural."""
        signs = np.where(self.synthetic[self.rows], 1.0, -1.0)
        return torch.as_tensor(signs, dtype=torch.float64, device=self.device)


@dataclass(frozen=True)
class PreparedPool:
    """The pool on its device, and the union of all support rows.

    Args:
        rows: (N, D) in the working precision; centred, or of unit length.
        squares: (N,) float64 squared lengths of the rows.
        anchors: (U, D) float64: the rows that any trial supports with.
        union: (U,) int64: their positions in the pool.
        columns: (T, s) int64: the supports' positions within the union.
        variance: (T,) float64: variance of all entries of every support, as the user gave them.
    """

    rows: Tensor
    squares: Tensor
    anchors: Tensor
    union: Tensor
    columns: Tensor
    variance: Tensor

    @classmethod
    def of(cls, supports: Supports, *, unit: bool = False) -> "PreparedPool":
        union, columns = np.unique(supports.rows, return_inverse=True)
        raw = torch.as_tensor(np.require(supports.features, requirements=["C", "W"]), device=supports.device)
        exact = raw.shape[0] * raw.shape[1] * len(union) <= EXACT_OPERATIONS
        centre = None if unit else raw.mean(0, dtype=torch.float64)
        rows = torch.empty(raw.shape, dtype=torch.float64 if exact else torch.float32, device=raw.device)
        squares = torch.empty(len(raw), dtype=torch.float64, device=raw.device)
        for start in range(0, len(raw), PREPARE_ROWS):
            part = slice(start, start + PREPARE_ROWS)
            prepared = _prepared(raw[part], centre)
            rows[part], squares[part] = prepared.to(rows.dtype), (prepared * prepared).sum(1)
        positions = torch.as_tensor(union, device=supports.device)
        chosen = raw[positions].to(torch.float64)
        where = torch.as_tensor(columns.reshape(supports.rows.shape), device=supports.device)
        return cls(rows, squares, _prepared(chosen, centre), positions, where, _variance(chosen, where))

    @property
    def dtype(self) -> torch.dtype:
        return self.rows.dtype

    def gammas(self, gamma: float | str) -> Tensor:
        """(T,) float64: scikit-learn's gamma of every support: "scale", "auto" or a number."""
        dimension = self.rows.shape[1]
        if gamma == "scale":
            scaled = 1.0 / (dimension * self.variance.clamp_min(1e-300))
            return torch.where(self.variance > 0, scaled, torch.ones_like(scaled))
        return torch.full_like(self.variance, 1.0 / dimension if isinstance(gamma, str) else gamma)

    def trial_blocks(self) -> Iterator[slice]:
        """Yield slices of trials whose support rows fit into memory together."""
        shots = self.columns.shape[1]
        step = max(1, SUPPORT_BLOCK_BYTES // (8 * shots * (self.rows.shape[1] + shots)))
        return (slice(start, start + step) for start in range(0, len(self.columns), step))

    def support_products(self, part: slice) -> Tensor:
        """(t, s, s) float64 inner products of the prepared support rows, always in full precision."""
        rows = self.anchors[self.columns[part]]
        return rows @ rows.transpose(1, 2)

    def support_distances(self, part: slice) -> Tensor:
        """(t, s, s) float64 squared distances."""
        gram = self.support_products(part)
        square = gram.diagonal(dim1=1, dim2=2)
        return (square[:, :, None] + square[:, None, :] - 2 * gram).clamp_min_(0)

    def linear_scores(self, weights: Tensor, bias: Tensor) -> FloatArray:
        """(T, N): the scores ``sum_i weights_i <x_i, query> + bias``."""
        directions = [weights[part, None, :] @ self.anchors[self.columns[part]] for part in self.trial_blocks()]
        stacked = torch.cat(directions).squeeze(1).to(self.dtype)
        return _array(torch.addmm(bias.to(self.dtype)[:, None], stacked, self.rows.T))

    def scores(self, weigh: Weigh) -> FloatArray:
        """Return (T, N) from the products of every row with every trial's support, a tile at a time."""
        found = torch.empty((len(self.columns), len(self.rows)), dtype=self.dtype, device=self.rows.device)

        def visit(products: Tensor, part: slice, block: slice) -> None:
            found[part, block] = weigh(products, part, block)

        visit_products(self.rows, self.rows[self.union], self.columns, visit)
        return _array(found)

    def add_rbf_scores(self, found: Tensor, gammas: Tensor, weights: Tensor) -> None:
        """Add ``sum_i weights_i exp(-gammas |x_i - query|^2)`` of every trial to ``found``, a tile at a time.

        Args:
            found: (T, N) floating, on the pool's device; changed in place. Several pools (of the same images and
                supports, other features) may add to the same one.
            gammas: (T,) float64.
            weights: (T, s) float64.
        """
        kernel = RbfScores(self, gammas, weights, torch.zeros_like(gammas))

        def visit(products: Tensor, part: slice, block: slice) -> None:
            found[part, block] += kernel(products, part, block)

        visit_products(self.rows, self.rows[self.union], self.columns, visit)


class RbfScores:
    """Score rows by sum_i w_i exp(-gamma |x_i - q|^2) + bias from the products <x_i, q>.

    Where the exponents allow it the kernel is split as exp(-gamma |q|^2) exp(-gamma |x_i|^2) exp(2 gamma <x_i, q>):
    one pass less, and the rounding of the small products is all that is left.

    Args:
        pool: whose products will be scored.
        gammas: (T,) float64.
        weights: (T, s) float64.
        bias: (T,) float64.
    """

    def __init__(self, pool: PreparedPool, gammas: Tensor, weights: Tensor, bias: Tensor) -> None:
        self.gammas, self.squares, self.bias = gammas[:, None], pool.squares, bias[:, None].to(pool.dtype)
        self.anchor_squares = pool.squares[pool.union][pool.columns]
        longest = float((self.gammas * self.anchor_squares).max()) * float((gammas.max() * pool.squares).max())
        self.split = 2 * longest**0.5 < LARGEST_EXPONENT and float((gammas.max() * pool.squares).max()) < 60
        if self.split:
            weights = weights * torch.exp(-self.gammas * self.anchor_squares)
        self.weights = weights[:, None, :].to(pool.dtype)
        self.slopes = ((2 if self.split else -1) * gammas[:, None, None]).to(pool.dtype)

    def __call__(self, products: Tensor, part: slice, block: slice) -> Tensor:
        """Return (t, n) scores from (t, s, n) products, which are overwritten."""
        if not self.split:
            products.mul_(-2).add_(self.anchor_squares[part, :, None] + self.squares[block]).clamp_min_(0)
        kernel = products.mul_(self.slopes[part]).exp_()
        sums = torch.bmm(self.weights[part], kernel).squeeze(1)
        if self.split:
            sums *= torch.exp(-self.gammas[part] * self.squares[block])
        return sums.add_(self.bias[part])


def _prepared(rows: Tensor, centre: Tensor | None) -> Tensor:
    exact = rows.to(torch.float64)
    if centre is None:
        lengths: Tensor = torch.linalg.vector_norm(exact, dim=1, keepdim=True)
        return exact / lengths.clamp_min(1e-300)
    return exact - centre


def _variance(rows: Tensor, columns: Tensor) -> Tensor:
    """(T,) variance of all entries of every support, from the mean and variance of each row."""
    mean = rows.mean(1)
    spread = rows.var(1, correction=0)
    means = mean[columns]
    return spread[columns].mean(1) + means.var(1, correction=0)


def _array(scores: Tensor) -> FloatArray:
    array: FloatArray = scores.cpu().numpy()
    return array
