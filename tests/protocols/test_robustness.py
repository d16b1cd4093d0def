"""Robustness: nothing flips without a perturbation, everything does when the sign turns, queries stay the same."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from sklearn.metrics import roc_auc_score

from fewshot.cli import group
from fewshot.core.errors import InputError, OptionError, StoreError, UnknownNameError
from fewshot.embeddings.layer_key import LayerKey
from fewshot.embeddings.store.reader import FeatureStore
from fewshot.embeddings.store.writer import LayerData, write_store
from fewshot.heads.base import HEADS
from fewshot.heads.minder import Minder
from fewshot.heads.rigid import Rigid
from fewshot.page.curves import roc_charts
from fewshot.protocols.fiser import adapt
from fewshot.protocols.robustness import Robustness
from fewshot.protocols.trials.pool import load_pool
from fewshot.results.report import Report
from fewshot.results.scores import kept_of_draws, scores_beside
from fewshot.solvers.view_distance import cosine_distance

COUNT, D = 120, 6


def features() -> dict[str, np.ndarray]:
    """Clean features and four perturbations: none at all, inverted, weakened, and noise that moves fakes farther."""
    generator = np.random.default_rng(0)
    synthetic = np.arange(COUNT) % 2 == 1
    clean = generator.normal(size=(COUNT, D)) + np.where(synthetic, 2.0, -2.0)[:, None] * np.eye(D)[0]
    noise = generator.normal(size=(COUNT, D))
    moved = clean + noise * np.where(synthetic, 0.6, 0.1)[:, None]
    return {
        "clean": clean,
        "jpeg:100": clean,
        "blur:4": clean * (1 - 2 * np.eye(D)[0]),
        "jpeg:30": clean + 2 * noise,
        "input-noise:0.05": moved,
        "jpeg:30+input-noise:0.05": moved + 2 * noise,
    }


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    synthetic = np.arange(COUNT) % 2 == 1
    sources = np.where(synthetic, np.where(np.arange(COUNT) % 4 == 1, "sd15", "glide"), "nature")
    samples = pd.DataFrame({"key": np.arange(COUNT).astype(str), "source": sources, "synthetic": synthetic})
    layers = []
    for view, rows in features().items():
        layers.append(LayerData("npr", "pooled", rows.astype(np.float32), view=view, default=True))
        layers.append(LayerData("npr", "logit", rows[:, :1].astype(np.float32), view=view))
    found = tmp_path_factory.mktemp("views") / "views.h5"
    write_store(found, samples, layers)
    return found


@pytest.fixture(scope="module")
def report(path: Path) -> Report:
    return Robustness(shots=10, trials=4).run(FeatureStore(path)).report


def values(report: Report, **wanted: Any) -> list[float]:
    (row,) = report.where(**wanted)
    return list(row.values)


def test_an_unchanged_view_flips_nothing_and_measures_the_same(report: Report) -> None:
    assert values(report, head="svm", view="jpeg:100", source="all", metric="flip_rate") == [0.0] * 4
    for metric in ("auroc", "accuracy"):
        clean, same = (
            values(report, head="svm", view=view, source="all", metric=metric) for view in ("clean", "jpeg:100")
        )
        np.testing.assert_allclose(same, clean, atol=1e-9)


def test_a_view_that_inverts_the_evidence_flips_the_verdicts(report: Report) -> None:
    assert min(values(report, head="svm", view="clean", source="all", metric="auroc")) > 0.9
    assert max(values(report, head="svm", view="blur:4", source="all", metric="auroc")) < 0.1
    assert min(values(report, head="svm", view="blur:4", source="all", metric="flip_rate")) > 0.8


def test_the_pretrained_head_is_measured_without_support(report: Report, path: Path) -> None:
    store = FeatureStore(path)
    for view in ("clean", "jpeg:30"):
        logit = store.read(None, "npr", "logit", view=view)[:, 0]
        expected = roc_auc_score(store.synthetic, logit)
        found = values(report, head="pretrained", view=view, source="all", metric="auroc")
        np.testing.assert_allclose(found, expected, atol=0.05)  # each draw asks all but its 20 support images
    said = [store.read(None, "npr", "logit", view=view)[:, 0] > 0 for view in ("clean", "jpeg:30")]
    flips = values(report, head="pretrained", view="jpeg:30", source="all", metric="flip_rate")
    np.testing.assert_allclose(np.mean(flips), np.mean(said[0] != said[1]), atol=0.05)


def test_the_flip_rate_of_a_generator_counts_its_own_images(report: Report) -> None:
    pooled = np.mean(values(report, head="svm", view="jpeg:30", source="all", metric="flip_rate"))
    each = [
        np.mean(values(report, head="svm", view="jpeg:30", source=s, metric="flip_rate")) for s in ("sd15", "glide")
    ]
    assert 0 < pooled < 0.5
    assert each[0] != each[1]


def test_views_of_the_input_are_not_measured_unless_they_are_named(report: Report, path: Path) -> None:
    assert {row.view for row in report.rows} == {"clean", "jpeg:100", "blur:4", "jpeg:30"}
    named = Robustness(view=("input-noise:0.05",), trials=1).run(FeatureStore(path)).report
    assert {row.view for row in named.rows} == {"clean", "input-noise:0.05"}


def test_a_head_on_two_views_sees_its_own_perturbation_on_top(path: Path) -> None:
    report = Robustness(head=("rigid",), view=("jpeg:30",), trials=3).run(FeatureStore(path)).report
    clean, jpeg = (
        values(report, head="rigid", view=view, source="all", metric="auroc") for view in ("clean", "jpeg:30")
    )
    rows, synthetic = features(), np.arange(COUNT) % 2 == 1
    for found, base in ((clean, ""), (jpeg, "jpeg:30+")):
        distance = cosine_distance(rows[base[:-1] or "clean"], rows[f"{base}input-noise:0.05"])
        np.testing.assert_allclose(found, roc_auc_score(synthetic, distance), atol=0.08)


def test_rigid_runs_in_the_few_shot_protocol(path: Path) -> None:
    report = adapt(FeatureStore(path), head="rigid", shots=10, trials=3)
    assert min(values(report, head="rigid", source="all", metric="auroc")) > 0.9


def test_a_missing_view_says_which_and_how_to_add_it(path: Path) -> None:
    assert Minder.views[0] == Rigid.views[0] == "clean"
    with pytest.raises(StoreError, match=r"'minder' needs the view 'input-noise:0.009:unit' .* --view input-noise"):
        Robustness(head=("minder",), trials=1).run(FeatureStore(path))


def test_what_cannot_be_measured_is_said(path: Path, tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'jpeg:30'"):
        Robustness(view=("jpeg:31",)).run(FeatureStore(path))
    samples = pd.DataFrame({"key": ["a", "b"], "source": ["x", "y"], "synthetic": [False, True]})
    write_store(tmp_path / "plain.h5", samples, [LayerData("npr", "pooled", np.eye(2, dtype=np.float32))])
    with pytest.raises(InputError, match="holds no perturbed view of npr"):
        Robustness().run(FeatureStore(tmp_path / "plain.h5"))


def test_the_command_prints_views_with_their_flip_rate(path: Path, tmp_path: Path) -> None:
    out = tmp_path / "robust.json"
    run = CliRunner().invoke(group, ["robustness", str(path), "--trials", "2", "-o", str(out), "--quiet"])
    assert run.exit_code == 0, run.output
    assert "flips" in run.stdout
    assert "blur:4" in run.stdout
    assert {row.metric for row in Report.load(out).rows} >= {"auroc", "flip_rate"}


def test_scores_are_kept_by_view_and_are_those_of_the_rows(path: Path, tmp_path: Path) -> None:
    out = tmp_path / "r.json"
    options = ["--trials", "2", "--view", "jpeg:30", "--keep-scores", "-q"]
    run = CliRunner().invoke(group, ["robustness", str(path), "-o", str(out), *options])
    assert run.exit_code == 0, run.output
    report, kept = Report.load(out), scores_beside(out)
    for view in ("clean", "jpeg:30"):
        (row,) = report.where(head="svm", view=view, source="all", metric="auroc")
        found = kept_of_draws(row, kept)
        assert found is not None
        measured = [
            roc_auc_score(found.masks.synthetic[query], scores[query])
            for scores, query in zip(found.scores, found.masks.query, strict=True)
        ]
        assert row.values == pytest.approx(measured, abs=1e-6)
    assert list(roc_charts(report, kept))


def test_a_head_gets_raw_features_where_it_wants_them_and_unit_ones_elsewhere(path: Path) -> None:
    store = FeatureStore(path)
    pool = load_pool(store, backbones=["npr"])
    clean = store.read(None, "npr", "pooled")
    raw, unit = (pool.for_head(HEADS.load(name)(), LayerKey("npr", "pooled")) for name in ("acm", "svm"))
    np.testing.assert_array_equal(raw, clean)
    np.testing.assert_allclose(unit, clean / np.linalg.norm(clean, axis=1, keepdims=True), rtol=1e-6)
    np.testing.assert_array_equal(unit, pool.features(LayerKey("npr", "pooled")))


@pytest.fixture
def two_layers(tmp_path: Path) -> FeatureStore:
    """A default layer of noise, and another whose first column tells the classes; JPEG hides it."""
    synthetic = np.arange(COUNT) % 2 == 1
    samples = pd.DataFrame({"key": np.arange(COUNT).astype(str), "source": np.where(synthetic, "gan", "nature")})
    samples = samples.assign(synthetic=synthetic, format=np.where(synthetic, "PNG", "JPEG"))
    noise = np.random.default_rng(1).normal(size=(2, COUNT, D)).astype(np.float32)
    signal = np.where(synthetic, 2.0, -2.0).astype(np.float32)[:, None] * np.eye(D, dtype=np.float32)[0]
    layers = []
    for view, kept in (("clean", 1.0), ("jpeg:30", 0.0)):
        layers.append(LayerData("npr", "noise", noise[0], view=view, default=True))
        layers.append(LayerData("npr", "signal", noise[1] + np.float32(kept) * signal, view=view))
    write_store(tmp_path / "two.h5", samples, layers)
    return FeatureStore(tmp_path / "two.h5")


def test_every_layer_is_measured_when_all_are_wanted(two_layers: FeatureStore) -> None:
    report = Robustness(trials=3, layer=("all",)).run(two_layers).report
    assert min(values(report, layer="signal", view="clean", source="all", metric="auroc")) > 0.9
    assert max(values(report, layer="noise", view="clean", source="all", metric="auroc")) < 0.75
    assert {row.selection for row in report.rows} == {"fixed"}


@pytest.mark.parametrize("selection", ["support-cv", "oracle"])
def test_a_layer_is_chosen_on_clean_images_and_kept_under_every_view(two_layers: FeatureStore, selection: str) -> None:
    fixed = Robustness(trials=3, layer=("noise", "signal")).run(two_layers).report
    report = Robustness(trials=3, layer=(selection,)).run(two_layers).report
    chosen = report.where(selection=selection, source="all")
    assert {row.choices for row in chosen} == {("signal",) * 3}
    for view in ("clean", "jpeg:30"):
        for metric in ("auroc", "flip_rate"):
            about = {"view": view, "metric": metric, "source": "all"}
            assert values(report, layer=selection, **about) == values(fixed, layer="signal", **about)
    assert {row.layer for row in report.where(selection="fixed")} == {"noise"}  # the default stands beside the choice


def test_an_oracle_is_named_in_the_warnings(two_layers: FeatureStore) -> None:
    report = Robustness(trials=2, layer=("oracle",)).run(two_layers).report
    assert any("oracle" in warning and "query labels" in warning for warning in report.warnings)
    assert not any("query labels" in warning for warning in Robustness(trials=2).run(two_layers).report.warnings)


def test_file_metadata_that_separates_the_classes_is_in_the_warnings(two_layers: FeatureStore) -> None:
    (warning,) = [
        text for text in Robustness(trials=2).run(two_layers).report.warnings if "file metadata alone" in text
    ]
    assert "AUROC 1.000" in warning


def test_all_stands_alone(two_layers: FeatureStore) -> None:
    with pytest.raises(OptionError, match="--layer all stands alone"):
        Robustness(layer=("all", "oracle")).run(two_layers)


def test_a_layer_for_a_head_on_two_views_is_chosen_by_its_distances(tmp_path: Path) -> None:
    synthetic = np.arange(COUNT) % 2 == 1
    samples = pd.DataFrame({"key": np.arange(COUNT).astype(str), "source": np.where(synthetic, "gan", "nature")})
    generator = np.random.default_rng(2)
    clean, noise = generator.normal(size=(2, COUNT, D)) * np.array([1.0, 0.3])[:, None, None]
    moved = {"deaf": clean + noise, "hears": clean + noise * np.where(synthetic, 1.0, 0.1)[:, None]}
    layers = [
        LayerData("npr", layer, rows.astype(np.float32), view=view, default=layer == "deaf")
        for layer in moved
        for view, rows in (("clean", clean), ("input-noise:0.05", moved[layer]))
    ]
    write_store(tmp_path / "hears.h5", samples.assign(synthetic=synthetic), layers)
    report = adapt(FeatureStore(tmp_path / "hears.h5"), head="rigid", shots=10, trials=3, layer="support-cv")
    assert {row.choices for row in report.where(selection="support-cv")} == {("hears",) * 3}
