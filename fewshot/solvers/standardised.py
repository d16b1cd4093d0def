"""Thousands of heads at once on features that every trial standardises for itself, by matrix products alone.

With m the mean and f the factor of a trial (both (D,), ``Scales``), a standardised query is (q - m) f. Its product with
a standardised support row a and its squared length are

    <a, (q - m) f> = <a f, q> - <a f, m>,        |(q - m) f|^2 = <f^2, q^2> - 2 <m f^2, q> + |m f|^2,

so that the rows a f and m f^2 of all trials, times the pool, give everything: no query is ever standardised, and the
pool is read once for a block of trials. Supports are standardised row by row, in float64.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fewshot.core.arrays import BoolArray, FloatArray, IntArray
from fewshot.solvers.dual import Solution, solve_logistic, solve_svm
from fewshot.solvers.prepared_pool import EXACT_OPERATIONS, Supports
from fewshot.solvers.tiles import ROWS_AT_ONCE

LARGEST_TABLE = 1 << 22  # products of a block of trials with the pool
LARGEST_SUPPORT = 1 << 23  # entries of the support rows of a block of trials
SOFT = 16.0  # as in fewshot.heads.scaling
MOST_TRIALS = 32  # of a block


@dataclass(frozen=True)
class Scales:
    """What standardises some trials: (t, D) float64 means, and factors, nought in constant dimensions."""

    mean: Tensor
    factor: Tensor

    @classmethod
    def of(cls, mean: Tensor, deviation: Tensor, constant: Tensor, images: Tensor | int) -> "Scales":
        """Return the scales of means and deviations (t, D), drawn together as ``fewshot.heads.scaling`` says."""
        varies = ~constant
        logarithm = torch.where(constant, 1.0, deviation).log()
        images = torch.as_tensor(images, dtype=torch.float64, device=mean.device)
        share = (SOFT / (SOFT + images * images)).expand(len(mean))[:, None]
        middle = (logarithm * varies).sum(1, keepdim=True) / varies.sum(1, keepdim=True).clamp_min(1)
        drawn = torch.exp((1 - share) * logarithm + share * middle)
        return cls(mean, torch.where(constant, 0.0, 1.0 / drawn))


ScaleRule = Callable[[Tensor, Tensor, slice], Scales]  # (N, D) pool, (t, s, D) supports, which trials


def support_scales(_: Tensor, rows: Tensor, part: slice) -> Scales:
    """Return the scales of every trial's own support."""
    constant = rows.amax(1) == rows.amin(1)
    return Scales.of(rows.mean(1), rows.std(1, correction=0), constant, rows.shape[1])


def query_scales(queries: BoolArray) -> ScaleRule:
    """Return the rule that standardises every trial by its unlabelled queries: (T, N) bool."""

    def scales(pool: Tensor, _: Tensor, part: slice) -> Scales:
        chosen = torch.as_tensor(queries[part], dtype=torch.float64, device=pool.device)
        images = chosen.sum(1)
        mean = torch.zeros((len(chosen), pool.shape[1]), dtype=torch.float64, device=pool.device)
        square = torch.zeros_like(mean)
        for start in range(0, len(pool), ROWS_AT_ONCE):
            rows, weights = pool[start : start + ROWS_AT_ONCE].double(), chosen[:, start : start + ROWS_AT_ONCE]
            mean += weights @ rows
            square += weights @ (rows * rows)
        mean, square = mean / images[:, None], square / images[:, None]
        variance = (square - mean * mean).clamp_min(0)
        constant = variance <= 1e-12 * square  # what rounding leaves of a dimension that does not vary
        return Scales.of(mean, variance.sqrt(), constant, images)

    return scales


