"""Several layers in one machine: a member for each, whose scores add up, and nothing chosen on an image left out."""

import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from fewshot.core.errors import EpisodeError, OptionError, WeightsError
from fewshot.detector import archive
from fewshot.detector.choice import choose
from fewshot.detector.cross_validation import choice_auroc, support_cv_auroc
from fewshot.detector.detector import Detector
from fewshot.detector.fit import fit
from fewshot.detector.fitting import FitSettings, fit_detector
from fewshot.detector.fused_names import fused_names
from fewshot.detector.model_card import model_card
from fewshot.detector.refit import refit
from fewshot.detector.summary import lines, to_json
from fewshot.detector.verification import verify_detector
from fewshot.heads.fused import Fused
from fewshot.stats.metrics import Ranked
from tests.detector import made_detectors as made
from tests.detector import made_fusions as fusions


@cache
def dead() -> Detector:
    """Three layers, of which the one of noise got no weight."""
    return fusions.fused(seed=fusions.DEAD)


@cache
def alive() -> Detector:
    """Three layers, all of which got one."""
    return fusions.fused(seed=fusions.ALIVE)


def side_by_side(rows: Any) -> np.ndarray:
    """What the machine takes, without the code under test."""
    blocks = [rows[name, "pooled", "clean"] for name in fusions.NAMES]
    return np.hstack([block / np.linalg.norm(block, axis=1, keepdims=True) for block in blocks])


def machine(seed: int, rows: np.ndarray | None = None) -> Fused:
    """The whole machine of a seed's support, or of some rows of it."""
    support = fusions.images(seed=seed).take(np.arange(16))
    kept = np.arange(16) if rows is None else rows
    head = Fused(widths=(made.DIMENSION,) * len(fusions.NAMES))
    return head.fit(side_by_side(support.features)[kept], support.synthetic[kept].astype(int))


@pytest.mark.parametrize("seed", [fusions.DEAD, fusions.ALIVE])
def test_scores_of_the_members_add_up_to_those_of_the_machine(seed: int) -> None:
    found, queries = (dead if seed == fusions.DEAD else alive)(), fusions.images(seed=9).features

    scores, own = found.score(queries)

    whole = machine(seed)
    np.testing.assert_allclose(scores, whole.decision_function(side_by_side(queries)), atol=1e-6)
    assert np.array_equal(scores, np.sum(list(own.values()), axis=0))
    weights = [found.description.weights.get(f"{name}/pooled", 0.0) for name in fusions.NAMES]
    np.testing.assert_allclose(weights, whole.weights_, atol=1e-12)
    calibration = found.images.rows("calibration")
    certified = {key: rows[calibration] for key, rows in found.images.features.items()}
    np.testing.assert_allclose(found.score(certified)[0], found.calibration_scores, atol=1e-9)


def test_the_bias_is_kept_where_the_first_layer_is_left_out() -> None:
    found = fusions.fused(("noise", "good", "fair"), seed=fusions.DEAD)
    assert [each.backbone for each in found.description.members] == ["good", "fair"]
    np.testing.assert_allclose(found.calibration_scores, dead().calibration_scores, atol=1e-6)


def test_a_judgement_has_the_parts_of_its_score_and_their_weights() -> None:
    found = alive()
    rows = {key: values[:5] for key, values in fusions.images(seed=9).features.items()}
    for said in found.judge(rows, [""] * 5):
        assert said.score == pytest.approx(sum(said.members.values()), abs=1e-12)
        assert said.to_json()["weights"] == found.description.weights
        assert sum(said.weights.values()) == pytest.approx(1)


def test_left_out_scores_are_those_of_machines_weighed_and_fitted_without_the_image() -> None:
    support = fusions.images(seed=fusions.DEAD).take(np.arange(16))
    features = side_by_side(support.features)
    weighed = []
    for pair in range(8):  # naturals 0 to 7 and synthetic 8 to 15: one of each is left out at a time
        left_out = [pair, 8 + pair]
        alone = machine(fusions.DEAD, np.delete(np.arange(16), left_out))
        weighed.append(alone.weights_[2])
        np.testing.assert_allclose(
            dead().support_scores[left_out], alone.decision_function(features[left_out]), atol=1e-5
        )
    assert dead().description.weights.keys() == {"good/pooled", "fair/pooled"}
    assert max(weighed) > 0.01  # the layer without weight takes part here, which is why its features are kept


def test_a_layer_without_weight_is_left_out_and_named(tmp_path: Path) -> None:
    found = dead()
    assert found.description.fusion is not None
    assert [each.name for each in found.description.fusion.dropped] == ["noise/pooled"]
    assert [layer.backbone for layer in found.layers] == ["good", "fair"]  # what predict embeds with
    assert "noise/pooled got no weight inside the support and is left out" in " ".join(found.description.notes)
    assert found.description.version == 2
    assert alive().description.version == 1
    loaded = Detector.load(found.save(tmp_path / "a.detector").path or "")
    queries = {key: rows for key, rows in fusions.images(seed=9).features.items() if key[0] != "noise"}
    assert np.array_equal(loaded.score(queries)[0], found.score(queries)[0])


