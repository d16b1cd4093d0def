"""``verify`` on detectors: sound ones pass, and whatever was forged with a right digest is told."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from fewshot.core.errors import WeightsError
from fewshot.detector.detector import Detector
from fewshot.detector.fit import fit
from fewshot.detector.venn_abers import VennAbers
from fewshot.detector.verification import verify_detector
from tests.detector.made_inputs import make_store


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> Detector:
    folder = tmp_path_factory.mktemp("verify")
    return fit(
        make_store(folder / "support.h5", natural=10, synthetic=10, seed=1),
        naturals=make_store(folder / "naturals.h5", natural=60, seed=2),
        synthetics=make_store(folder / "synthetics.h5", synthetic=40, seed=3),
        out=folder / "a.detector",
    )


def described(detector: Detector, **changes: object) -> Detector:
    return replace(detector, description=msgspec.structs.replace(detector.description, **changes))


def threshold(detector: Detector, name: str, **changes: object) -> Detector:
    return described(detector, **{name: msgspec.structs.replace(getattr(detector.description, name), **changes)})


def shifted(detector: Detector, scores: str, alarm: str, by: float) -> Detector:
    """Return a detector with other scores of what certifies, and the threshold that follows from them."""
    value = getattr(detector.description, alarm).value + by
    return replace(threshold(detector, alarm, value=value), **{scores: getattr(detector, scores) + by})


REFUSED: dict[str, Callable[[Detector], Detector]] = {
    "a lower share": lambda d: threshold(d, "alarm", share=0.01),
    "a surer promise": lambda d: threshold(d, "alarm", confidence=0.999),
    "more images": lambda d: threshold(d, "alarm", images=600),
    "another threshold": lambda d: threshold(d, "alarm", value=0.0),
    "other misses": lambda d: threshold(d, "clear", beyond=3),
    "counts": lambda d: described(d, support=msgspec.structs.replace(d.description.support, natural=500)),
    "auroc": lambda d: described(d, held_out=msgspec.structs.replace(d.description.held_out, auroc=0.123)),
}
FORGED: dict[str, tuple[Callable[[Detector], Detector], str]] = {
    "calibration scores": (
        lambda d: shifted(d, "calibration_scores", "alarm", -1e-4),
        "scores of its calibration images",
    ),
    "held-out scores": (lambda d: shifted(d, "held_out_scores", "clear", 1e-4), "scores of its held-out images"),
    "support scores": (lambda d: replace(d, support_scores=d.support_scores * 2), "cross-validated again"),
    "probabilities": (
        lambda d: replace(d, probability=VennAbers(d.probability.scores, d.probability.low * 0.5, d.probability.high)),
        "probabilities do not follow",
    ),
    "nearness": (
        lambda d: replace(d, known=replace(d.known, scores=d.known.scores - 0.5)),
        "how near its images lie",
    ),
}


def test_a_detector_that_was_fitted_is_sound(detector: Detector) -> None:
    assert detector.path is not None
    found = verify_detector(detector.path)
    assert found.sound
    assert (found.images, found.members, found.problems, found.notes) == (120, 1, (), ())
    found.require_sound()


@pytest.mark.parametrize("what", FORGED)
def test_what_does_not_follow_from_the_rest_is_told(detector: Detector, tmp_path: Path, what: str) -> None:
    forge, says = FORGED[what]
    forge(detector).save(tmp_path / "forged.detector")
    found = verify_detector(tmp_path / "forged.detector")
    assert not found.sound
    assert any(says in problem for problem in found.problems), found.problems
    with pytest.raises(WeightsError, match="cannot be trusted"):
        found.require_sound()


@pytest.mark.parametrize("what", REFUSED)
def test_what_loading_refuses_is_refused(detector: Detector, tmp_path: Path, what: str) -> None:
    REFUSED[what](detector).save(tmp_path / "forged.detector")
    with pytest.raises(WeightsError, match="is not a detector that fewshot wrote"):
        verify_detector(tmp_path / "forged.detector")


def test_a_flipped_bit_is_refused(detector: Detector, tmp_path: Path) -> None:
    content = bytearray(detector.to_bytes())
    content[len(content) // 3] ^= 1
    (tmp_path / "a.detector").write_bytes(content)
    with pytest.raises(WeightsError, match="is damaged"):
        verify_detector(tmp_path / "a.detector")


def test_an_estimate_is_verified_as_one(detector: Detector, tmp_path: Path) -> None:
    support = make_store(tmp_path / "support.h5", natural=10, synthetic=10, seed=1)
    fit(support, out=tmp_path / "a.detector")
    assert verify_detector(tmp_path / "a.detector").sound
    promised = threshold(fit(support), "alarm", kind="certificate", share=0.05, confidence=0.95)
    promised.save(tmp_path / "b.detector")
    with pytest.raises(WeightsError, match="is not a detector that fewshot wrote"):
        verify_detector(tmp_path / "b.detector")
