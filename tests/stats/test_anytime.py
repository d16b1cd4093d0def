"""Bounds at every look: against direct formulas, and their promise by simulation of streams that are often looked at."""

import numpy as np
import pytest

from fewshot.stats.anytime import blocks_above, dkw_bound, full_blocks, ks_distances, rate_at_most, rate_interval


def noise(share: float, runs: int) -> float:
    return 3 * float(np.sqrt(share * (1 - share) / runs))


def test_the_shares_of_all_blocks_of_a_long_stream_sum_to_less_than_one() -> None:
    blocks = full_blocks(1 << 17)
    assert 0.85 < blocks.share.sum() < 1
    assert (np.diff(blocks.stop) >= 0).all()


@pytest.mark.parametrize("images", [0, 15, 16, 100, 1000])
def test_a_longer_stream_begins_with_the_blocks_of_a_shorter_one(images: int) -> None:
    short, long = full_blocks(images), full_blocks(3000)
    within = long.stop <= images
    assert short.start.tolist() == long.start[within].tolist()
    assert short.stop.tolist() == long.stop[within].tolist()
    assert short.share.tolist() == long.share[within].tolist()


@pytest.mark.parametrize("rate", [0.01, 0.05, 0.3])
def test_a_rate_that_is_as_expected_is_named_in_few_streams_however_long(rate: float) -> None:
    rng, runs, blocks = np.random.default_rng(0), 600, full_blocks(2000)
    named = sum(blocks_above(rng.random(2000) < rate, rate, blocks, level=0.2).any() for _ in range(runs))
    assert named / runs <= 0.2 + noise(0.2, runs)


def test_a_rate_that_rises_late_is_named_soon() -> None:
    rng, blocks = np.random.default_rng(0), full_blocks(10_000)
    rates = np.where(np.arange(10_000) < 8000, 0.01, 0.2)
    above = blocks_above(rng.random(10_000) < rates, 0.05, blocks, level=0.01)
    assert above.any()
    assert 8000 < blocks.stop[above].min() <= 8300


@pytest.mark.parametrize("rate", [0.02, 0.5])
def test_the_interval_of_a_rate_holds_at_all_looks_at_once(rate: float) -> None:
    rng, runs = np.random.default_rng(1), 200
    looks = np.unique(np.geomspace(1, 2000, 25).astype(int))
    missed = 0
    for _ in range(runs):
        total = np.cumsum(rng.random(2000) < rate)
        found = [rate_interval(int(total[look - 1]), int(look), level=0.1) for look in looks]
        missed += any(not each.low <= rate <= each.high for each in found)
    assert missed / runs <= 0.1 + noise(0.1, runs)


@pytest.mark.parametrize(
    ("successes", "trials"), [(0, 0), (0, 1), (1, 1), (0, 10**6), (10**6, 10**6), (1, 10**6), (3, 7)]
)
def test_the_interval_of_a_rate_holds_the_rate_that_was_found(successes: int, trials: int) -> None:
    found = rate_interval(successes, trials, level=0.05)
    assert 0 <= found.low <= (successes / trials if trials else 0.5) <= found.high <= 1


@pytest.mark.parametrize(("successes", "trials"), [(0, 59), (3, 80), (40, 80)])
def test_the_upper_bound_of_a_sample_solves_the_binomial_equation(successes: int, trials: int) -> None:
    from scipy.stats import binom

    bound = rate_at_most(successes, trials, level=0.01)
    assert binom.cdf(successes, trials, bound) == pytest.approx(0.01, rel=1e-6)
    assert rate_at_most(trials, trials, level=0.01) == 1.0


@pytest.mark.parametrize("seed", range(5))
def test_distances_equal_those_of_scipy_also_with_ties(seed: int) -> None:
    from scipy.stats import ks_2samp

    rng = np.random.default_rng(seed)
    reference, scores = np.sort(rng.normal(size=30).round(1)), rng.normal(size=50).round(1) + 0.3
    higher, lower = ks_distances(reference, scores)
    assert higher == pytest.approx(ks_2samp(scores, reference, alternative="less", method="asymp").statistic)
    assert lower == pytest.approx(ks_2samp(scores, reference, alternative="greater", method="asymp").statistic)


def test_the_bound_of_a_distribution_is_broken_as_rarely_as_it_says() -> None:
    rng, runs = np.random.default_rng(0), 2000
    bound = float(dkw_bound(60, 0.1))
    grid = np.linspace(0, 1, 2001)
    broken = sum(
        max(abs(np.searchsorted(np.sort(sample), grid, side="right") / 60 - grid)) > bound
        for sample in rng.random((runs, 60))
    )
    assert broken / runs <= 0.1 + noise(0.1, runs)
