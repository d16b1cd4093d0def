"""Layer, head and backbone are chosen inside the support; nothing that certifies has a say in it."""

from dataclasses import replace

import numpy as np
import pytest

from fewshot.core.errors import EpisodeError, InputError
from fewshot.detector.choice import choose
from fewshot.detector.cross_validation import choice_auroc, left_out_scores
from fewshot.detector.detector import Detector
from fewshot.detector.fitting import FitSettings, fit_detector
from fewshot.detector.known_images import KnownImages
from fewshot.stats.metrics import Ranked
from tests.detector import made_detectors as made

AMONG = [made.choosable(head, layer=layer) for layer in ("early", "late") for head in ("prototype", "knn")]


def parts(*, late_apart: float = 4.0) -> list[KnownImages]:
    """Support, calibration and held-out images; the layer ``late`` tells the classes apart, ``early`` does not."""
    found = []
    for role, naturals, synthetics in (("support", 8, 8), ("calibration", 60, 0), ("held-out", 0, 30)):
        images = made.images(role, naturals, synthetics, AMONG, apart=0.0)  # type: ignore[arg-type]  # roles
        late = images.features["toy", "late", "clean"]
        late[:, 1] += np.where(images.synthetic, late_apart, 0.0)
        found.append(images)
    return found


def fitted(images: list[KnownImages], **settings: object) -> Detector:
    return fit_detector(KnownImages.joined(images), AMONG, FitSettings(**settings), name="made")  # type: ignore[arg-type]


def chosen(found: Detector) -> list[tuple[str, str]]:
    return [(member.layer, member.head) for member in found.description.members]


def test_the_layer_that_tells_the_support_apart_is_taken() -> None:
    found = fitted(parts())
    assert chosen(found)[0][0] == "late"
    assert len(found.description.candidates) == 4
    best = max(found.description.candidates, key=lambda each: each.auroc)
    assert (best.layer, best.head) == chosen(found)[0]
    assert found.description.members[0].auroc == best.auroc


def test_ties_go_to_the_first() -> None:
    images = parts()
    for features in images[0].features.values():
        features[:] = np.where(images[0].synthetic, 1.0, -1.0)[:, None] + 0.01 * features
    found = fitted(images)
    assert {each.auroc for each in found.description.candidates} == {1.0}
    assert chosen(found) == [("early", "prototype")]


@pytest.mark.parametrize("combine", ["choose", "mean"])
def test_images_that_certify_change_no_choice_and_no_array_of_a_head(combine: str) -> None:
    support, calibration, held_out = parts()
    first = fitted([support, calibration, held_out], combine=combine)
    rng = np.random.default_rng(9)
    shuffled = calibration.take(rng.permutation(len(calibration)))
    # Calibration images on which `late` is useless and `early` perfect, were they asked.
    misleading = replace(
        calibration,
        features={
            key: rows + (50.0 if key[1] == "late" else -50.0) * rng.random(rows.shape).astype(np.float32)
            for key, rows in calibration.features.items()
        },
    )
    for other in (shuffled, misleading, calibration.take(np.arange(59))):
        again = fitted([support, other, held_out], combine=combine)
        assert chosen(again) == chosen(first)
        assert again.description.candidates == first.description.candidates
        assert again.description.members == first.description.members
        assert np.array_equal(again.support_scores, first.support_scores)
        assert np.array_equal(again.probability.low, first.probability.low)
        for ours, theirs in zip(first.heads, again.heads, strict=True):
            for name, array in ours.state().arrays.items():
                assert np.array_equal(theirs.state().arrays[name], array), name
    assert fitted([support, shuffled, held_out], combine=combine).description.alarm == first.description.alarm
    assert fitted([support, misleading, held_out], combine=combine).description.alarm != first.description.alarm


def test_the_mean_takes_one_layer_and_head_of_each_backbone() -> None:
    among = [made.choosable(head, backbone=name) for name in ("one", "two") for head in ("prototype", "knn")]
    images = made.images("support", 8, 8, among)
    mean = choose(images, among, combine="mean").members
    best = choose(images, among, combine="choose").members
    assert [each.member.backbone for each in mean] == ["one", "two"]
    assert len(best) == 1


def test_scores_of_left_out_images_are_those_of_heads_that_never_saw_them() -> None:
    head = made.head("svm")
    rng = np.random.default_rng(0)
    features = rng.normal(size=(13, 5))
    synthetic = np.arange(13) >= 6
    features[synthetic] += 1.0

    found = left_out_scores(head, features, synthetic)

    for fold in range(6):  # natural images 0 to 5, synthetic ones 6 to 12: the last of them goes with the first
        left_out = [fold, 6 + fold, 12][: 3 if fold == 0 else 2]
        rest = np.delete(np.arange(13), left_out)
        alone = head.converged().fit(features[rest], synthetic[rest].astype(int)).decision_function(features[left_out])
        assert found[left_out] == pytest.approx(alone, abs=1e-6)


@pytest.mark.parametrize("name", ["svm", "logistic", "prototype"])
def test_left_out_scores_of_features_without_a_signal_rank_nothing(name: str) -> None:
    rng = np.random.default_rng(0)
    synthetic = np.arange(20) % 2 == 1
    draws = [left_out_scores(made.head(name), rng.normal(size=(20, 40)), synthetic) for _ in range(60)]
    assert 0.4 < np.mean([Ranked.of(scores, synthetic).auroc() for scores in draws]) < 0.6


def test_large_supports_are_left_out_in_a_hundred_folds() -> None:
    rng = np.random.default_rng(0)
    synthetic = np.arange(250) >= 125
    features = rng.normal(size=(250, 3)) + synthetic[:, None]
    found = left_out_scores(made.head("prototype"), features, synthetic)
    assert np.isfinite(found).all()
    assert Ranked.of(found, synthetic).auroc() > 0.8


@pytest.mark.parametrize("counts", [(1, 5), (5, 1)])
def test_a_class_of_one_image_is_refused(counts: tuple[int, int]) -> None:
    synthetic = np.arange(sum(counts)) >= counts[0]
    features = np.random.default_rng(0).normal(size=(len(synthetic), 3))
    for score in (left_out_scores, choice_auroc):
        with pytest.raises(EpisodeError, match=f"{counts[0]} natural and {counts[1]} synthetic images; at least 2"):
            score(made.head("prototype"), features, synthetic)


def test_images_of_the_support_cannot_certify() -> None:
    support, calibration, held_out = parts()
    ids = calibration.ids.copy()
    ids[5] = support.ids[2]
    with pytest.raises(InputError, match=r"1 of 60 images of --naturals are in the support .*'calibration/5.png'"):
        fitted([support, replace(calibration, ids=ids), held_out])
    ids = held_out.ids.copy()
    ids[0] = support.ids[-1]
    with pytest.raises(InputError, match="1 of 30 images of --synthetics are in the support"):
        fitted([support, calibration, replace(held_out, ids=ids)])
