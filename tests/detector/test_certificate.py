"""The certificate: its arithmetic, and its promise over two thousand simulated calibrations."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.certificate import HEAD_NAMES, of_head
from fewshot.core.errors import OptionError
from fewshot.detector.certificate import allowed_beyond, certifiable, certify, images_needed, risk, too_few
from fewshot.detector.fitting import FitSettings, fit_detector
from fewshot.detector.known_images import KnownImages
from tests.detector import made_detectors as made

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
    traffic = np.sort(SCORES[name](rng, 200_000))  # all the traffic there is, so that rates on it are exact
    fits = 2000
    drawn = traffic[rng.integers(0, len(traffic), (fits, images))]
    found = [certify(scores, share) for scores in drawn]
    values = np.array([threshold.value for threshold in found if threshold is not None])
    assert len(values) == fits
    beyond = 1 - np.searchsorted(traffic, values, side="right") / len(traffic)
    assert (beyond > share).mean() <= 0.05 + noise(fits)


def noise(fits: int) -> float:
    """Three standard errors of a share of 5 %."""
    return float(3 * np.sqrt(0.05 * 0.95 / fits))


@pytest.mark.parametrize("head", ["logistic", "prototype"])
def test_the_promise_holds_for_heads_that_were_fitted_on_ten_images_a_class(head: str) -> None:
    cells, others = of_head(head, fits=200, estimates=20)
    for cell in cells:
        assert len(cell.rates) == 200
        assert cell.broken <= 0.05 + noise(200), cell
    assert others.own > 0.3  # what a threshold from the support's own scores would flag
    assert others.left_out < 0.15


@pytest.mark.slow
@pytest.mark.parametrize("head", HEAD_NAMES)
def test_the_promise_holds_for_two_thousand_fits_of_a_head(head: str) -> None:
    cells, _ = of_head(head, fits=2000, estimates=1)
    for cell in cells:
        assert len(cell.rates) == 2000
        assert cell.broken <= 0.05 + noise(2000), cell


@pytest.mark.parametrize("combine", ["choose", "mean"])
def test_whole_fits_keep_the_promise_also_where_layers_and_backbones_are_chosen(combine: str) -> None:
    among = [made.choosable(head, backbone=name) for name in ("one", "two") for head in ("prototype", "ridge")]
    traffic = made.images("calibration", 1000, 0, among, seed=99)
    rates = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        calibration = traffic.take(rng.integers(0, len(traffic), 40))
        calibration = replace(calibration, ids=np.array([f"drawn {n}" for n in range(40)], dtype=object))
        support = made.images("support", 3, 3, among, seed=seed)
        settings = FitSettings(combine=combine, max_false_alarms=0.1)  # type: ignore[arg-type]  # one of both
        found = fit_detector(KnownImages.joined([support, calibration]), among, settings, name="made")
        rates.append((found.score(traffic.features)[0] > found.description.alarm.value).mean())
    assert (np.array(rates) > 0.1).mean() <= 0.05 + noise(60)


def test_a_certificate_is_never_narrower_than_the_arithmetic_allows() -> None:
    for share in (0.001, 0.0025, 0.01, 0.03, 0.05, 0.07, 0.1, 0.2, 0.25, 0.5, 0.9):
        needed = images_needed(share)
        assert allowed_beyond(needed, share) == 0
        assert needed == 1 or allowed_beyond(needed - 1, share) is None
        assert risk(needed, 0, share) <= 0.05 + 1e-12


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
