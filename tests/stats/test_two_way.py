"""The two-way bootstrap: weighted AUROCs against repeated images, and intervals that know of other images."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from fewshot.stats import student
from fewshot.stats.intervals import mean_interval
from fewshot.stats.two_way import TrialMasks, two_way_bootstrap, two_way_difference


def _pool(trials: int, noise: float, *, seed: int) -> tuple[np.ndarray, TrialMasks]:
    """Scores that all trials share, but for some noise."""
    generator = np.random.default_rng(seed)
    synthetic = np.arange(60) % 2 == 1
    image = generator.normal(size=60) + synthetic
    scores = image + noise * generator.normal(size=(trials, 60))
    return scores, TrialMasks(np.ones_like(scores, bool), synthetic, np.zeros_like(scores, bool))


def test_interval_over_images_is_wider_than_that_of_trials_alone() -> None:
    scores, masks = _pool(20, 0.05, seed=2)
    interval = two_way_bootstrap(scores, masks, seed=0, resamples=400)
    values = [roc_auc_score(masks.synthetic, row) for row in scores]
    trials = mean_interval(values)
    assert interval.low < np.mean(values) < interval.high
    assert interval.high - interval.low > 5 * (trials.high - trials.low)


def test_perfect_separation_of_few_images_is_not_certain() -> None:
    lows = []
    for images in (8, 40):
        query = np.ones((30, images), bool)
        masks = TrialMasks(query, np.arange(images) >= images // 2, np.zeros_like(query))
        found = two_way_bootstrap(np.tile(np.arange(float(images)), (30, 1)), masks, seed=0)
        assert found.high == pytest.approx(1.0)
        lows.append(found.low)
    four, twenty = (1 / (1 + student.quantile(0.975, n - 1) ** 2 / (2.5 * n)) for n in (4, 20))  # Wilson's
    assert lows == pytest.approx([four, twenty])


def test_a_head_near_one_has_an_interval_that_says_something() -> None:
    generator = np.random.default_rng(6)
    synthetic = np.arange(20) >= 10
    scores = np.broadcast_to(generator.normal(size=20) + 2.5 * synthetic, (100, 20))
    query = generator.random((100, 20)) < 0.9
    found = two_way_bootstrap(scores, TrialMasks(query, synthetic, np.zeros_like(query)), seed=0)
    assert 0.5 < found.low < 0.9 < found.high <= 1


def test_difference_of_a_head_with_itself_is_none() -> None:
    scores, masks = _pool(5, 0.5, seed=3)
    found = two_way_difference(scores, scores, masks, seed=0, resamples=50)
    assert (found.difference, found.low, found.high, found.p) == (0.0, 0.0, 0.0, 1.0)


def test_images_that_both_heads_see_alike_do_not_widen_the_difference() -> None:
    scores, masks = _pool(20, 0.05, seed=4)
    blurred = scores + 0.2 * np.random.default_rng(5).normal(size=scores.shape)
    found = two_way_difference(scores, blurred, masks, seed=0, resamples=300)
    alone = two_way_bootstrap(scores, masks, seed=0, resamples=300)
    assert found.low < found.difference < found.high
    assert found.high - found.low < 0.5 * (alone.high - alone.low)


def test_difference_is_found_at_its_level() -> None:
    rejected = 0
    for seed in range(120):
        generator = np.random.default_rng([9, seed])
        synthetic = np.arange(80) % 2 == 1
        common = generator.normal(size=80) + synthetic
        first, second = (common + 0.7 * generator.normal(size=80) + 0.1 * generator.normal(size=(10, 80)) for _ in "ab")
        masks = TrialMasks(np.ones((10, 80), bool), synthetic, np.zeros((10, 80), bool))
        rejected += two_way_difference(first, second, masks, seed=seed, resamples=100).p < 0.05
    assert rejected / 120 < 0.12


def test_variance_of_supports_drawn_from_the_queried_pool_is_seen() -> None:
    """Pools differ in where their classes' means lie: heads fitted on them and masks on them gain from it alike."""
    covered, widths = 0, []
    means = [_mean_of_pool(np.random.default_rng([1, seed]), trials=5)[0] for seed in range(1500)]
    truth = float(np.mean(means))
    for seed in range(100):
        _, scores, masks = _mean_of_pool(np.random.default_rng([2, seed]), trials=100)
        blind = replace(masks, support=np.zeros_like(masks.support))
        found, unaware = (two_way_bootstrap(scores, told, seed=seed, resamples=80) for told in (masks, blind))
        covered += found.low <= truth <= found.high
        widths.append([found.high - found.low, unaware.high - unaware.low])
    aware, unaware_of_it = np.mean(widths, axis=0)
    assert covered >= 90
    assert aware > 1.1 * unaware_of_it, (aware, unaware_of_it)


def _mean_of_pool(generator: np.random.Generator, *, trials: int) -> tuple[float, np.ndarray, TrialMasks]:
    """Draw a pool of 2 x 40 images and fit class means on 2 x 5 of them, many times; query all others."""
    synthetic = np.arange(80) >= 40
    images = generator.normal(size=(80, 8))
    images[synthetic, 0] += 1.5
    support = np.zeros((trials, 80), bool)
    for row in support:
        row[generator.permutation(40)[:5]] = row[40 + generator.permutation(40)[:5]] = True
    directions = [images[row & synthetic].mean(0) - images[row & ~synthetic].mean(0) for row in support]
    scores = np.stack(directions) @ images.T
    values = [
        np.mean(one[~row & synthetic][:, None] > one[~row & ~synthetic])
        for row, one in zip(support, scores, strict=True)
    ]
    return float(np.mean(values)), scores, TrialMasks(~support, synthetic, support)
