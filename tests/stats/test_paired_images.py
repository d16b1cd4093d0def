"""Differences on the same images, against worked examples, other formulas, and simulated coverage."""

import numpy as np
import pytest

from fewshot.stats.paired_images import auroc_difference, exact_interval, share_difference


def table(both: int, first: int, second: int, neither: int) -> tuple[np.ndarray, np.ndarray]:
    """Return two classifiers' marks with these four counts."""
    counts = (both, first, second, neither)
    return np.repeat([True, True, False, False], counts), np.repeat([True, False, True, False], counts)


# Method 10 of Newcombe 1998 on four tables with the same two discordant counts, to three decimals.
@pytest.mark.parametrize(
    ("counts", "low", "high"),
    [
        ((36, 12, 2, 0), 0.0569, 0.3404),
        ((20, 12, 2, 16), 0.0562, 0.3292),
        ((18, 12, 2, 18), 0.0562, 0.3290),
        ((16, 12, 2, 20), 0.0562, 0.3292),
    ],
)
def test_the_interval_of_paired_shares_has_these_values(
    counts: tuple[int, int, int, int], low: float, high: float
) -> None:
    found = share_difference(*table(*counts))
    assert (round(found.low, 3), round(found.high, 3)) == (round(low, 3), round(high, 3))


def test_mcnemars_p_value_is_that_of_a_binomial_test() -> None:
    from scipy.stats import binomtest

    for first, second in ((0, 0), (3, 0), (5, 2), (9, 9), (1, 12)):
        expected = binomtest(first, first + second, 0.5).pvalue if first + second else 1.0
        assert share_difference(*table(7, first, second, 11)).p == pytest.approx(expected)


def test_the_exact_interval_is_scipys() -> None:
    from scipy.stats import binomtest

    for count, images in ((0, 20), (3, 20), (20, 20), (17, 400)):
        expected = binomtest(count, images).proportion_ci(0.95, "exact")
        found = exact_interval(count, images)
        assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


def test_the_difference_of_aurocs_is_told_with_the_covariance_of_both() -> None:
    generator = np.random.default_rng(0)
    natural, synthetic = generator.normal(size=60), generator.normal(1.0, size=50)
    noisy = natural + generator.normal(size=60), synthetic + generator.normal(size=50)
    found = auroc_difference((natural, synthetic), noisy)

    def beats(of: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
        return (of[1][:, None] > of[0][None, :]).astype(float)

    first, second = beats((natural, synthetic)), beats(noisy)
    assert found.value == pytest.approx(first.mean() - second.mean())
    covariance = sum(  # the 2 x 2 matrices of DeLong, equations 5 and 6, contracted with (1, -1)
        np.array([1, -1]) @ np.cov(np.stack([first.mean(axis), second.mean(axis)])) @ np.array([1, -1]) / count
        for axis, count in ((0, 60), (1, 50))
    )
    assert found.high - found.low == pytest.approx(2 * 1.959964 * np.sqrt(covariance), rel=1e-6)


def test_equal_scores_have_no_difference() -> None:
    scores = np.arange(5.0), np.arange(5.0) + 2
    found = auroc_difference(scores, scores)
    assert (found.value, found.low, found.high, found.p) == (0.0, 0.0, 0.0, 1.0)


def test_nothing_is_told_of_an_auroc_from_one_image_of_a_class() -> None:
    found = auroc_difference((np.zeros(1), np.ones(3)), (np.ones(1), np.zeros(3)))
    assert np.isnan([found.low, found.high, found.p]).all()


def test_the_paired_interval_covers_the_difference_as_often_as_it_says() -> None:
    generator = np.random.default_rng(1)
    covered = 0
    for _ in range(2000):
        one = generator.random(40) < 0.2
        other = np.where(generator.random(40) < 0.3, generator.random(40) < 0.35, one)
        found = share_difference(one, other)
        covered += found.low <= 0.3 * (0.2 - 0.35) <= found.high
    assert 0.93 < covered / 2000 <= 1.0
