"""RBF kernels of blocks of columns, one support at a time: widths, kernels, left-out scores, scores of rows."""

from collections.abc import Sequence

import numpy as np

from fewshot.core.arrays import BoolArray, Float64Array, FloatArray, spans
from fewshot.core.errors import unknown_name
from fewshot.solvers.blocks import stratified_folds

_BLOCK_ROWS = 4096
_CONVERGED = 1e-10


def kernel_width(rows: Float64Array, gamma: float | str) -> float:
    """Return scikit-learn's gamma of a block of the support (n, D).

    Raises:
        UnknownNameError: a text other than ``scale`` and ``auto``.
    """
    require_gamma(gamma)
    if not isinstance(gamma, str):
        return float(gamma)
    variance = float(rows.var()) if gamma == "scale" else 1.0
    return 1.0 / (rows.shape[1] * variance) if variance else 1.0


def require_gamma(gamma: float | str) -> None:
    """Raise for a text other than ``scale`` and ``auto``.

    Raises:
        UnknownNameError: there is no such width.
    """
    if isinstance(gamma, str) and gamma not in ("scale", "auto"):
        raise unknown_name("gamma", gamma, ("scale", "auto"))


def rbf(rows: Float64Array, vectors: Float64Array, gamma: float) -> Float64Array:
    """Return exp(-gamma d^2) of rows (M, D) and vectors (s, D): (M, s) float64."""
    centre = vectors.mean(axis=0)  # changes no distance, and keeps the products' rounding small
    rows, vectors = rows - centre, vectors - centre
    distances = (rows**2).sum(axis=1)[:, None] + (vectors**2).sum(axis=1) - 2.0 * (rows @ vectors.T)
    return np.asarray(np.exp(-gamma * np.maximum(distances, 0.0)))


def add_scores(
    scores: Float64Array, rows: FloatArray, vectors: Float64Array, *, gamma: float, weights: Float64Array
) -> None:
    """Add ``sum_i weights_i K(vectors_i, row)`` to scores (M,): rows (M, D), vectors (s, D), weights (s,)."""
    for start, stop in spans(len(rows), _BLOCK_ROWS):
        block = np.asarray(rows[start:stop], dtype=np.float64)
        scores[start:stop] += rbf(block, vectors, gamma) @ weights


def left_out_scores(kernels: Sequence[Float64Array], positive: BoolArray, *, C: float) -> Float64Array:
    """Return the score of every support image by the machine on the other folds; 0 where there are no folds.

    Args:
        kernels: (B,) of (n, n) float64.
        positive: (n,) bool.

    Returns:
        (B, n) float64.
    """
    from sklearn.svm import SVC

    scores = np.zeros((len(kernels), len(positive)))
    for held_out in stratified_folds(positive):
        kept = np.setdiff1d(np.arange(len(positive)), held_out)
        for number, kernel in enumerate(kernels):
            machine = SVC(C=C, kernel="precomputed", tol=_CONVERGED).fit(kernel[np.ix_(kept, kept)], positive[kept])
            scores[number, held_out] = machine.decision_function(kernel[np.ix_(held_out, kept)])
    return scores
