"""Thousands of small heads fitted and scored at once, on the CPU or a GPU through torch; see ``prepared_pool.py``."""

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import Tensor

from fewshot.core.arrays import Float64Array, FloatArray
from fewshot.solvers.dual import Solution, solve_logistic, solve_svm
from fewshot.solvers.prepared_pool import PreparedPool, RbfScores, Supports
from fewshot.stats import metrics

Solve = Callable[[Tensor, Tensor], Solution]  # (t, s, s) products, (t, s) signs


def svm_scores(supports: Supports, *, C: float = 1.0, gamma: float | str = "scale", tol: float = 1e-10) -> FloatArray:
    """Return the decision values of an RBF SVM per trial on the whole pool.

    The optimum is libsvm's: Chang and Lin, LIBSVM, ACM TIST 2011; ``gamma="scale"`` is scikit-learn's
    1 / (D * variance of all support entries).

    Returns:
        (T, N) float32, or float64 where the pool is small; larger = more likely synthetic.
    """
    pool = PreparedPool.of(supports)
    gammas = pool.gammas(gamma)
    weights, biases = [], []
    for part in pool.trial_blocks():
        kernel = torch.exp(-gammas[part, None, None] * pool.support_distances(part))
        solution = solve_svm(kernel, supports.signs[part], C=C, tol=tol)
        weights.append(solution.weights)
        biases.append(solution.bias)
    return pool.scores(RbfScores(pool, gammas, torch.cat(weights), torch.cat(biases)))


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
    pool = PreparedPool.of(supports)
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
    pool = PreparedPool.of(supports, unit=True)
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
    pool = PreparedPool.of(supports, unit=True)
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


def _torch_auroc(natural: Tensor, synthetic: Tensor) -> Float64Array:
    natural, synthetic = (part.contiguous().sort(dim=1).values for part in (natural, synthetic))
    below = torch.searchsorted(natural, synthetic).sum(1, dtype=torch.float64)
    upto = torch.searchsorted(natural, synthetic, right=True).sum(1, dtype=torch.float64)
    found: Float64Array = ((below + upto) / (2.0 * natural.shape[1] * synthetic.shape[1])).cpu().numpy()
    return found
