"""The data curve: exact nested subsets, the same numbers after an interruption, the paper's means and tables."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from fewshot.core.errors import EpisodeError, OptionError, UnknownNameError
from fewshot.embeddings.store.reader import FeatureStore
from fewshot.embeddings.store.writer import LayerData, write_store
from fewshot.protocols.attribution import Attribution
from fewshot.protocols.base import Result, RunContext
from fewshot.protocols.curve.finished_points import FinishedPoint, ResultCache
from fewshot.protocols.curve.layers import run_layers
from fewshot.results.report import Report
from fewshot.results.scores import name_at_point

D = 16
BRIEF: dict[str, Any] = {"steps": 60, "widths": (24,), "latent": 4, "learning_rate": 1e-3}


def make_store(
    path: Path, *, per_cell: int = 40, split: bool = True, same: bool = False, hashes: Any = 0
) -> FeatureStore:
    """Two categories x two classes to train on; three generators, one under its own naturals, to be asked."""
    generator = np.random.default_rng(0)
    basis = generator.normal(size=(2, 4, D))
    frames, features = [], []
    trained = [("nature", 0, "cat"), ("nature", 0, "dog"), ("progan", 1, "cat"), ("progan", 1, "dog")]
    asked = [("nature", 0, ""), ("progan", 1, ""), ("sd14", 1, ""), ("san", 0, ""), ("san", 1, "")]
    for part, cells in (("train", trained), ("test", asked)):
        for source, synthetic, category in cells:
            frames.append(
                pd.DataFrame(
                    {
                        "source": [source] * per_cell,
                        "synthetic": bool(synthetic),
                        "category": category if split else "",
                        "split": part if split else "",
                    }
                )
            )
            inside = generator.normal(size=(per_cell, 4)) @ basis[0 if same else synthetic]
            features.append(inside + 0.3 * generator.normal(size=(per_cell, D)))
    samples = pd.concat(frames, ignore_index=True)
    samples["key"] = samples["id"] = [f"image{row:05d}" for row in range(len(samples))]
    samples["phash"] = np.broadcast_to(np.asarray(hashes, np.uint64), len(samples))
    layer = LayerData("npr", "pooled", np.concatenate(features).astype(np.float16), default=True)
    write_store(path, samples, [layer])
    return FeatureStore(path)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    return make_store(tmp_path_factory.mktemp("store") / "toy.h5")


@pytest.fixture(scope="module")
def report(store: FeatureStore) -> Report:
    return (
        Attribution(fit_on=("natural", "synthetic"), fractions=(0.05, 0.5, 1.0), trials=2, recipe=BRIEF)
        .run(store)
        .report
    )


def kept(result: Result, kind: str) -> np.ndarray[Any, Any]:
    """Return an array of the first draw of everything, of the model fitted on natural images."""
    assert result.scores is not None
    return result.scores[name_at_point(kind, "acm:natural", 1.0, 0)]


def value(report: Report, **wanted: Any) -> float:
    (row,) = report.where(**wanted)
    return row.values[0]


def test_attribution_to_either_class_finds_the_other(report: Report) -> None:
    for head in ("acm:natural", "acm:synthetic"):
        assert value(report, head=head, fraction=1.0, source="all", metric="auroc") > 0.8


def test_every_model_is_reported_at_every_fraction_with_every_measure(report: Report) -> None:
    heads = {row.head for row in report.rows}
    assert heads == {"acm:natural", "acm:synthetic", "linear-probe", "rbf-svm"}
    for head in heads:
        for fraction, n_support in ((0.05, 8), (0.5, 80), (1.0, 160)):
            rows = report.where(head=head, fraction=fraction, source="all")
            assert {row.n_support for row in rows} == {n_support}
            assert {"average_precision", "accuracy", "f1", "auroc", "tpr_at_5_fpr"} <= {row.metric for row in rows}


def test_measures_equal_those_of_scikit_learn_on_the_kept_scores(store: FeatureStore) -> None:
    protocol = Attribution(fractions=(1.0,), trials=1, recipe=BRIEF, references=())
    result = protocol.run(store, RunContext(keep_scores=True))
    report = result.report
    rows, scores = kept(result, "rows"), kept(result, "scores").astype(np.float64)
    labels = store.synthetic[rows]
    nature_and_sd = np.isin(store.source[rows], ["nature", "sd14"]) | ((store.source[rows] == "san") & ~labels)
    own = store.source[rows] == "san"
    assert list(rows) == list(store.select({"split": "test"}))
    assert value(report, source="all", metric="auroc") == pytest.approx(roc_auc_score(labels, scores))
    assert value(report, source="sd14", metric="average_precision") == pytest.approx(
        average_precision_score(labels[nature_and_sd], scores[nature_and_sd])
    )
    assert value(report, source="san", metric="auroc") == pytest.approx(roc_auc_score(labels[own], scores[own]))


def test_group_means_are_unweighted_means_over_generators(report: Report) -> None:
    def auroc(source: str) -> float:
        return value(report, head="rbf-svm", fraction=1.0, source=source, metric="auroc")

    assert auroc("gans") == pytest.approx(auroc("progan"))
    assert auroc("diffusion") == pytest.approx(auroc("sd14"))
    assert auroc("others") == pytest.approx(auroc("san"))
    assert auroc("macro") == pytest.approx((auroc("progan") + auroc("sd14") + auroc("san")) / 3)


def test_an_interrupted_curve_resumes_at_the_last_finished_point(
    store: FeatureStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    protocol = Attribution(fractions=(0.1, 1.0), trials=2, recipe=BRIEF, references=("linear-probe",))
    whole = protocol.run(store).report
    context = RunContext(cache=tmp_path / "points")
    put = ResultCache.put
    names: list[str] = []

    def killed_at_the_fourth(self: ResultCache, name: str, point: FinishedPoint) -> None:
        names.append(name)
        if len(names) == 4:
            raise KeyboardInterrupt
        put(self, name, point)

    monkeypatch.setattr(ResultCache, "put", killed_at_the_fourth)
    with pytest.raises(KeyboardInterrupt):
        protocol.run(store, context)
    finished = {path: path.stat().st_mtime_ns for path in (tmp_path / "points").glob("*.npz")}
    resumed = protocol.run(store, context).report

    assert len(finished) == 3
    assert {path: path.stat().st_mtime_ns for path in finished} == finished
    assert resumed.compare(whole).equal
    assert resumed.supports == whole.supports


def test_points_of_another_configuration_are_not_taken(store: FeatureStore, tmp_path: Path) -> None:
    first = Attribution(fractions=(1.0,), trials=1, recipe=BRIEF, references=())
    other = Attribution(fractions=(1.0,), trials=1, recipe={**BRIEF, "steps": 5}, references=())
    for protocol in (first, other):
        protocol.run(store, RunContext(cache=tmp_path / "p"))
    assert len(list((tmp_path / "p").glob("*.npz"))) == 2


def test_trials_side_by_side_give_the_numbers_of_one_after_another(store: FeatureStore) -> None:
    options: dict[str, Any] = {"fractions": (0.5,), "trials": 3, "recipe": BRIEF, "references": ("linear-probe",)}
    apart, together = Attribution(**options).run(store).report, Attribution(**options, side_by_side=3).run(store).report
    difference = together.compare(apart, tolerance=0.02)
    assert difference.equal, difference


def test_a_source_is_attributed_against_the_naturals_and_has_its_own_references(store: FeatureStore) -> None:
    report = Attribution(fit_on=("progan",), fractions=(1.0,), trials=1, recipe=BRIEF).run(store).report
    assert {row.head for row in report.rows} == {"acm:progan", "linear-probe:progan", "rbf-svm:progan"}
    assert value(report, head="acm:progan", source="all", metric="auroc") > 0.8


def test_images_held_out_by_a_column_validate_and_the_smallest_share_also_holds_out_its_own(
    store: FeatureStore,
) -> None:
    options: dict[str, Any] = {"train": {"split": "train"}, "query": {"split": "test"}, "references": ()}
    held_out = Attribution(fractions=(0.25, 1.0), trials=1, recipe=BRIEF, validation="source=san", **options)
    report = held_out.run(store).report
    assert {(row.head, row.fraction) for row in report.rows} == {
        ("acm:natural", 0.25),
        ("acm:natural", 1.0),
        ("acm:natural, held-out", 0.25),
    }
    assert {row.n_support for row in report.rows} == {40, 160}
    assert "san" not in {row.source for row in report.rows}


def test_the_threshold_of_the_validation_images_is_measured_where_there_are_some(report: Report) -> None:
    rows = report.where(head="acm:natural", fraction=1.0, source="all", metric="accuracy_at_validation_5_fpr")
    assert 0.5 < rows[0].values[0] <= 1


def test_without_a_split_column_a_share_is_drawn_and_nothing_stands_on_both_sides(tmp_path: Path) -> None:
    store = make_store(tmp_path / "nosplit.h5", split=False)
    protocol = Attribution(fractions=(1.0,), trials=1, recipe=BRIEF, references=())
    result = protocol.run(store, RunContext(keep_scores=True))
    assert result.report.rows[0].n_support == len(store) // 2
    assert len(kept(result, "rows")) == len(store) - len(store) // 2


def test_the_default_fractions_leave_out_what_the_set_is_too_small_for(store: FeatureStore) -> None:
    report = Attribution(trials=1, recipe={**BRIEF, "steps": 2}, references=()).run(store).report
    assert sorted({row.fraction for row in report.rows if row.fraction}) == [0.1, 1.0]
    assert any(warning.startswith("left out 0.05 %, 0.1 %, 1 %") for warning in report.warnings)


def test_trials_follow_the_paper_when_none_are_given() -> None:
    settings = Attribution().settings()
    assert [settings.trials_at(f) for f in (0.0005, 0.001, 0.01, 0.1, 1.0)] == [5, 5, 5, 3, 1]


def test_identical_classes_stay_at_chance(tmp_path: Path) -> None:
    same = make_store(tmp_path / "same.h5", per_cell=100, same=True)
    report = Attribution(fractions=(1.0,), trials=1, recipe={**BRIEF, "steps": 300}).run(same).report
    for row in report.where(source="all", metric="auroc"):
        assert row.values[0] == pytest.approx(0.5, abs=3 * (1 / 12 * (1 / 200 + 1 / 300)) ** 0.5 + 0.03)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"fractions": (0.001,)}, EpisodeError, r"0.1 % of 'cat x 0' \(40 images\) is no image; .* 1.25 %"),
        ({"fractions": (1.5,)}, OptionError, "a share in"),
        ({"fit_on": ("sd14",)}, UnknownNameError, "no class or training source 'sd14'"),
        ({"train": {"source": "nature"}}, EpisodeError, "the training set has 120 natural and 0 synthetic"),
        ({"backbone": "clip"}, UnknownNameError, "no backbone in"),
        ({"recipe": {"depth": 3}}, OptionError, "not one of a training"),
        ({"train": {"split": "test"}, "query": {"split": "test"}}, EpisodeError, "both in the training set and"),
    ],
)
def test_what_cannot_be_run_is_said_in_a_sentence(
    store: FeatureStore, options: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        Attribution(**{"recipe": BRIEF, **options}).run(store)


def test_unknown_choices_are_refused_when_stated() -> None:
    with pytest.raises(UnknownNameError, match="no reference 'svm'"):
        Attribution(references=("svm",))
    with pytest.raises(OptionError, match="validation is 'some'"):
        Attribution(validation="some")


def test_above_the_bound_the_svm_is_by_landmarks_and_the_report_says_so(
    store: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fewshot.protocols.curve.models.EXACT_SVM_ROWS", 100)
    monkeypatch.setattr("fewshot.protocols.curve.models.LANDMARKS", 50)
    options: dict[str, Any] = {"fractions": (0.5, 1.0), "trials": 1, "recipe": {**BRIEF, "steps": 2}}
    report = Attribution(**options, references=("rbf-svm",)).run(store).report
    assert any("on 160 images is a linear SVM on Nystroem features of 50" in warning for warning in report.warnings)
    assert not any("on 80 images" in warning for warning in report.warnings)
    assert value(report, head="rbf-svm", fraction=1.0, source="all", metric="auroc") > 0.8


@pytest.mark.slow
def test_a_curve_over_720_000_images_has_the_exact_sizes_of_the_paper(tmp_path: Path) -> None:
    """20 categories x 2 classes x 18,000 images of few dimensions; mechanism test, synthetic features."""
    count, per_cell = 720_000, 18_000
    synthetic = np.arange(count) // per_cell % 2 == 1
    samples = pd.DataFrame(
        {
            "key": np.arange(count + 400).astype(str),
            "source": np.where(np.r_[synthetic, np.arange(400) % 2 == 1], "progan", "nature"),
            "synthetic": np.r_[synthetic, np.arange(400) % 2 == 1],
            "category": np.r_[(np.arange(count) // (2 * per_cell)).astype(str), np.full(400, "")],
            "split": np.repeat(["train", "test"], [count, 400]),
        }
    )
    generator = np.random.default_rng(0)
    features = generator.normal(size=(len(samples), 6)).astype(np.float16)
    features[samples["synthetic"], 0] += 2
    write_store(tmp_path / "big.h5", samples, [LayerData("clip", "projected", features, default=True)])

    report = (
        Attribution(trials=1, recipe={**BRIEF, "steps": 20}, references=("linear-probe",))
        .run(FeatureStore(tmp_path / "big.h5"))
        .report
    )

    sizes = [row.n_support for row in report.where(head="acm:natural", source="all", metric="auroc")]
    assert sizes == [360, 720, 7_200, 72_000, 720_000]


def test_images_that_nearly_train_too_leave_the_query(tmp_path: Path) -> None:
    hashes = np.random.default_rng(4).integers(1, 1 << 63, 360).astype(np.uint64)
    hashes[200] = hashes[3] ^ np.uint64(0b1111)  # a query image four bits from a training image
    hashes[201] = hashes[3] ^ np.uint64(0b11111)  # and one five bits from it
    store = make_store(tmp_path / "alike.h5", hashes=hashes)
    protocol = Attribution(fractions=(1.0,), trials=1, recipe={**BRIEF, "steps": 2}, references=())

    result = protocol.run(store, RunContext(keep_scores=True))

    assert set(range(160, 360)) - set(kept(result, "rows").tolist()) == {200}
    warnings = result.report.warnings
    assert any(warning.startswith("1 query images left out: an image of the training") for warning in warnings)


@pytest.fixture(scope="module")
def two_layers(store: FeatureStore, tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    """The toy store's features as one layer, and noise as another that is the default."""
    path = tmp_path_factory.mktemp("layers") / "two.h5"
    features = store.read(None, "npr", "pooled")
    noise = np.random.default_rng(7).normal(size=features.shape).astype(np.float32)
    layers = [LayerData("npr", "noise", noise, default=True), LayerData("npr", "pooled", features)]
    write_store(path, store.samples(), layers)
    return FeatureStore(path)


