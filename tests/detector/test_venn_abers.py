"""Venn-Abers intervals against a direct computation, and their validity by simulation."""

import numpy as np
import pytest
from sklearn.isotonic import IsotonicRegression

from fewshot.detector.venn_abers import VennAbers


def direct(scores: np.ndarray, synthetic: np.ndarray, new: float) -> tuple[float, float]:
    """Complete the set by the new pair, fit, read the fit at the new score."""
    found = []
    for label in (0.0, 1.0):
        x, y = np.append(scores, new), np.append(synthetic.astype(float), label)
        found.append(float(IsotonicRegression(out_of_bounds="clip").fit(x, y).predict([new])[0]))
    return found[0], found[1]


@pytest.mark.parametrize("seed", range(5))
def test_intervals_equal_a_direct_fit_also_with_ties(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=30).round(1)
    synthetic = rng.random(30) < 1 / (1 + np.exp(-2 * scores))
    synthetic[:2] = [True, False]
    new = np.concatenate([rng.normal(size=20) * 2, scores[:10]])
    low, high = VennAbers.fit(scores, synthetic).interval(new)
    expected = np.array([direct(scores, synthetic, value) for value in new])
    np.testing.assert_allclose(np.stack([low, high], axis=1), expected, atol=1e-12)
    assert (low <= high).all()


@pytest.mark.parametrize("scale", [1e-300, 1e18, 1e300])
def test_the_scale_of_the_scores_changes_no_interval(scale: float) -> None:
    scores, synthetic = np.array([1.0, 2.0, 3.0, 4.0]), np.array([False, True, True, False])
    ours, scaled = VennAbers.fit(scores, synthetic), VennAbers.fit(scores * scale, synthetic)
    assert np.array_equal(ours.low, scaled.low)
    assert np.array_equal(ours.high, scaled.high)


def test_few_images_give_wide_intervals_and_many_narrow_ones() -> None:
    rng = np.random.default_rng(0)
    width = {}
    for count in (20, 2000):
        scores = rng.normal(size=count)
        synthetic = rng.random(count) < 1 / (1 + np.exp(-2 * scores))
        low, high = VennAbers.fit(scores, synthetic).interval(np.linspace(-1, 1, 50))
        width[count] = float((high - low).mean())
    assert width[20] > 5 * width[2000]


def test_the_intervals_hold_the_frequency() -> None:
    rng = np.random.default_rng(1)
    inside = []
    for _ in range(200):
        scores = rng.normal(size=21)
        truth = 1 / (1 + np.exp(-3 * scores))
        synthetic = rng.random(21) < truth
        if synthetic[:20].all() or not synthetic[:20].any():
            continue
        low, high = VennAbers.fit(scores[:20], synthetic[:20]).interval(scores[20:])
        inside.append((low[0], high[0], synthetic[20]))
    low, high, found = (np.array(part, dtype=float) for part in zip(*inside, strict=True))
    assert low.mean() - 0.05 <= found.mean() <= high.mean() + 0.05


@pytest.mark.parametrize(("scores", "synthetic"), [([0.0, 1.0], [True, True]), ([0.0, np.nan], [True, False])])
def test_a_calibration_set_that_says_nothing_is_refused(scores: list[float], synthetic: list[bool]) -> None:
    with pytest.raises(ValueError, match="both classes"):
        VennAbers.fit(np.array(scores), np.array(synthetic))
