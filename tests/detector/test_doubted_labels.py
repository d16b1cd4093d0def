"""Labels that are probably the wrong way round are said to be, where naturals of their own speak against them."""

from dataclasses import replace

from fewshot.detector.detector import Detector
from fewshot.detector.fitting import FitSettings, fit_detector
from fewshot.detector.known_images import KnownImages
from tests.detector.made_detectors import choosable, images


def fitted(*, swapped: bool, naturals: int = 60) -> Detector:
    among = [choosable("lda")]
    support = images("support", 10, 10, among, apart=4.0)
    if swapped:
        support = replace(support, synthetic=~support.synthetic)
    parts = [support] + ([images("calibration", naturals, 0, among)] if naturals else [])
    return fit_detector(KnownImages.joined(parts), among, FitSettings(accept_weaker=True), name="toy")


def test_naturals_that_score_like_the_synthetic_images_of_the_support_cast_doubt_on_its_labels() -> None:
    (note,) = fitted(swapped=True).description.notes
    assert "naturals that set the threshold score like synthetic images of the support" in note
    assert "the wrong way round" in note


def test_labels_that_are_right_are_not_doubted() -> None:
    assert fitted(swapped=False).description.notes == ()


def test_without_naturals_nothing_speaks_against_the_labels() -> None:
    assert fitted(swapped=True, naturals=0).description.notes == ()
