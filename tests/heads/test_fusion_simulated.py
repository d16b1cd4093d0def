"""Fusion where the answer is known: noise beside a good backbone, independent weak ones, labels that mean nothing."""

from dataclasses import dataclass
from math import erf, sqrt
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fewshot.heads.base import Head
from fewshot.heads.fused import Fused
from fewshot.heads.stacked import Stacked
from fewshot.heads.svm import Svm
from fewshot.stats.metrics import auroc_without

KINDS: list[type[Any]] = [Fused, Stacked]


@dataclass(frozen=True)
class World:
    """Features of several simulated backbones side by side, and the supports of every trial."""

    features: NDArray[np.float64]
    synthetic: NDArray[np.bool_]
    widths: tuple[int, ...]
    supports: NDArray[np.int64]

    def auroc(self, head: Head, *, blocks: int | None = None) -> float:
        """Mean AUROC on all images but the support; of the first so many blocks only."""
        stop = sum(self.widths if blocks is None else self.widths[:blocks])
        scores = head.score_draws(np.ascontiguousarray(self.features[:, :stop]), self.synthetic, self.supports)
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
        found.append(block / np.linalg.norm(block, axis=1, keepdims=True) if unit else block)
    sides = [np.flatnonzero(synthetic == side) for side in (False, True)]
    supports = [np.concatenate([generator.permutation(rows)[:shots] for rows in sides]) for _ in range(trials)]
    return World(np.hstack(found), synthetic, tuple(dimension for dimension, _ in blocks), np.stack(supports))


def closed_form(*distances: float) -> float:
    """AUROC of the best combination of independent normal scores: Phi(sqrt(sum d^2) / sqrt(2))."""
    return 0.5 * (1 + erf(sqrt(sum(distance**2 for distance in distances)) / 2))


@pytest.mark.parametrize("kind", KINDS)
def test_five_backbones_of_noise_beside_a_good_one_cost_at_most_a_hundredth_of_auroc(kind: type[Any]) -> None:
    noise = [(64, 0.0), (256, 0.0), (8, 0.0), (128, 0.0), (16, 0.0)]
    worlds = [world([(64, 4.0), *noise], seed=seed) for seed in range(6)]
    alone = np.mean([one.auroc(Svm(), blocks=1) for one in worlds])
    together = np.mean([one.auroc(kind(one.widths)) for one in worlds])
    uniform = np.mean([one.auroc(kind(one.widths, weigh="uniform")) for one in worlds])
    assert alone > 0.97
    assert together > alone - 0.01
    assert uniform < together - 0.02  # what the weights are for


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [2, 6])
def test_independent_weak_backbones_come_near_the_best_combination_in_closed_form(kind: type[Any], count: int) -> None:
    best, one = closed_form(*[1.0] * count), closed_form(1.0)
    worlds = [world([(3, 1.0)] * count, seed=seed, shots=40, trials=6, images=1200, unit=False) for seed in range(5)]
    found = float(np.mean([each.auroc(kind(each.widths)) for each in worlds]))
    assert found > best - 0.03
    assert found < best + 0.01
    assert found > one + 0.5 * (best - one)


@pytest.mark.parametrize("kind", KINDS)
def test_labels_that_mean_nothing_give_one_half(kind: type[Any]) -> None:
    found = []
    for seed in range(12):
        given = world([(16, 3.0), (8, 2.0), (32, 0.0)], seed=seed, trials=12, images=240)
        shuffled = np.random.default_rng([seed, 1]).permutation(given.synthetic)
        sides = [np.flatnonzero(shuffled == side) for side in (False, True)]
        generator = np.random.default_rng([seed, 2])
        rows = [np.concatenate([generator.permutation(side)[:10] for side in sides]) for _ in range(12)]
        found.append(World(given.features, shuffled, given.widths, np.stack(rows)).auroc(kind(given.widths)))
    error = np.std(found, ddof=1) / sqrt(len(found))
    assert error < 0.02
    assert abs(np.mean(found) - 0.5) < 3.1 * error  # Student, 11 degrees of freedom, 99 %


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
