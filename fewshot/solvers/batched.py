"""Thousands of small heads fitted and scored at once, on the CPU or a GPU through torch.

All trials share one pool of images. The squared distances (or products) between the pool and the union of all support
rows are one matrix product, made in blocks so that memory stays bounded; every trial then only picks its columns.
The pool is centred first, which changes no distance and keeps the product's rounding small beside the distances.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from fewshot.core.arrays import BoolArray, Float64Array, FloatArray, IntArray
from fewshot.solvers.dual import Solution, solve_logistic, solve_svm
from fewshot.stats import metrics

EXACT_OPERATIONS = 2e10  # up to this many multiply-adds the products are computed in float64
PREPARE_ROWS = 4096
LARGEST_EXPONENT = 60.0  # exp of it times a thousand terms stays within float32
POOL_BLOCK_BYTES = 1 << 27
TRIAL_BLOCK_BYTES = 1 << 22
SUPPORT_BLOCK_BYTES = 1 << 27

Solve = Callable[[Tensor, Tensor], Solution]  # (t, s, s) products, (t, s) signs
Weigh = Callable[[Tensor, slice, slice], Tensor]  # (t, s, n) products, trials, rows of the pool -> (t, n) scores


@dataclass(frozen=True)
class Supports:
    """The supports of all trials over one pool of features.

    Args:
        features: (N, D) floating, the pool: support and query images.
        synthetic: (N,) bool.
        rows: (T, s) int64 rows of the pool, the same number in every trial.
        device: where to compute, for example ``"cpu"`` or ``"cuda"``.
    """

    features: FloatArray
    synthetic: BoolArray
    rows: IntArray
    device: str = "cpu"

    @property
    def signs(self) -> Tensor:
        """(T, s) float64: +1 synthetic, -1 natural."""
        signs = np.where(self.synthetic[self.rows], 1.0, -1.0)
        return torch.as_tensor(signs, dtype=torch.float64, device=self.device)


def svm_scores(supports: Supports, *, C: float = 1.0, gamma: float | str = "scale", tol: float = 1e-10) -> FloatArray:
    """Return the decision values of an RBF SVM per trial on the whole pool.

    The optimum is libsvm's: Chang and Lin, LIBSVM, ACM TIST 2011; ``gamma="scale"`` is scikit-learn's
    1 / (D * variance of all support entries).

    Returns:
        (T, N) float32, or float64 where the pool is small; larger = more likely synthetic.
    """
    pool = _PreparedPool.of(supports)
    gammas = pool.gammas(gamma)
    weights, biases = [], []
    for part in pool.trial_blocks():
        kernel = torch.exp(-gammas[part, None, None] * pool.support_distances(part))
        solution = solve_svm(kernel, supports.signs[part], C=C, tol=tol)
        weights.append(solution.weights)
        biases.append(solution.bias)
    return pool.scores(_Rbf(pool, gammas, torch.cat(weights), torch.cat(biases)))


def linear_svm_scores(supports: Supports, *, C: float = 1.0, tol: float = 1e-10) -> FloatArray:
    """Return the decision values of a linear SVM with a free bias per trial.

    The bias is free, so centring the pool changes no score.

    Returns:
        (T, N) float32, or float64 where the pool is small.
    """
    return _linear_scores(supports, partial(solve_svm, C=C, tol=tol))


def logistic_scores(supports: Supports, *, C: float = 1.0, tol: float = 1e-10) -> FloatArray:
    """Return the decision values of L2-regularised logistic regression with a free intercept per trial.

    Returns:
        (T, N) float32, or float64 where the pool is small.
    """
    return _linear_scores(supports, partial(solve_logistic, C=C, tol=tol))


def _linear_scores(supports: Supports, solve: Solve) -> FloatArray:
    pool = _PreparedPool.of(supports)
    weights, biases = [], []
    for part in pool.trial_blocks():
        solution = solve(pool.support_products(part), supports.signs[part])
        weights.append(solution.weights)
        biases.append(solution.bias)
    return pool.linear_scores(torch.cat(weights), torch.cat(biases))


def prototype_scores(supports: Supports) -> FloatArray:
    """Return cosine to the synthetic prototype minus cosine to the natural one, per trial; see ``heads/prototype.py``.

    Args:
        supports: features of any length; they are normalised here.

    Returns:
        (T, N) float32, or float64 where the pool is small.
    """
    pool = _PreparedPool.of(supports, unit=True)
    weights = torch.zeros_like(supports.signs)
    for part in pool.trial_blocks():
        gram = pool.support_products(part)
        for sign in (-1.0, 1.0):
            member = (supports.signs[part] == sign).to(torch.float64)
            length = torch.einsum("ts,tsr,tr->t", member, gram, member).clamp_min(0).sqrt()
            weights[part] += sign * member / length.clamp_min(1e-12)[:, None]
    return pool.linear_scores(weights, torch.zeros(len(weights), dtype=torch.float64, device=weights.device))


def neighbour_scores(supports: Supports, *, k: int, legacy: bool, temperature: float) -> FloatArray:
    """Return the k-NN scores of FiSeR's two rules per trial; see ``heads/knn.py``.

    Returns:
        (T, N) float32, or float64 where the pool is small; 0 is the threshold between the classes.
    """
    pool = _PreparedPool.of(supports, unit=True)
    signs = supports.signs.to(pool.dtype)
    nearest = min(k, signs.shape[1])

    def weigh(products: Tensor, part: slice, _: slice) -> Tensor:
        found = torch.topk(products, nearest, dim=1, sorted=False)
        sides = torch.gather(signs[part, :, None].expand_as(products), 1, found.indices)
        if legacy:
            return (temperature * found.values * sides).sum(1)
        shares = torch.softmax(found.values / temperature, dim=1)
        return (shares * sides).sum(1) / 2

    return pool.scores(weigh)


@dataclass(frozen=True)
class _PreparedPool:
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
    def of(cls, supports: Supports, *, unit: bool = False) -> "_PreparedPool":
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
        """Return (T, N) from the products of every row with every trial's support, a block at a time."""
        trials, shots = self.columns.shape
        found = torch.empty((trials, len(self.rows)), dtype=self.dtype, device=self.rows.device)
        anchors = self.rows[self.union]
        on_cpu, size = self.rows.device.type == "cpu", self.rows.element_size()
        width = max(64, min(2048 if on_cpu else 1 << 14, POOL_BLOCK_BYTES // (size * len(anchors))))
        step = max(1, (TRIAL_BLOCK_BYTES if on_cpu else POOL_BLOCK_BYTES) // (size * shots * width))
        for start in range(0, len(self.rows), width):
            block = slice(start, min(len(self.rows), start + width))
            table = anchors @ self.rows[block].T
            for first in range(0, trials, step):
                part = slice(first, min(trials, first + step))
                picked = table.index_select(0, self.columns[part].flatten())
                found[part, block] = weigh(picked.view(-1, shots, table.shape[1]), part, block)
        return _array(found)


class _Rbf:
    """Score rows by sum_i w_i exp(-gamma |x_i - q|^2) + bias from the products <x_i, q>.

    Where the exponents allow it the kernel is split as exp(-gamma |q|^2) exp(-gamma |x_i|^2) exp(2 gamma <x_i, q>):
    one pass less, and the rounding of the small products is all that is left.
    """

    def __init__(self, pool: _PreparedPool, gammas: Tensor, weights: Tensor, bias: Tensor) -> None:
        self.pool, self.gammas, self.weights, self.bias = pool, gammas, weights, bias
        self.anchor_squares = pool.squares[pool.union][pool.columns]
        longest = float((gammas[:, None] * self.anchor_squares).max()) * float((gammas.max() * pool.squares).max())
        self.split = 2 * longest**0.5 < LARGEST_EXPONENT and float((gammas.max() * pool.squares).max()) < 60

    def __call__(self, products: Tensor, part: slice, block: slice) -> Tensor:
        gamma, dtype = self.gammas[part, None, None], self.pool.dtype
        bias = self.bias[part, None].to(dtype)
        if not self.split:
            square = self.anchor_squares[part, :, None] + self.pool.squares[block]
            kernel = products.mul_(-2).add_(square.to(dtype)).clamp_min_(0).mul_(-gamma.to(dtype)).exp_()
            return (self.weights[part, None, :].to(dtype) @ kernel).squeeze(1) + bias
        weights = self.weights[part] * torch.exp(-self.gammas[part, None] * self.anchor_squares[part])
        kernel = products.mul_((2 * gamma).to(dtype)).exp_()
        sums = (weights[:, None, :].to(dtype) @ kernel).squeeze(1)
        return sums.mul_(torch.exp(-self.gammas[part, None] * self.pool.squares[block]).to(dtype)).add_(bias)


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


def query_auroc(supports: Supports, scores: FloatArray) -> Float64Array:
    """Return the exact AUROC of every trial on all images but its support, ties counted half.

    Args:
        scores: (T, N) floating, of the whole pool; every trial supports with the same number of each class.

    Returns:
        (T,) float64.
    """
    if supports.device == "cpu":
        return metrics.auroc_without(scores, supports.synthetic, supports.rows)
    kept = np.ones(scores.shape, bool)
    np.put_along_axis(kept, supports.rows, False, axis=1)
    found = torch.as_tensor(scores, device=supports.device)
    sides = [torch.as_tensor(kept & (supports.synthetic == side), device=supports.device) for side in (False, True)]
    return _torch_auroc(*(found[mask].view(len(scores), -1) for mask in sides))


def auroc_by_torch(scores: FloatArray, synthetic: BoolArray, *, device: str) -> Float64Array:
    """Do what ``metrics.auroc`` does, on a torch device: scores (T, n), synthetic (n,) -> (T,) float64."""
    sides = [torch.as_tensor(scores[:, synthetic == side], device=device) for side in (False, True)]
    return _torch_auroc(*sides)


def _torch_auroc(natural: Tensor, synthetic: Tensor) -> Float64Array:
    natural, synthetic = (part.contiguous().sort(dim=1).values for part in (natural, synthetic))
    below = torch.searchsorted(natural, synthetic).sum(1, dtype=torch.float64)
    upto = torch.searchsorted(natural, synthetic, right=True).sum(1, dtype=torch.float64)
    found: Float64Array = ((below + upto) / (2.0 * natural.shape[1] * synthetic.shape[1])).cpu().numpy()
    return found