LAYERS: dict[str, Any] = {
    **{"fractions": (0.5,), "trials": 2, "validation_share": 0.4, "references": ("rbf-svm",)},
    "recipe": {**BRIEF, "steps": 5},
}


def test_every_layer_has_a_curve_when_all_are_wanted(two_layers: FeatureStore) -> None:
    report = Attribution(layer=("all",), **LAYERS).run(two_layers).report
    pooled, noise = (
        value(report, layer=layer, head="rbf-svm", source="all", metric="auroc") for layer in ("pooled", "noise")
    )
    assert pooled > 0.8
    assert noise < 0.65


@pytest.mark.parametrize("selection", ["support-cv", "oracle"])
def test_a_layer_is_chosen_draw_by_draw(two_layers: FeatureStore, selection: str) -> None:
    fixed = Attribution(layer=("pooled",), **LAYERS).run(two_layers).report
    report = Attribution(layer=(selection,), **LAYERS).run(two_layers).report
    assert {row.layer for row in report.rows} == {"noise", selection}  # the default stands beside the choice
    (row,) = report.where(selection=selection, head="rbf-svm", source="all", metric="average_precision")
    (same,) = fixed.where(head="rbf-svm", source="all", metric="average_precision")
    assert row.choices == ("pooled", "pooled")
    assert row.values == same.values
    named = [warning for warning in report.warnings if "query labels" in warning]
    assert bool(named) == (selection == "oracle")