def standardised_scores(
    supports: Supports,
    scales: ScaleRule,
    *,
    base: str,
    parameters: Mapping[str, Any],
    queried: IntArray | None = None,
) -> FloatArray | None:
    """Return the scores of a head on features that every trial standardises for itself.

    Args:
        supports: features as stored.
        scales: what standardises a trial.
        base: the head's name. parameters: of its constructor.
        queried: (T, m) int64 rows of the pool that a trial scores; None for the whole pool.

    Returns:
        (T, N) or (T, m) floating, equal to one fit after another; None for heads that have no such form.

    Raises:
        NotSolvedError: a trial is not solved.
    """
    rule = _RULES.get(base)
    if rule is None:
        return None
    pool = _Pool.of(supports, queried)
    found = [rule(block, parameters) for block in pool.blocks(supports, scales)]
    scores: FloatArray = torch.cat(found).cpu().numpy()
    return scores


@dataclass(frozen=True)
class _Block:
    """Some trials: their standardised supports (t, s, D) float64, signs (t, s), and products with what they query."""

    rows: Tensor
    signs: Tensor
    scales: Scales
    pool: "_Pool"
    part: slice

    def gram(self) -> Tensor:
        """(t, s, s) float64 inner products of the supports."""
        return self.rows @ self.rows.transpose(1, 2)

    def products(self, rows: Tensor) -> Tensor:
        """(t, k, n): the products of standardised rows (t, k, D) with the standardised queries."""
        scaled = rows * self.scales.factor[:, None]
        offsets = (scaled * self.scales.mean[:, None]).sum(2)
        return self.pool.times(scaled, self.part) - offsets[:, :, None].to(self.pool.dtype)

    def squares(self) -> Tensor:
        """(t, n): squared lengths of the standardised queries."""
        weights = self.scales.factor**2
        cross = self.pool.times((self.scales.mean * weights)[:, None], self.part)[:, 0]
        constant = (self.scales.mean**2 * weights).sum(1, keepdim=True)
        squares = self.pool.squares_times(weights, self.part)
        return (squares - 2 * cross + constant.to(self.pool.dtype)).clamp_min_(0)


