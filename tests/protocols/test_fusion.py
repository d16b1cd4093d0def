"""Several backbones in one head: what is measured, what decides on weights and choice, what is refused."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fewshot
from fewshot.core.errors import EpisodeError, OptionError, UnknownNameError
from fewshot.embeddings.store.reader import FeatureStore
from fewshot.heads.fused import Fused
from fewshot.protocols.across_stores import adapt_across, adapt_and_save
from fewshot.protocols.fiser import Fiser, adapt_with_scores
from fewshot.protocols.replay import replay
from fewshot.results.report import Report, Row
from fewshot.results.row import FUSED, ONE, WEIGHT
from tests.protocols.fusion_store import SIGNALS, SUPPORTS, WIDTHS, fusion_samples, fusion_store

ALL = tuple(SIGNALS)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fusion_store(tmp_path_factory.mktemp("stores") / "toy.h5")


@pytest.fixture(scope="module")
def kept(path: Path) -> tuple[Report, Mapping[str, np.ndarray]]:
    result = adapt_with_scores(path, trials=6, shots=6, fuse="kernel")
    assert result.scores is not None
    return result.report, result.scores


@pytest.fixture(scope="module")
def report(kept: tuple[Report, Any]) -> Report:
    return kept[0]


def _auroc(report: Report, backbone: str, **wanted: Any) -> Row:
    (row,) = report.where(**{"backbone": backbone, "source": "all", "metric": "auroc", **wanted})
    return row


def _weights(report: Report, backbone: str = FUSED) -> dict[str, np.ndarray]:
    return {row.source: np.array(row.values) for row in report.where(backbone=backbone, metric=WEIGHT)}


def _unit(store: FeatureStore, backbone: str) -> np.ndarray:
    features = store.read(None, backbone, "pooled").astype(np.float64)
    return np.asarray(features / np.linalg.norm(features, axis=1, keepdims=True))


def test_fused_trials_equal_one_machine_on_the_columns_of_all_backbones(
    path: Path, kept: tuple[Report, Mapping[str, np.ndarray]]
) -> None:
    report, scores = kept
    store = FeatureStore(path)
    columns = np.concatenate([_unit(store, name) for name in ALL], axis=1)
    weights = np.stack(list(_weights(report).values()), axis=1)
    for trial in range(6):
        support = np.flatnonzero(scores["support|6"][trial])
        one = Fused(tuple(WIDTHS.values())).fit(columns[support], store.synthetic[support].astype(int))
        np.testing.assert_allclose(scores["fused|fixed|svm|6"][trial], one.decision_function(columns), atol=2e-5)
        np.testing.assert_allclose(weights[trial], one.weights_, atol=1e-6)


def test_every_trial_says_what_it_weighs_each_backbone(report: Report) -> None:
    weights = _weights(report)

    assert list(weights) == [f"{name}/pooled" for name in ALL]
    np.testing.assert_allclose(sum(weights.values()), np.ones(6))
    assert np.mean(weights["noise/pooled"]) < min(np.mean(weights["ferret/pooled"]), np.mean(weights["mobile/pooled"]))


def test_the_choice_of_one_is_what_that_backbone_has_in_that_trial(
    kept: tuple[Report, Mapping[str, np.ndarray]],
) -> None:
    report, scores = kept
    single = {name: _auroc(report, name, head="svm").values for name in ALL}
    for selection in ("support-cv", "oracle"):
        row = _auroc(report, ONE, selection=selection)
        assert row.values == tuple(single[name][trial] for trial, name in enumerate(row.choices))
        for trial, name in enumerate(row.choices):
            np.testing.assert_array_equal(
                scores[f"one|{selection}|svm|6"][trial], scores[f"{name}|pooled|svm|6"][trial]
            )
    assert _auroc(report, ONE, selection="oracle").values == tuple(np.max(list(single.values()), axis=0))


def test_altered_query_labels_change_no_weight_and_no_choice(tmp_path: Path) -> None:
    samples = fusion_samples()
    queried = np.array([key not in {name for listed in SUPPORTS for name in listed} for key in samples["key"]])
    altered = samples.copy()
    altered["synthetic"] = samples["synthetic"] ^ (queried & (np.arange(len(samples)) % 3 == 0))
    first, second = (
        fewshot.adapt(fusion_store(tmp_path / f"{number}.h5", samples=frame), support=SUPPORTS, fuse="kernel")
        for number, frame in enumerate((samples, altered))
    )

    assert _auroc(first, FUSED).values != _auroc(second, FUSED).values
    assert _auroc(first, ONE, selection="support-cv").choices == _auroc(second, ONE, selection="support-cv").choices
    for name, weights in _weights(first).items():
        np.testing.assert_array_equal(weights, _weights(second)[name])


def test_nothing_is_learnt_of_noise_but_what_the_oracle_sees_in_the_query(tmp_path: Path) -> None:
    store = fusion_store(tmp_path / "noise.h5", samples=fusion_samples(400), noise=True)
    report = fewshot.adapt(store, trials=30, fuse="kernel")

    assert np.mean(_auroc(report, FUSED).values) == pytest.approx(0.5, abs=0.03)
    assert np.mean(_auroc(report, ONE, selection="support-cv").values) == pytest.approx(0.5, abs=0.03)
    assert np.mean(_auroc(report, ONE, selection="oracle").values) > 0.52


def test_sets_and_single_backbones_are_named_side_by_side(path: Path) -> None:
    report = fewshot.adapt(path, trials=2, shots=4, backbone="ferret,mobile,ferret+mobile,mobile+noise")

    assert list(dict.fromkeys(row.backbone for row in report.rows)) == [
        "ferret",
        "mobile",
        "ferret+mobile",
        "mobile+noise",
    ]
    assert _auroc(report, "mobile+noise").members == ("mobile/pooled", "noise/pooled")
    assert set(_weights(report, "ferret+mobile")) == {"ferret/pooled", "mobile/pooled"}


def test_all_backbones_stand_under_the_name_that_the_user_gave_them(path: Path) -> None:
    report = fewshot.adapt(path, trials=2, shots=4, backbone="ferret+mobile", fuse="kernel")

    assert {row.backbone for row in report.rows} == {"ferret", "mobile", "ferret+mobile", ONE}


def test_every_layer_is_fused_where_all_are_wanted(path: Path) -> None:
    report = fewshot.adapt(path, trials=2, shots=4, backbone="ferret", layer="all", fuse="kernel")

    assert set(_weights(report)) == {"ferret/pooled", "ferret/early"}
    assert set(_auroc(report, ONE, selection="oracle").choices) <= {"ferret/pooled", "ferret/early"}


def test_uniform_weights_take_a_single_shot(path: Path) -> None:
    report = fewshot.adapt(path, trials=2, shots=1, backbone="ferret+mobile", fuse_weights="uniform")

    assert {tuple(values) for values in _weights(report, "ferret+mobile").values()} == {(0.5, 0.5)}


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (
            {"backbone": "ferret+mobil"},
            UnknownNameError,
            r"the set 'ferret\+mobil' names it: 'mobil'; did you mean 'mo",
        ),
        ({"backbone": "ferret+ferret"}, OptionError, "names 'ferret' twice; name every backbone of a set once"),
        (
            {"backbone": "ferret", "fuse": "kernel"},
            OptionError,
            "there is one, 'ferret', with one layer; embed another",
        ),
        (
            {"fuse": "kernel", "head": "svm,lda"},
            OptionError,
            "--head names 'lda'; leave --head out, or .* --fuse scores",
        ),
        ({"backbone": "ferret+mobile", "head": "knn"}, OptionError, "kernels are summed in one SVM"),
        ({"fuse": "kernel", "shots": (1, 5)}, OptionError, "takes at least 2 shots, and --shots names 1; raise it"),
        ({"fuse": "scores", "head": "knn", "k": 3}, OptionError, "with its own defaults, and k is set otherwise"),
        ({"fuse": "kernel", "layer": "support-cv"}, OptionError, "give --layer all to fuse every layer, or fixed"),
        ({"fuse": "kernel", "support": (SUPPORTS[0][:2],)}, EpisodeError, "needs at least 2 images of every class"),
    ],
)
def test_what_cannot_be_fused_is_refused(
    path: Path, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        fewshot.adapt(path, trials=2, **options)


def test_weights_of_nothing_are_said_not_to_be_applied(path: Path) -> None:
    report = fewshot.adapt(path, trials=2, shots=2, backbone="ferret", fuse_weights="uniform")

    assert any("--fuse-weights: uniform was given and not applied" in warning for warning in report.warnings)


def test_a_fused_report_comes_out_again_from_its_file(path: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {"backbone": "ferret,mobile+noise", "fuse": "kernel", "fuse_weights": "auroc"}
    adapt_and_save([path], out=tmp_path / "r.json", trials=2, shots=4, **options)
    saved = Report.load(tmp_path / "r.json")

    assert saved.config["fuse"] == "kernel"
    assert _auroc(saved, FUSED).members == ("ferret/pooled", "mobile/pooled", "noise/pooled")
    found = replay(saved)
    assert found.equal, str(found)


def test_configurations_from_before_fusion_fuse_nothing() -> None:
    protocol = Fiser.from_config({"shots": [5], "backbone": ["npr"]})

    assert (protocol.fuse, protocol.fuse_weights) == (None, "alignment")


def test_one_store_supports_and_another_is_queried(path: Path, tmp_path: Path) -> None:
    samples = fusion_samples(80)
    samples["id"] = ["other " + value for value in samples["id"]]
    other = fusion_store(tmp_path / "other.h5", samples=samples)
    report = adapt_across([path, other], cross=True, trials=2, shots=4, fuse="kernel").report

    fused = report.where(backbone=FUSED, source="all", metric="auroc")
    assert [row.dataset for row in fused] == ["toy", "other", "toy -> other", "other -> toy"]
    assert len(report.where(backbone=FUSED, metric=WEIGHT)) == 4 * len(ALL)