def test_a_machine_is_validated_on_images_it_has_not_learnt(two_layers: FeatureStore) -> None:
    settings = Attribution(layer=("noise", "support-cv"), **LAYERS).settings()
    curve = run_layers(settings, two_layers, RunContext()).main
    (machine,) = [model for model in curve.models if model.name == "rbf-svm"]
    found = [point.validation_auroc or 0.0 for point in curve.points_at(machine, 0.5)]
    assert len(found) == 2
    assert max(found) < 0.8  # on noise; on images that it has learnt it is near 1


def test_a_choice_on_held_out_images_needs_some() -> None:
    with pytest.raises(OptionError, match="--validation none holds out no image"):
        Attribution(layer=("support-cv",), validation="none")


def test_random_weights_are_named_in_the_warnings(store: FeatureStore, tmp_path: Path) -> None:
    features = store.read(None, "npr", "pooled")
    layer = LayerData("npr", "pooled", features, default=True, provenance={"weights": {"net": "random:0"}})
    write_store(tmp_path / "random.h5", store.samples(), [layer])
    report = Attribution(**{**LAYERS, "trials": 1, "references": ()}).run(FeatureStore(tmp_path / "random.h5")).report
    assert any(warning.startswith("RANDOM WEIGHTS") for warning in report.warnings)