@pytest.mark.parametrize("made_of", [dead, alive])
def test_fused_detectors_come_back_byte_for_byte_and_are_sound(made_of: Callable[[], Detector], tmp_path: Path) -> None:
    saved = made_of().save(tmp_path / "a.detector")

    loaded = Detector.load(tmp_path / "a.detector")

    assert loaded.to_bytes() == saved.to_bytes()
    assert loaded.description == saved.description
    queries = fusions.images(seed=9).features
    assert np.array_equal(loaded.score(queries)[0], saved.score(queries)[0])
    found = verify_detector(tmp_path / "a.detector")
    assert (found.problems, found.notes) == ((), ())


def test_readers_that_know_of_no_fusion_score_alike() -> None:
    members = archive.unpack(alive().to_bytes(), where="x")
    description = json.loads(members["detector.json"])
    del description["fusion"]
    for member in description["members"]:
        del member["weight"]
    older = archive.pack({**members, "detector.json": json.dumps(description).encode()})

    found = Detector.from_bytes(older, where="x")

    queries = fusions.images(seed=9).features
    np.testing.assert_allclose(found.score(queries)[0], alive().score(queries)[0], rtol=1e-12)
    assert found.verdicts(found.score(queries)[0]) == alive().verdicts(alive().score(queries)[0])


def test_what_lies_within_rounding_of_the_threshold_is_not_beyond_it() -> None:
    described = alive().description
    assert described.fusion is not None
    assert described.spread == described.fusion.scale
    assert described.alarm.value > described.clear.value
    step = described.spread * 1e-7
    assert alive().verdicts(np.array([described.alarm.value + step])) == ["unsure"]
    assert alive().verdicts(np.array([described.alarm.value + 100 * step])) == ["synthetic"]


def described(found: Detector, **changes: object) -> Detector:
    return replace(found, description=msgspec.structs.replace(found.description, **changes))


def members(found: Detector, **changes: object) -> Detector:
    first, *others = found.description.members
    return described(found, members=(msgspec.structs.replace(first, **changes), *others))


REFUSED: dict[str, Callable[[], Detector]] = {
    "weights that add up to more": lambda: members(alive(), weight=0.99),
    "a member without weight": lambda: members(alive(), weight=None),
    "weights without a fusion": lambda: described(alive(), fusion=None),
    "another scale": lambda: members(alive(), scale=1.0),
    "a centre": lambda: members(alive(), centre=0.1),
    "a later version": lambda: described(alive(), version=2),
    "an earlier version": lambda: described(dead(), version=1),
}


@pytest.mark.parametrize("what", REFUSED)
def test_members_that_are_not_parts_of_one_machine_are_refused(what: str, tmp_path: Path) -> None:
    REFUSED[what]().save(tmp_path / "a.detector")
    with pytest.raises(WeightsError, match="is not a detector that fewshot wrote"):
        Detector.load(tmp_path / "a.detector")


def other_weights() -> Detector:
    first, second = dead().description.members
    swapped = (
        msgspec.structs.replace(first, weight=second.weight),
        msgspec.structs.replace(second, weight=first.weight),
    )
    return described(dead(), members=swapped)


def without_noise() -> Detector:
    return replace(dead(), dropped={key: np.ones_like(rows) for key, rows in dead().dropped.items()})


FORGED: dict[str, tuple[Callable[[], Detector], str]] = {
    "weights": (other_weights, "the weights of its members, found again inside the support,"),
    "features of what was left out": (without_noise, "cross-validated again"),
    "scores": (lambda: replace(dead(), support_scores=dead().support_scores * 1.5), "cross-validated again"),
}


@pytest.mark.parametrize("what", FORGED)
def test_verify_tells_what_does_not_follow_from_the_support(what: str, tmp_path: Path) -> None:
    forge, says = FORGED[what]
    forge().save(tmp_path / "a.detector")
    assert any(says in problem for problem in verify_detector(tmp_path / "a.detector").problems)


def test_images_that_certify_change_no_weight() -> None:
    images = fusions.images(seed=fusions.ALIVE)
    apart = images.roles != "support"
    misleading = {key: np.where(apart[:, None], rows[::-1] + 9, rows) for key, rows in images.features.items()}
    again = fit_detector(
        replace(images, features=misleading), fusions.among(), FitSettings(combine="fuse"), name="made"
    )
    assert again.description.members == alive().description.members
    assert again.description.fusion == alive().description.fusion
    assert np.array_equal(again.support_scores, alive().support_scores)


# -- beside every single one -------------------------------------------------------------------------------------------