@dataclass(frozen=True)
class _Pool:
    """The pool on its device in the working precision, centred, and what is queried of it: all, or rows (T, m)."""

    features: Tensor
    queried: Tensor | None

    @classmethod
    def of(cls, supports: Supports, queried: IntArray | None) -> "_Pool":
        raw = torch.as_tensor(np.require(supports.features, requirements=["C", "W"]), device=supports.device)
        exact = queried is not None or raw.numel() * supports.rows.size <= EXACT_OPERATIONS
        centred = raw.double() - raw.mean(0, dtype=torch.float64) if exact else _centred(raw)
        rows = None if queried is None else torch.as_tensor(queried, device=supports.device)
        return cls(centred, rows)

    @property
    def dtype(self) -> torch.dtype:
        return self.features.dtype

    def blocks(self, supports: Supports, scales: ScaleRule) -> Iterator[_Block]:
        """Yield the trials, as many at a time as memory and caches like."""
        places = torch.as_tensor(supports.rows, device=self.features.device)
        shots, (images, dimension) = places.shape[1], self.features.shape
        step = min(MOST_TRIALS, LARGEST_SUPPORT // (shots * dimension), LARGEST_TABLE // (shots * images))
        for start in range(0, len(places), max(1, step)):
            part = slice(start, min(len(places), start + max(1, step)))
            rows = self.features[places[part]].double()
            found = scales(self.features, rows, part)
            scaled = (rows - found.mean[:, None]) * found.factor[:, None]
            yield _Block(scaled, supports.signs[part], found, self, part)

    def times(self, directions: Tensor, part: slice) -> Tensor:
        """(t, k, n): products of directions (t, k, D) float64 with the queries."""
        if self.queried is not None:
            return directions @ self.features[self.queried[part]].transpose(1, 2)
        flat = directions.reshape(-1, directions.shape[2]).to(self.dtype)
        return (flat @ self.features.T).view(*directions.shape[:2], -1)

    def squares_times(self, weights: Tensor, part: slice) -> Tensor:
        """(t, n): products of weights (t, D) float64 with the squared entries of the queries."""
        if self.queried is not None:
            return (self.features[self.queried[part]].square() @ weights[:, :, None])[:, :, 0]
        found = torch.empty((len(weights), len(self.features)), dtype=self.dtype, device=self.features.device)
        flat = weights.to(self.dtype)
        for start in range(0, len(self.features), ROWS_AT_ONCE):
            rows = slice(start, start + ROWS_AT_ONCE)
            found[:, rows] = flat @ self.features[rows].square().T
        return found


def _centred(raw: Tensor) -> Tensor:
    mean, rows = raw.mean(0, dtype=torch.float64), torch.empty(raw.shape, dtype=torch.float32, device=raw.device)
    for start in range(0, len(raw), ROWS_AT_ONCE):
        part = slice(start, start + ROWS_AT_ONCE)
        rows[part] = (raw[part].double() - mean).float()
    return rows


def _svm(block: _Block, parameters: Mapping[str, Any]) -> Tensor:
    """(t, n) decision values of an RBF SVM; gamma is scikit-learn's, of the standardised support."""
    gram = block.gram()
    square = gram.diagonal(dim1=1, dim2=2)
    distances = (square[:, :, None] + square[:, None, :] - 2 * gram).clamp_min(0)
    gamma = _gamma(block.rows, parameters["gamma"])[:, None, None]
    solution = solve_svm(torch.exp(-gamma * distances), block.signs, C=parameters["C"])
    dtype = block.pool.dtype
    table = block.products(block.rows).mul_(-2).add_(square[:, :, None].to(dtype)).add_(block.squares()[:, None])
    kernel = table.clamp_min_(0).mul_(-gamma.to(dtype)).exp_()
    return (solution.weights[:, None].to(dtype) @ kernel)[:, 0] + solution.bias[:, None].to(dtype)


def _gamma(rows: Tensor, gamma: float | str) -> Tensor:
    """(t,) scikit-learn's gamma of standardised supports (t, s, D): "scale", "auto" or a number."""
    variance = rows.var((1, 2), correction=0)
    if gamma == "scale":
        return torch.where(variance > 0, 1.0 / (rows.shape[2] * variance.clamp_min(1e-300)), 1.0)
    return torch.full_like(variance, 1.0 / rows.shape[2] if isinstance(gamma, str) else gamma)


def _linear_svm(block: _Block, parameters: Mapping[str, Any]) -> Tensor:
    return _linear(block, solve_svm(block.gram(), block.signs, C=parameters["C"]))


def _logistic(block: _Block, parameters: Mapping[str, Any]) -> Tensor:
    return _linear(block, solve_logistic(block.gram(), block.signs, C=parameters["C"]))


def _linear(block: _Block, solution: Solution) -> Tensor:
    """(t, n) scores of a head that is linear in the standardised support."""
    direction = solution.weights[:, None] @ block.rows
    return block.products(direction)[:, 0] + solution.bias[:, None].to(block.pool.dtype)


def _prototype(block: _Block, _: Mapping[str, Any]) -> Tensor:
    """(t, n) cosine to the synthetic prototype minus cosine to the natural one; see ``heads/prototype.py``."""
    unit = block.rows / _length(block.rows)
    sides = [(block.signs == sign).double()[:, None] @ unit for sign in (1.0, -1.0)]
    direction = sides[0] / _length(sides[0]) - sides[1] / _length(sides[1])
    length = block.squares().sqrt_()
    return block.products(direction)[:, 0] / torch.where(length > 0, length, 1.0)


def _length(rows: Tensor) -> Tensor:
    length: Tensor = torch.linalg.vector_norm(rows, dim=2, keepdim=True)
    return torch.where(length > 0, length, 1.0)


_RULES: Mapping[str, Callable[[_Block, Mapping[str, Any]], Tensor]] = {
    "svm": _svm,
    "linear-svm": _linear_svm,
    "logistic": _logistic,
    "prototype": _prototype,
}
