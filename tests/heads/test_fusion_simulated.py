"""Fusion where the answer is known: noise beside a good backbone, independent weak ones, labels that mean nothing."""

from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fewshot.heads.base import Head
from fewshot.heads.fused import Fused
from fewshot.heads.stacked import Stacked
from fewshot.heads.svm import Svm
from fewshot.solvers.blocks import block_columns
from fewshot.stats.metrics import auroc_without

KINDS: list[type[Any]] = [Fused, Stacked]


@dataclass(frozen=True)
class World:
    """Features of several simulated backbones side by side, and the supports of every trial."""

    features: NDArray[np.float64]
    synthetic: NDArray[np.bool_]
    widths: tuple[int, ...]
    supports: NDArray[np.int64]

    def auroc(self, head: Head, *, block: int | None = None) -> float:
        """Mean AUROC on all images but the support; of one block only where it is named."""
        columns = slice(None) if block is None else block_columns(self.widths, self.features.shape[1])[block]
        scores = head.score_draws(np.ascontiguousarray(self.features[:, columns]), self.synthetic, self.supports)
        return float(auroc_without(scores, self.synthetic, self.supports).mean())


def world(
    blocks: list[tuple[int, float]],
    *,
    seed: int,
    shots: int = 10,
    trials: int = 15,
    images: int = 400,
    unit: bool = True,
) -> World:
    """Blocks of (dimension, distance of the class means in standard deviations), independent of each other."""
    generator = np.random.default_rng(seed)
    synthetic = np.arange(images) % 2 == 1
    found = []
    for dimension, distance in blocks:
        direction = generator.normal(size=dimension)
        direction *= distance / np.linalg.norm(direction)
        block = generator.normal(size=(images, dimension)) + np.outer(synthetic - 0.5, direction)
        found.append(block / np.linalg.norm(block, axis=1, keepdims=True))
    sides = [np.flatnonzero(synthetic == side) for side in (False, True)]
    supports = [np.concatenate([generator.permutation(rows)[:shots] for rows in sides]) for _ in range(trials)]
    return World(np.hstack(found), synthetic, tuple(dimension for dimension, _ in blocks), np.stack(supports))


def closed_form(aurocs: list[float]) -> float:
    """AUROC of the best combination of independent normal scores: Phi(sqrt(sum d^2 / 2)), d = sqrt(2) Phi^-1(AUROC)."""
    normal = NormalDist()
    return normal.cdf(sqrt(sum(normal.inv_cdf(auroc) ** 2 for auroc in aurocs)))


@pytest.mark.parametrize("kind", KINDS)
def test_five_backbones_of_noise_beside_a_good_one_cost_at_most_a_hundredth_of_auroc(kind: type[Any]) -> None:
    noise = [(64, 0.0), (256, 0.0), (8, 0.0), (128, 0.0), (16, 0.0)]
    worlds = [world([(64, 4.0), *noise], seed=seed) for seed in range(6)]
    alone = np.mean([one.auroc(Svm(), block=0) for one in worlds])
    together = np.mean([one.auroc(kind(one.widths)) for one in worlds])
    uniform = np.mean([one.auroc(kind(one.widths, weigh="uniform")) for one in worlds])
    assert alone > 0.97
    assert together > alone - 0.01
    assert uniform < together - 0.02  # what the weights are for


@pytest.mark.parametrize(("shots", "lost"), [(10, 0.07), pytest.param(40, 0.04, marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", KINDS)
def test_independent_weak_backbones_approach_their_best_combination_in_closed_form(
    kind: type[Any], shots: int, lost: float
) -> None:
    worlds = [world([(16, 1.2)] * 6, seed=seed, shots=shots, trials=3, images=500) for seed in range(4)]
    alone = [float(np.mean([one.auroc(Svm(), block=block) for one in worlds])) for block in range(6)]
    together = float(np.mean([one.auroc(kind(one.widths)) for one in worlds]))
    assert max(alone) < 0.8
    assert closed_form(alone) - lost < together < closed_form(alone) + 0.01


@pytest.mark.parametrize("kind", KINDS)
def test_labels_that_mean_nothing_give_one_half(kind: type[Any]) -> None:
    found = []
    for seed in range(10):
        given = world([(16, 3.0), (8, 2.0), (32, 0.0)], seed=seed, trials=6, images=240)
        shuffled = np.random.default_rng([seed, 1]).permutation(given.synthetic)
        sides = [np.flatnonzero(shuffled == side) for side in (False, True)]
        generator = np.random.default_rng([seed, 2])
        rows = [np.concatenate([generator.permutation(side)[:10] for side in sides]) for _ in range(6)]
        found.append(World(given.features, shuffled, given.widths, np.stack(rows)).auroc(kind(given.widths)))
    error = np.std(found, ddof=1) / sqrt(len(found))
    assert error < 0.03
    assert abs(np.mean(found) - 0.5) < 3.25 * error  # Student, 9 degrees of freedom, 99 %


@pytest.mark.parametrize("weigh", ["alignment", "auroc"])
@pytest.mark.parametrize("kind", KINDS)
def test_weights_are_the_same_whatever_the_query_shows(kind: type[Any], weigh: str) -> None:
    given = world([(16, 3.0), (8, 1.0), (32, 0.0), (4, 0.5)], seed=0, trials=3, images=120)
    head = kind(given.widths, weigh=weigh)
    weights = head.draw_weights(given.features, given.synthetic, given.supports)

    query = np.setdiff1d(np.arange(120), given.supports)
    features, synthetic = given.features.copy(), given.synthetic.copy()
    features[query] = 1e3 * np.random.default_rng(1).normal(size=(len(query), features.shape[1]))
    synthetic[query] = ~synthetic[query]

    assert np.array_equal(weights, head.draw_weights(features, synthetic, given.supports))
    labels = given.synthetic.astype(int)
    each = [head.unfitted().fit(given.features[rows], labels[rows]).weights_ for rows in given.supports]
    np.testing.assert_allclose(weights, each, rtol=0, atol=1e-7)