def test_the_fusion_stands_beside_the_choice_of_one_and_every_single_one() -> None:
    found = dead()
    fusion = found.description.fusion
    assert fusion is not None
    said = "\n".join(lines(found))
    assert f"{fusion.auroc:.3f}  fused, the weights found anew in each fold" in said
    assert f"{fusion.choice_auroc:.3f}  the choice of one, chosen anew in each fold (support-cv)" in said
    assert f"{fusion.dropped[0].auroc:.3f}  noise/pooled (weight 0, left out)" in said
    good, fair = found.description.weights.values()
    weighed = f"good {good:.2g} + fair {fair:.2g}, weighed inside the support"
    assert f"fused        {weighed}" in said
    card = model_card(found)
    assert f"| fused | {weighed} |" in card
    assert f"| weight of its kernel | {good:.2g} |" in card
    assert f"| {fusion.auroc:.3f} |" in card
    assert to_json(found)["weighed"] == weighed
    assert to_json(made.detector())["weighed"] == ""


def test_the_choice_of_one_is_taken_anew_in_each_fold() -> None:
    images = fusions.images(seed=4).take(np.arange(16))
    taken = [each.prepared(images) for each in fusions.among()]
    heads = [each.head for each in fusions.among()]
    expected = []
    for fold in range(5):
        held = np.concatenate([np.arange(8)[fold::5], 8 + np.arange(8)[fold::5]])
        rest = np.setdiff1d(np.arange(16), held)
        inner = [
            choice_auroc(head, rows[rest], images.synthetic[rest]) for head, rows in zip(heads, taken, strict=True)
        ]
        best = int(np.argmax(inner))
        fitted = heads[best].converged().fit(taken[best][rest], images.synthetic[rest].astype(int))
        expected.append(Ranked.of(fitted.decision_function(taken[best][held]), images.synthetic[held]).auroc())
    assert support_cv_auroc(heads, taken, images.synthetic) == pytest.approx(np.mean(expected))


def test_a_fusion_is_one_of_several_among_which_is_chosen() -> None:
    support = fusions.images(seed=fusions.ALIVE).take(np.arange(16))
    pair = fusions.among(("good", "fair"), fused_in="good+fair")
    found = choose(support, [*fusions.among(("noise",)), *pair], combine="choose")
    assert [(each.backbone, each.head) for each in found.candidates] == [("noise", "svm"), ("good+fair", "fused")]
    assert [each.member.backbone for each in found.members] == ["good", "fair"]


# -- what is given, and what is refused --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fused")
    fusions.make_store(folder / "support.h5", natural=8, synthetic=8, seed=5)
    fusions.make_store(folder / "naturals.h5", natural=30, seed=2)
    fusions.make_store(folder / "added.h5", natural=2, synthetic=2, seed=3)
    fit(
        folder / "support.h5",
        backbones="good+fair",
        naturals=folder / "naturals.h5",
        max_false_alarms=0.1,
        out=folder / "a.detector",
    )
    return folder


def test_names_joined_by_a_plus_are_fused_and_a_successor_keeps_it(stores: Path, tmp_path: Path) -> None:
    old = Detector.load(stores / "a.detector").description
    assert old.fusion is not None
    assert [each.backbone for each in old.members] == ["good", "fair"]
    new = refit(stores / "a.detector", add=stores / "added.h5", out=tmp_path / "b.detector").detector.description
    assert new.fusion is not None
    assert [each.name for each in new.members] == [each.name for each in old.members]
    assert new.weights != old.weights
    assert verify_detector(tmp_path / "b.detector").sound
    with pytest.raises(OptionError, match="--head lda cannot be fused over several backbones: only svm can"):
        refit(stores / "a.detector", heads="lda")


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"backbones": "good+good"}, "good is named twice"),
        ({"backbones": "good+"}, "a name is missing beside a +"),
        ({"backbones": "good+fairr"}, "and not fairr"),
        ({"backbones": "good+fair", "heads": "lda"}, "only svm can"),
        ({"backbones": "good+fair", "heads": ("svm", "knn")}, "--head knn cannot be fused"),
        ({"backbones": "good+fair", "combine": "mean"}, "for the mean, name them with commas, -b good,fair"),
        ({"backbones": "good+fair", "heads": "soft-k-means"}, "is transductive"),
        ({"backbones": "good", "combine": "fuse"}, "there is good/pooled only, and fusing takes two or more"),
    ],
)
def test_what_cannot_be_fused_is_refused(stores: Path, options: dict[str, Any], reason: str) -> None:
    with pytest.raises(OptionError, match=reason):
        fit(stores / "support.h5", **options)


def test_one_image_of_a_class_cannot_be_fused(tmp_path: Path) -> None:
    support = fusions.make_store(tmp_path / "support.h5", natural=5, synthetic=1)
    with pytest.raises(EpisodeError, match="5 natural and 1 synthetic images; at least 2"):
        fit(support, backbones="good+fair")


def test_a_file_of_a_name_with_a_plus_is_one_backbone(tmp_path: Path) -> None:
    (tmp_path / "a+b.safetensors").touch()
    assert fused_names([str(tmp_path / "a+b.safetensors")]) == [(str(tmp_path / "a+b.safetensors"),)]
