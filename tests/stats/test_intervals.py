"""Intervals and tests against other writings of the same formula, and against simulation."""

import numpy as np
import pytest
from scipy import stats

from fewshot.stats.intervals import delong_interval, holm, mean_interval, paired, placements


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


def test_paired_difference_is_the_corrected_t_test() -> None:
    generator = np.random.default_rng(3)
    mine = generator.normal(0.75, 0.05, 30)
    theirs = mine - generator.normal(0.02, 0.03, 30)
    found = paired(mine, theirs, n_support=20, n_query=980)
    gaps = mine - theirs
    error = np.sqrt(gaps.var(ddof=1) * (1 / 30 + 20 / 980))
    assert found.difference == pytest.approx(gaps.mean())
    assert found.p == pytest.approx(2 * stats.t.sf(abs(gaps.mean()) / error, 29))
    interval = mean_interval(gaps)
    assert (found.low, found.high) == (interval.low, interval.high)
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
