"""The optimum of one L2-regularised logistic regression, to rounding: Newton's method in the span of the images."""

from dataclasses import dataclass

import numpy as np

from fewshot.core.arrays import BoolArray, Float64Array

STEPS = 200  # Newton steps; a dozen are usual, and separable classes under a weak penalty take about fifty
TOLERANCE = 1e-10  # largest gradient beside the largest weight
_HALVINGS = 40


@dataclass(frozen=True)
class LogisticOptimum:
    """The weights (D,) float64 and intercept of the least objective, and the Newton steps they took."""

    coefficients: Float64Array
    intercept: float
    steps: int


def fit_to_optimum(rows: Float64Array, positive: BoolArray, *, C: float) -> LogisticOptimum:
    """Minimise 1/2 |w|^2 + C sum log(1 + exp(-s (w x + b))), scikit-learn's objective.

    The optimum lies in the span of the images, so fewer images than dimensions are turned into that span first; and
    neither centring nor a common scale (with C scaled back) changes it, but both keep the arithmetic exact.

    Args:
        rows: (n, D) float64, finite.
        positive: (n,) bool, both classes.
        C: weight of the losses against half the squared norm.
    """
    centre = rows.mean(axis=0)
    centred = rows - centre
    basis: Float64Array | None = None
    if len(rows) < rows.shape[1]:
        left, lengths, basis = np.linalg.svd(centred, full_matrices=False)
        centred = left * lengths
    scale = float(np.sqrt((centred**2).sum(axis=1).mean())) or 1.0
    columns = np.column_stack([centred / scale, np.ones(len(rows))])
    weights, steps = _newton(columns, np.where(positive, 1.0, -1.0), C * scale**2)
    coefficients = weights[:-1] / scale if basis is None else (weights[:-1] / scale) @ basis
    return LogisticOptimum(coefficients, float(weights[-1] - coefficients @ centre), steps)


def _newton(columns: Float64Array, signs: Float64Array, C: float) -> tuple[Float64Array, int]:
    """Return the weights (k + 1,), the intercept last, and the number of steps; columns (n, k + 1)."""
    weights = np.zeros(columns.shape[1])
    penalty = np.append(np.ones(columns.shape[1] - 1), 0.0)
    for step in range(STEPS):
        margins = signs * (columns @ weights)
        wrong = np.exp(-np.logaddexp(0.0, margins))  # the probability of the other class
        pull = C * signs * wrong
        gradient = penalty * weights - columns.T @ pull
        if np.abs(gradient).max() <= TOLERANCE * np.abs(pull).max():
            return weights, step
        curvature = C * wrong * -np.expm1(-np.logaddexp(0.0, margins))
        hessian = (columns.T * curvature) @ columns + np.diag(penalty)
        newton: Float64Array = np.linalg.solve(hessian, gradient).astype(np.float64, copy=False)
        moved = _halved(columns, signs, C, weights, newton)
        if np.array_equal(moved, weights):
            return weights, step
        weights = moved
    return weights, STEPS


def _halved(
    columns: Float64Array, signs: Float64Array, C: float, weights: Float64Array, step: Float64Array
) -> Float64Array:
    """Return the weights after the longest of the steps 1, 1/2, 1/4 ... that does not raise the objective."""
    before = _objective(columns, signs, C, weights)
    for _ in range(_HALVINGS):
        moved = weights - step
        if _objective(columns, signs, C, moved) <= before * (1 + 1e-14):
            return moved
        step = step / 2
    return weights


def _objective(columns: Float64Array, signs: Float64Array, C: float, weights: Float64Array) -> float:
    losses = np.logaddexp(0.0, -signs * (columns @ weights))
    return float(0.5 * weights[:-1] @ weights[:-1] + C * losses.sum())
