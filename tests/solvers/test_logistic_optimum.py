"""Logistic regression has one optimum, and every way of fitting it arrives there: all draws at once, or one by one."""

from typing import Any

import numpy as np
import pytest
from scipy.special import expit

from fewshot.heads.base import HEADS
from fewshot.heads.linear_svm import LinearSvm
from fewshot.heads.logistic import Logistic
from fewshot.heads.svm import Svm
from fewshot.protocols.trials.head_solver import HeadSolver
from fewshot.solvers.logistic_optimum import fit_to_optimum
from fewshot.stats.metrics import auroc

HARD: dict[str, dict[str, Any]] = {
    "few dimensions": {"dimension": 24},
    "many more dimensions than images": {"dimension": 2048},
    "far from the origin": {"dimension": 64, "offset": 100.0},
    "small scale": {"dimension": 64, "scale": 1e-3},
    "large scale": {"dimension": 512, "scale": 1e4},
    "separable": {"dimension": 512, "gap": 20.0},
    "one column ten thousand times the others": {"dimension": 24, "first": 1e4},
}
PENALTIES = (1e-6, 1e-2, 1.0, 1e3, 1e6)


def problem(
    *, dimension: int, offset: float = 0.0, scale: float = 1.0, gap: float = 1.0, first: float = 1.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features (120, D) float32, classes (120,), supports (3, 20)."""
    generator = np.random.default_rng(0)
    synthetic = np.arange(120) % 2 == 1
    features = generator.normal(size=(120, dimension))
    features[:, 0] = first * (features[:, 0] + gap * synthetic)
    sides = [np.flatnonzero(synthetic == side) for side in (False, True)]
    supports = np.stack([np.concatenate([generator.permutation(side)[:10] for side in sides]) for _ in range(3)])
    return (scale * features + offset).astype(np.float32), synthetic, supports


@pytest.mark.parametrize("C", PENALTIES)
@pytest.mark.parametrize("name", HARD)
def test_gradient_of_the_objective_vanishes_at_the_optimum(name: str, C: float) -> None:
    features, synthetic, supports = problem(**HARD[name])
    rows, positive = features[supports[0]].astype(np.float64), synthetic[supports[0]]
    found = fit_to_optimum(rows, positive, C=C)
    signs = np.where(positive, 1.0, -1.0)
    pull = C * signs * expit(-signs * (rows @ found.coefficients + found.intercept))
    centred = rows - rows.mean(axis=0)  # the intercept takes the centre: sum(pull) = 0
    scale = np.abs(pull).max() * np.abs(centred).max() * len(rows)
    assert np.abs(found.coefficients - centred.T @ pull).max() <= 1e-9 * scale
    assert abs(pull.sum()) <= 1e-8 * np.abs(pull).max()


@pytest.mark.parametrize("C", PENALTIES)
@pytest.mark.parametrize("name", HARD)
def test_logistic_scores_of_both_solvers_are_equal(name: str, C: float) -> None:
    features, synthetic, supports = problem(**HARD[name])
    batched, single = (
        HeadSolver(solver).score_supports(Logistic(C=C), features, synthetic, supports)
        for solver in ("batched", "sklearn")
    )
    np.testing.assert_allclose(single, batched, rtol=0, atol=1e-5 * float(np.ptp(single)))
    np.testing.assert_allclose(auroc(single, synthetic), auroc(batched, synthetic), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "name", ["svm", "linear-svm", "logistic", "prototype", "euclid", "ridge", "lda", "tip-adapter", "knn"]
)
def test_heads_rank_alike_under_both_solvers(name: str) -> None:
    features, synthetic, supports = problem(dimension=256)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    batched, single = (
        auroc(HeadSolver(solver).score_supports(HEADS.load(name)(), features, synthetic, supports), synthetic)
        for solver in ("batched", "sklearn")
    )
    np.testing.assert_allclose(single, batched, rtol=0, atol=1e-9)


def test_the_published_tolerance_is_scikit_learn_s() -> None:
    features, synthetic, supports = problem(dimension=256)
    published = HeadSolver("sklearn", tolerance="published").score_supports(Logistic(), features, synthetic, supports)
    np.testing.assert_array_equal(published, Logistic().score_draws_one_by_one(features, synthetic, supports))


def test_converged_heads_keep_their_parameters() -> None:
    assert Logistic(C=3.0).converged().get_params()["C"] == 3.0
    assert Svm(C=3.0, gamma=0.5).converged().get_params() == {"C": 3.0, "gamma": 0.5, "tol": 1e-10}
    assert LinearSvm(C=3.0).converged().get_params() == {"C": 3.0, "tol": 1e-10}
