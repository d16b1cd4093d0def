"""Intervals and tests against other writings of the same formula, and against simulation."""

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from fewshot.statistics import delong_interval, holm, paired, placements, two_way_bootstrap

from fewshot.statistics import _last_of_ties, _weighted_auroc  # isort: skip


def test_placements_of_four_scores() -> None:
    found = placements(np.array([0.1, 0.4]), np.array([0.4, 0.8]))
    assert found.synthetic.tolist() == [0.75, 1.0]
    assert found.natural.tolist() == [1.0, 0.75]


def test_delong_variance_is_that_of_the_structural_components() -> None:
    generator = np.random.default_rng(0)
    natural, synthetic = generator.normal(size=40), generator.normal(size=30) + 1
    interval = delong_interval(natural, synthetic)
    above = (synthetic[:, None] > natural[None, :]).astype(float)
    auroc = above.mean()
    variance = np.var(above.mean(1), ddof=1) / 30 + np.var(above.mean(0), ddof=1) / 40
    half = 1.959964 * np.sqrt(variance) / (auroc * (1 - auroc))
    expected = stats.logistic.cdf(stats.logistic.ppf(auroc) + np.array([-half, half]))
    assert (interval.low, interval.high) == pytest.approx(tuple(expected), rel=1e-6)


def test_delong_says_nothing_of_a_perfect_separation() -> None:
    assert np.isnan(delong_interval(np.array([0.0, 1.0]), np.array([2.0, 3.0])).low)


@pytest.mark.parametrize("decimals", [1, 6])
def test_weighted_auroc_equals_that_of_repeated_images(decimals: int) -> None:
    generator = np.random.default_rng(1)
    scores = np.round(generator.normal(size=(3, 25)), decimals)
    synthetic = generator.random(25) < 0.5
    weights = generator.integers(0, 4, 25)
    order = np.argsort(scores, axis=1, kind="stable")
    ranked = np.take_along_axis(scores, order, axis=1)
    found = _weighted_auroc(weights[order], synthetic[order], _last_of_ties(ranked))
    expected = [roc_auc_score(np.repeat(synthetic, weights), np.repeat(row, weights)) for row in scores]
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_two_way_interval_is_wider_than_that_of_trials_alone() -> None:
    generator = np.random.default_rng(2)
    synthetic = np.arange(60) % 2 == 1
    image = generator.normal(size=60) + synthetic  # what all trials share
    scores = image + 0.05 * generator.normal(size=(20, 60))
    interval = two_way_bootstrap(scores, np.ones_like(scores, bool), synthetic, seed=0, resamples=400)
    values = [roc_auc_score(synthetic, row) for row in scores]
    assert interval.low < np.mean(values) < interval.high
    assert interval.high - interval.low > 5 * 2 * np.std(values, ddof=1) / np.sqrt(20)


def test_paired_difference_is_the_corrected_t_test() -> None:
    generator = np.random.default_rng(3)
    mine = generator.normal(0.75, 0.05, 30)
    theirs = mine - generator.normal(0.02, 0.03, 30)
    found = paired(mine, theirs, n_support=20, n_query=980)
    gaps = mine - theirs
    error = np.sqrt(gaps.var(ddof=1) * (1 / 30 + 20 / 980))
    assert found.difference == pytest.approx(gaps.mean())
    assert found.p == pytest.approx(2 * stats.t.sf(abs(gaps.mean()) / error, 29))
    turned = np.sqrt(gaps.var(ddof=1) * (1 / 30 + 980 / 20))
    assert found.p_query_overlap == pytest.approx(2 * stats.t.sf(abs(gaps.mean()) / turned, 29))


def test_corrected_test_keeps_its_level_when_draws_share_images() -> None:
    generator = np.random.default_rng(4)
    rejected = naive = 0
    for _ in range(600):
        effects = generator.normal(size=200)  # a new pool, whose images have no effect on average
        values = [effects[generator.permutation(200)[:20]].mean() for _ in range(50)]
        rejected += paired(values, np.zeros(50), n_support=20, n_query=180).p < 0.05
        naive += stats.ttest_1samp(values, 0).pvalue < 0.05
    assert 0.03 < rejected / 600 < 0.075
    assert naive / 600 > 0.25


def test_one_trial_and_equal_values_have_no_test() -> None:
    assert np.isnan(paired([0.5], [0.4], n_support=2, n_query=9).p)
    assert paired([0.5, 0.5], [0.5, 0.5], n_support=2, n_query=9).p == 1.0


def test_holm_of_the_worked_example() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
