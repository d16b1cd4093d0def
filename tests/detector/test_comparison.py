"""A detector against its successor: counts by hand, and words only where the images allow them."""

from dataclasses import replace

import msgspec
import numpy as np
import pytest

from fewshot.core.errors import InputError
from fewshot.detector.comparison import compare
from fewshot.detector.detector import Detector
from fewshot.detector.fit import fit
from fewshot.detector.fitting_inputs import chosen_rows
from fewshot.detector.known_images import KnownImages
from fewshot.embeddings.store.reader import FeatureStore
from tests.detector.made_inputs import make_store

KEY = ("net", "pooled", "clean")


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Detector:
    folder = tmp_path_factory.mktemp("comparison")
    return fit(make_store(folder / "support.h5", natural=10, synthetic=10, seed=1), name="old")


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> KnownImages:
    path = make_store(tmp_path_factory.mktemp("check") / "check.h5", natural=20, synthetic=20, seed=2)
    return chosen_rows(FeatureStore(path), [KEY]).images([KEY], role="known")


def shifted(detector: Detector, *, alarm: float, clear: float) -> Detector:
    described = detector.description
    thresholds = {
        name: msgspec.structs.replace(getattr(described, name), value=value)
        for name, value in (("alarm", alarm), ("clear", clear))
    }
    return replace(detector, description=msgspec.structs.replace(described, **thresholds))


def test_a_detector_is_no_better_than_itself(old: Detector, images: KnownImages) -> None:
    found = compare(old, old, images)
    assert {each.word for each in found.measures} == {"cannot be told"}
    assert all(each.difference.value == 0 for each in found.measures)
    assert found.lines()[-1].strip() == (
        "whether false alarms, misses, unsure, AUROC changed cannot be told from 40 images"
    )


def test_counts_are_those_of_the_verdicts(old: Detector, images: KnownImages) -> None:
    scores, _ = old.score(images.features)
    natural, synthetic = scores[~images.synthetic], scores[images.synthetic]
    strict, lax = shifted(old, alarm=0.0, clear=0.0), shifted(old, alarm=-99.0, clear=-99.0)
    alarms, misses, unsure, auroc = compare(strict, lax, images).measures
    assert (alarms.old_count, alarms.new_count, alarms.images) == (int((natural > 0).sum()), 20, 20)
    assert (misses.old_count, misses.new_count) == (int((synthetic < 0).sum()), 0)
    assert (unsure.old_count, unsure.new_count) == (0, 0)
    assert auroc.old == auroc.new == pytest.approx((synthetic[:, None] > natural[None, :]).mean())


def test_many_more_false_alarms_are_called_worse(old: Detector, images: KnownImages) -> None:
    found = compare(shifted(old, alarm=0.0, clear=0.0), shifted(old, alarm=-99.0, clear=-99.0), images)
    assert found.measures[0].word == "worse"
    assert "worse in false alarms" in found.lines()[-1]
    back = compare(shifted(old, alarm=-99.0, clear=-99.0), shifted(old, alarm=0.0, clear=0.0), images)
    assert back.measures[0].word == "better"
    assert back.measures[0].difference.value == -found.measures[0].difference.value


def test_of_one_class_only_what_it_allows_is_said(old: Detector, images: KnownImages) -> None:
    found = compare(old, old, images.take(np.flatnonzero(~images.synthetic)))
    assert [each.name for each in found.measures] == ["false alarms", "unsure"]


def test_one_image_of_a_class_has_no_interval_and_says_nothing(old: Detector, images: KnownImages) -> None:
    few = images.take(np.array([0, 1, 39]))
    auroc = compare(old, shifted(old, alarm=1.0, clear=-1.0), few).measures[-1]
    assert auroc.word == "cannot be told"
    assert np.isnan(auroc.old_interval.low)
    assert "no interval" in " ".join(compare(old, old, few).lines())


def test_the_digest_tells_whether_the_set_is_the_same(old: Detector, images: KnownImages) -> None:
    turned = images.take(np.arange(len(images))[::-1])
    assert compare(old, old, turned).digest == compare(old, old, images).digest
    assert compare(old, old, images.take(np.arange(39))).digest != compare(old, old, images).digest


def test_no_image_is_refused(old: Detector, images: KnownImages) -> None:
    with pytest.raises(InputError, match="no labelled image to compare on"):
        compare(old, old, images.take(np.arange(0)))
