"""``--scale`` and transductive heads in the protocols: rows, choices, warnings, and what no score may depend on."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import fewshot
from fewshot.cli import group
from fewshot.core.errors import OptionError
from fewshot.embeddings.store.reader import FeatureStore
from fewshot.embeddings.store.writer import LayerData, write_store
from fewshot.protocols.fiser import adapt_with_scores
from fewshot.protocols.replay import replay
from fewshot.protocols.robustness import Robustness
from fewshot.results.report import Report
from tests.protocols.toy_store import toy_samples

TRIALS = 12


def _features(synthetic: np.ndarray, *, large: bool, seed: int) -> np.ndarray:
    """Return features whose class stands in a small dimension beside a large one, or in equal ones."""
    generator = np.random.default_rng(seed)
    rows = generator.normal(size=(len(synthetic), 8)) + np.where(synthetic, 1.5, -1.5)[:, None] * np.eye(8)[0]
    return np.asarray(rows * np.where(large, [1, 1, 1, 1, 1, 1, 1, 60], 1), dtype=np.float32)


def _store(path: Path, *, shuffled: bool = False) -> Path:
    frame = toy_samples(200)
    synthetic = frame["synthetic"].to_numpy()
    if shuffled:
        synthetic = np.random.default_rng(3).permutation(synthetic)
    layers = [
        LayerData("mixed", "pooled", _features(synthetic, large=True, seed=1), default=True),
        LayerData("mixed", "other", _features(synthetic, large=False, seed=2)),
        LayerData("mixed", "pooled", _features(synthetic, large=True, seed=3), view="jpeg:50", default=True),
        LayerData("mixed", "other", _features(synthetic, large=False, seed=4), view="jpeg:50"),
    ]
    write_store(path, frame, layers)
    return path


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _store(tmp_path_factory.mktemp("scales") / "mixed.h5")


def _adapt(path: Path, **options: Any) -> Report:
    return fewshot.adapt(path, **{"shots": 6, "trials": TRIALS, **options})


def _auroc(report: Report, **wanted: Any) -> float:
    (row,) = report.where(source="all", metric="auroc", **wanted)
    return float(np.mean(row.values))


def test_standardising_helps_where_one_dimension_drowns_the_others(path: Path) -> None:
    unit, standard = _auroc(_adapt(path)), _auroc(_adapt(path, scale="standard"), head="svm (standard)")
    assert standard > unit + 0.1


def test_auto_chooses_in_every_trial_and_says_what(path: Path) -> None:
    report = _adapt(path, scale="auto")
    (row,) = report.where(source="all", metric="auroc")
    assert (row.head, row.selection, row.layer) == ("svm (auto)", "support-cv", "pooled")
    assert len(row.choices) == TRIALS
    assert set(row.choices) <= {"pooled unit", "pooled standard"}
    unit, standard = (_adapt(path, scale=scale).rows for scale in ("unit", "standard"))
    expected = [
        (unit if choice == "pooled unit" else standard)[0].values[trial] for trial, choice in enumerate(row.choices)
    ]
    assert list(report.rows[0].values) == expected


def test_with_a_choice_of_layers_the_candidates_are_layers_on_scales(path: Path) -> None:
    report = _adapt(path, scale="auto", layer=["support-cv"], head="prototype")
    (row,) = report.where(layer="support-cv", source="all", metric="auroc")
    named = {f"{layer} {scale}" for layer in ("pooled", "other") for scale in ("unit", "standard")}
    assert set(row.choices) <= named
    assert "other unit" in row.choices


def test_pool_and_transductive_heads_are_named_in_rows_and_warnings(path: Path) -> None:
    for options, label in (
        ({"scale": "pool"}, "svm (pool)"),
        ({"head": "soft-k-means"}, "soft-k-means (transductive)"),
        ({"head": "laplacian-shot"}, "laplacian-shot (transductive)"),
    ):
        report = _adapt(path, **options)
        assert {row.head for row in report.rows} == {label}
        (warning,) = [note for note in report.warnings if "transductive" in note]
        assert warning.startswith(f"{label} is transductive: beside its support it looks at the features of the 188 ")
    assert not any("transductive" in note for note in _adapt(path, scale="auto").warnings)


def test_kept_scores_of_auto_are_those_of_the_choice(path: Path) -> None:
    found = adapt_with_scores(path, shots=6, trials=TRIALS, scale="auto").scores
    parts = {
        scale: adapt_with_scores(path, shots=6, trials=TRIALS, scale=scale).scores for scale in ("unit", "standard")
    }
    (row,) = _adapt(path, scale="auto").where(source="all", metric="auroc")
    assert found is not None
    (name,) = [name for name in found if "svm" in name]
    for trial, choice in enumerate(row.choices):
        scale = choice.removeprefix("pooled ")
        label = "svm" if scale == "unit" else f"svm ({scale})"
        scores = parts[scale]
        assert scores is not None
        np.testing.assert_array_equal(found[name][trial], scores[name.replace("svm (auto)", label)][trial])


@pytest.mark.parametrize("options", [{"scale": "auto"}, {"scale": "pool"}, {"head": "soft-k-means"}])
def test_a_report_replays_on_its_scale(path: Path, options: dict[str, str]) -> None:
    assert replay(_adapt(path, **options)).equal


@pytest.mark.parametrize("options", [{"scale": "auto"}, {"scale": "pool"}, {"head": "laplacian-shot"}])
def test_one_after_another_gives_the_same(path: Path, options: dict[str, str]) -> None:
    fast, slow = (_adapt(path, solver=solver, trials=4, **options) for solver in ("batched", "sklearn"))
    for one, other in zip(fast.rows, slow.rows, strict=True):
        np.testing.assert_allclose(one.values, other.values, rtol=0, atol=1e-9)


def test_a_scale_that_a_head_does_not_take_is_said_and_not_applied(path: Path) -> None:
    report = _adapt(path, scale="standard", head=["soft-k-means", "prototype"])
    assert {row.head for row in report.rows} == {"soft-k-means (transductive)", "prototype (standard)"}
    (note,) = [note for note in report.warnings if "--scale" in note]
    assert "standard was given and not applied, for it is transductive" in note


@pytest.mark.parametrize("head", ["svm (auto)", "svm (standard)", "svm (pool)"])
def test_robustness_takes_every_scale_and_flips_nothing_on_clean_images(path: Path, head: str) -> None:
    scale: Any = head.removeprefix("svm (").removesuffix(")")
    protocol = Robustness(scale=scale, shots=6, trials=4, layer=("fixed", "support-cv"))
    report = protocol.run(FeatureStore(path)).report
    assert {row.head for row in report.rows} == {head}
    clean = report.where(view="clean", source="all", metric="flip_rate", layer="pooled")
    assert [row.values for row in clean] == [(0.0,) * 4]
    adapted = _adapt(path, scale=scale, trials=4)
    assert report.where(view="clean", source="all", metric="auroc", layer="pooled")[0].values == pytest.approx(
        adapted.where(source="all", metric="auroc")[0].values, abs=1e-9
    )


@pytest.mark.parametrize(
    "options", [{"scale": "standard"}, {"scale": "auto"}, {"scale": "pool"}, {"head": "soft-k-means"}]
)
def test_labels_that_say_nothing_give_chance(tmp_path: Path, options: dict[str, str]) -> None:
    report = _adapt(_store(tmp_path / "noise.h5", shuffled=True), trials=30, **options)
    assert _auroc(report) == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scale": "auto", "shots": 1}, "--scale auto needs at least 2 shots"),
        ({"scale": "standard", "head": "knn", "k": "oracle"}, "-k oracle is of features of unit length"),
        ({"scale": "auto", "fuse": "kernel"}, "--scale auto is for one backbone at a time"),
        ({"head": "soft-k-means", "fuse": "scores"}, "is transductive and is not fused"),
    ],
)
def test_what_cannot_be_scaled_is_refused(path: Path, tmp_path: Path, options: dict[str, Any], message: str) -> None:
    frame = toy_samples(60)
    layers = [
        LayerData(name, "pooled", _features(frame["synthetic"].to_numpy(), large=False, seed=seed), default=True)
        for seed, name in enumerate(("a", "b"))
    ]
    write_store(tmp_path / "two.h5", frame, layers)
    with pytest.raises(OptionError, match=message):
        _adapt(tmp_path / "two.h5", **options)


def test_the_option_reaches_the_report_from_the_command_line(path: Path, tmp_path: Path) -> None:
    out = tmp_path / "report.json"
    arguments = ["adapt", str(path), "--scale", "pool", "--trials", "3", "--shots", "4", "-q", "-o", str(out)]
    done = CliRunner().invoke(group, arguments)
    assert done.exit_code == 0, done.output
    assert "svm (pool)" in done.stdout
    assert "svm (pool) is transductive" in " ".join(done.stderr.split())
    assert Report.load(out).config["scale"] == "pool"
