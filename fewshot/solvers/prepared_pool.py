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
from fewshot.solvers.tiles import share_out, slices, tile_length, tile_width, visit_products

EXACT_OPERATIONS = 2e10  # up to this many multiply-adds the products are computed in float64
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
    """The pool on its device, prepared (centred, or of unit length) as it is read, and the union of all support rows.

    Args:
        raw: (N, D) floating, as the user gave it.
        centre: (D,) float64, the mean of the pool; None where every row is divided by its length instead.
        squares: (N,) float64 squared lengths of the prepared rows.
        anchors: (U, D) in the working precision: the prepared rows that any trial supports with.
        union: (U,) int64: their positions in the pool.
        columns: (T, s) int64: the supports' positions within the union.
        variance: (T,) float64: variance of all entries of every support, as the user gave them.
    """

    raw: Tensor
    centre: Tensor | None
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
        centre = None if unit else _mean(raw)
        positions = torch.as_tensor(union, device=raw.device)
        where = torch.as_tensor(columns.reshape(supports.rows.shape), device=raw.device)
        anchors = torch.empty(
            (len(union), raw.shape[1]), dtype=torch.float64 if exact else torch.float32, device=raw.device
        )
        moments = _fill_anchors(anchors, raw, positions, centre)
        return cls(raw, centre, _squares(raw, centre), anchors, positions, where, _variance(moments, where))

    @property
    def dtype(self) -> torch.dtype:
        return self.anchors.dtype

    def empty_scores(self) -> Tensor:
        """Return (T, N) in the working precision, not filled."""
        return self.anchors.new_empty((len(self.columns), len(self.raw)))

    def gammas(self, gamma: float | str) -> Tensor:
        """(T,) float64: scikit-learn's gamma of every support: "scale", "auto" or a number."""
        dimension = self.raw.shape[1]
        if gamma == "scale":
            scaled = 1.0 / (dimension * self.variance.clamp_min(1e-300))
            return torch.where(self.variance > 0, scaled, torch.ones_like(scaled))
        return torch.full_like(self.variance, 1.0 / dimension if isinstance(gamma, str) else gamma)

    def trial_blocks(self) -> Iterator[slice]:
        """Yield slices of trials whose support rows fit into memory together."""
        shots = self.columns.shape[1]
        step = max(1, SUPPORT_BLOCK_BYTES // (8 * shots * (self.raw.shape[1] + shots)))
        return (slice(start, start + step) for start in range(0, len(self.columns), step))

    def support_products(self, part: slice) -> Tensor:
        """(t, s, s) float64 inner products of the prepared support rows, always in full precision."""
        columns, shots = self.columns[part], self.columns.shape[1]
        found = self.squares.new_empty((len(columns), shots, shots))
        step = tile_length(found.device, 8 * shots * self.raw.shape[1])

        def multiply(trials: slice) -> None:
            rows = self._support_rows(columns[trials])
            torch.bmm(rows, rows.transpose(1, 2), out=found[trials])

        share_out(slices(len(columns), step), lambda: multiply, found.device)
        return found

    def support_distances(self, part: slice) -> Tensor:
        """(t, s, s) float64 squared distances."""
        gram = self.support_products(part)
        square = gram.diagonal(dim1=1, dim2=2)
        return (square[:, :, None] + square[:, None, :] - 2 * gram).clamp_min_(0)

    def linear_scores(self, weights: Tensor, bias: Tensor) -> FloatArray:
        """(T, N): the scores ``sum_i weights_i <x_i, query> + bias``."""
        parts = self.trial_blocks()
        directions = [weights[part, None, :] @ self._support_rows(self.columns[part]) for part in parts]
        stacked, offset = torch.cat(directions).squeeze(1).to(self.dtype), bias.to(self.dtype)[:, None]
        found, width = self.empty_scores(), tile_width(len(self.raw), stacked)

        def start() -> Callable[[slice], None]:
            read = self._reader(width)

            def score(block: slice) -> None:
                found[:, block] = torch.addmm(offset, stacked, read(block).T)

            return score

        share_out(slices(len(self.raw), width), start, found.device)
        return _array(found)

    def scores(self, weigh: Weigh) -> FloatArray:
        """Return (T, N) from the products of every row with every trial's support, a tile at a time."""
        found = self.empty_scores()

        def visit(products: Tensor, part: slice, block: slice) -> None:
            found[part, block] = weigh(products, part, block)

        visit_products(len(self.raw), self._reader, self.anchors, self.columns, visit)
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

        visit_products(len(self.raw), self._reader, self.anchors, self.columns, visit)

    def _support_rows(self, columns: Tensor) -> Tensor:
        """(t, s, D) float64: the prepared support rows of some trials, columns (t, s)."""
        rows = self.raw[self.union[columns.flatten()]].to(torch.float64)
        return _prepared(rows, self.centre).view(*columns.shape, -1)

    def _reader(self, width: int) -> Callable[[slice], Tensor]:
        """Return what reads up to so many prepared rows in the working precision, always into the same buffer."""
        exact = self.squares.new_empty((width, self.raw.shape[1]))
        rows = self.anchors.new_empty(exact.shape)

        def read(block: slice) -> Tensor:
            part = slice(block.stop - block.start)
            return rows[part].copy_(_prepared(exact[part].copy_(self.raw[block]), self.centre))

        return read


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
        if not self.split:
            return sums.add_(self.bias[part])
        lengths = torch.mul(self.gammas[part], self.squares[block]).neg_().exp_()
        return torch.addcmul(self.bias[part], sums, lengths.to(sums.dtype))


def _tiles_of(rows: Tensor) -> Iterator[slice]:
    return slices(len(rows), tile_length(rows.device, 8 * rows.shape[1]))


def _mean(rows: Tensor) -> Tensor:
    """(D,) float64 mean of the rows."""
    total = torch.zeros(rows.shape[1], dtype=torch.float64, device=rows.device)
    for part in _tiles_of(rows):
        total += rows[part].sum(0, dtype=torch.float64)
    return total / len(rows)


def _squares(raw: Tensor, centre: Tensor | None) -> Tensor:
    """(N,) float64 squared lengths of the prepared rows."""
    squares = torch.empty(len(raw), dtype=torch.float64, device=raw.device)

    def measure(part: slice) -> None:
        squares[part] = _prepared(raw[part].to(torch.float64, copy=True), centre).square_().sum(1)

    share_out(_tiles_of(raw), lambda: measure, raw.device)
    return squares


def _fill_anchors(anchors: Tensor, raw: Tensor, positions: Tensor, centre: Tensor | None) -> Tensor:
    """Fill in the prepared support rows; return (2, U) float64: mean and variance of the entries of each, as given."""
    moments = torch.empty((2, len(positions)), dtype=torch.float64, device=raw.device)

    def prepare(part: slice) -> None:
        rows = raw[positions[part]].to(torch.float64)
        moments[0, part], moments[1, part] = rows.mean(1), rows.var(1, correction=0)
        anchors[part] = _prepared(rows, centre)

    share_out(_tiles_of(anchors), lambda: prepare, raw.device)
    return moments


def _prepared(rows: Tensor, centre: Tensor | None) -> Tensor:
    """Centre rows (n, D) float64, or make them of unit length, in place."""
    if centre is None:
        return rows.div_(torch.linalg.vector_norm(rows, dim=1, keepdim=True).clamp_min_(1e-300))
    return rows.sub_(centre)


def _variance(moments: Tensor, columns: Tensor) -> Tensor:
    """(T,) variance of all entries of every support, from the mean and variance of each row."""
    means, spread = moments[0][columns], moments[1][columns]
    return spread.mean(1) + means.var(1, correction=0)


def _array(scores: Tensor) -> FloatArray:
    array: FloatArray = scores.cpu().numpy()
    return array
