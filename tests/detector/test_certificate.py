"""The certificate: its arithmetic, and its promise over two thousand simulated calibrations."""

from collections.abc import Callable

import numpy as np
import pytest

from fewshot.core.errors import OptionError
from fewshot.detector.certificate import allowed_beyond, certifiable, certify, images_needed, too_few

Draw = Callable[[np.random.Generator, int], np.ndarray]
SCORES: dict[str, Draw] = {
    "normal": lambda rng, n: rng.normal(size=n),
    "heavy tail": lambda rng, n: rng.standard_cauchy(size=n),
    "two camps": lambda rng, n: rng.normal(size=n) + 6 * (rng.random(n) < 0.03),
    "ties": lambda rng, n: rng.integers(0, 12, size=n).astype(float),
    "one value": lambda _, n: np.zeros(n),
}


@pytest.mark.parametrize(("share", "needed"), [(0.1, 29), (0.05, 59), (0.01, 299)])
def test_so_many_images_are_needed_and_one_fewer_is_too_few(share: float, needed: int) -> None:
    scores = np.arange(needed, dtype=float)
    assert images_needed(share) == needed
    assert certify(scores[1:], share) is None
    found = certify(scores, share)
    assert found is not None
    assert (found.beyond, found.value, found.images) == (0, needed - 1.0, needed)


@pytest.mark.parametrize("images", [29, 59, 100, 299, 500, 2000])
@pytest.mark.parametrize("share", [0.01, 0.05, 0.1, 0.3])
def test_the_number_that_may_lie_beyond_is_the_largest_allowed(images: int, share: float) -> None:
    from scipy.stats import beta  # another formula of the same: the share beyond is Beta(k + 1, n - k)

    k = allowed_beyond(images, share)
    risk = [1 - beta.cdf(share, number + 1, images - number) for number in range(images // 2)]
    allowed = [number for number, value in enumerate(risk) if value <= 0.05]
    assert k == (max(allowed) if allowed else None)


@pytest.mark.parametrize("name", SCORES)
@pytest.mark.parametrize(("images", "share"), [(59, 0.05), (100, 0.05), (299, 0.01), (500, 0.05), (500, 0.1)])
def test_the_promise_is_broken_in_at_most_five_of_a_hundred_calibrations(name: str, images: int, share: float) -> None:
    rng = np.random.default_rng(0)
    traffic = np.sort(SCORES[name](rng, 200_000))
    fits = 2000
    broken = 0
    for _ in range(fits):
        found = certify(rng.choice(traffic, size=images), share)
        assert found is not None
        beyond = 1 - np.searchsorted(traffic, found.value, side="right") / len(traffic)
        broken += int(beyond > share)
    noise = 3 * np.sqrt(0.05 * 0.95 / fits)
    assert broken / fits <= 0.05 + noise


def test_the_other_side_is_the_mirror_image() -> None:
    scores = np.random.default_rng(0).normal(size=100)
    above, below = certify(scores, 0.05), certify(-scores, 0.05, side="below")
    assert above is not None
    assert below is not None
    assert below.value == -above.value


def test_a_refusal_says_the_arithmetic() -> None:
    assert too_few(80, 0.01) == "1 % needs 299, you gave 80; 5 % can be certified"
    assert too_few(4, 0.05) == "5 % needs 59, you gave 4; 50 % can be certified" or certifiable(4) is None


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, 5.0])
def test_a_share_that_is_none_is_refused(share: float) -> None:
    with pytest.raises(OptionError, match="between 0 and 100 %"):
        certify(np.zeros(100), share)


def test_scores_that_are_not_finite_are_refused() -> None:
    with pytest.raises(ValueError, match="finite"):
        certify(np.array([0.0, np.nan]), 0.5)
