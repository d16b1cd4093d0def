"""The few-shot protocol on stores built by hand: what it measures, what it refuses, what it says."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.svm import SVC

import fewshot
from fewshot.core.errors import EpisodeError, FewshotError, InputError, OptionError, StoreError, UnknownNameError
from fewshot.embeddings.store.reader import FeatureStore
from fewshot.embeddings.store.writer import LayerData, write_store
from fewshot.protocols.across_stores import adapt_across, adapt_and_save
from fewshot.protocols.fiser import adapt_with_scores
from fewshot.results.report import Report, Row
from fewshot.stats.intervals import delong_interval
from tests.protocols.toy_store import GENERATORS, toy_layer, toy_samples, toy_store


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_store(tmp_path_factory.mktemp("stores") / "toy.h5")


def _with_scores(path: Path, **options: Any) -> tuple[Report, Mapping[str, np.ndarray]]:
    result = adapt_with_scores(path, **options)
    assert result.scores is not None
    return result.report, result.scores


def _one(report: Report, **wanted: Any) -> Row:
    (row,) = report.where(**wanted)
    return row


def _supports(report: Report, store: FeatureStore) -> list[np.ndarray]:
    keys = {key: row for row, key in enumerate(store.column("key"))}
    return [np.array(sorted(keys[key] for key in listed)) for listed in report.supports.values()]


def test_svm_trials_equal_support_vector_machines_fitted_one_by_one(path: Path) -> None:
    report = fewshot.adapt(path, shots=10, trials=6, backbone="net")
    store = FeatureStore(path)
    features = store.read(None, "net", "late").astype(np.float64)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    for trial, support in enumerate(_supports(report, store)):
        query = np.setdiff1d(np.arange(len(store)), support)
        model = SVC(C=1.0, gamma="scale", tol=1e-10).fit(features[support], store.synthetic[support])
        scores, labels = model.decision_function(features[query]), store.synthetic[query]
        for metric, expected in (
            ("auroc", roc_auc_score(labels, scores)),
            ("average_precision", average_precision_score(labels, scores)),
            ("accuracy", np.mean((scores > 0) == labels)),
        ):
            row = _one(report, backbone="net", head="svm", source="all", metric=metric)
            assert row.values[trial] == pytest.approx(expected, abs=1e-9)


def test_each_generator_stands_against_all_natural_images(path: Path) -> None:
    report, scores = _with_scores(path, shots=5, trials=4, backbone="net")
    found, query = scores["net|late|svm|5"], scores["query"]
    for name in GENERATORS:
        row = _one(report, head="svm", source=name, metric="auroc")
        for trial in range(4):
            queried = query[trial] & (~scores["synthetic"] | (scores["source"] == name))
            expected = roc_auc_score(scores["synthetic"][queried], found[trial][queried])
            assert row.values[trial] == pytest.approx(expected, abs=1e-6)
    each = [_one(report, head="svm", source=name, metric="auroc").values for name in GENERATORS]
    np.testing.assert_allclose(_one(report, head="svm", source="macro", metric="auroc").values, np.mean(each, axis=0))


def test_head_of_the_checkpoint_is_measured_on_the_same_queries(path: Path) -> None:
    report = fewshot.adapt(path, shots=5, trials=3, backbone="net")
    store = FeatureStore(path)
    row = _one(report, head="pretrained", layer="logit", source="all", metric="auroc")
    scores = store.read(None, "net", "logit")[:, 0]
    for trial, support in enumerate(_supports(report, store)):
        query = np.setdiff1d(np.arange(len(store)), support)
        assert row.values[trial] == pytest.approx(roc_auc_score(store.synthetic[query], scores[query]))
    assert row.n_support == 0


def test_backbones_draw_the_same_supports_whatever_stands_beside_them(path: Path) -> None:
    both, alone = fewshot.adapt(path, trials=3), fewshot.adapt(path, trials=3, backbone="weak")
    assert both.supports == alone.supports
    mine, theirs = (_one(report, backbone="weak", source="all", metric="auroc") for report in (both, alone))
    assert mine.values == theirs.values


def test_shot_counts_are_nested_and_share_their_query(path: Path) -> None:
    several, most = fewshot.adapt(path, shots=(1, 5, 10), trials=3), fewshot.adapt(path, shots=10, trials=3)
    for shots in (1, 5, 10):
        row = _one(several, backbone="net", head="svm", source="all", metric="auroc", shots=shots)
        assert row.n_support == 2 * shots
        assert row.n_query == 220
    ten = _one(several, backbone="net", head="svm", source="all", metric="auroc", shots=10)
    assert ten.values == _one(most, backbone="net", head="svm", source="all", metric="auroc").values


def test_shots_reach_five_hundred_and_equal_machines_fitted_one_by_one(tmp_path: Path) -> None:
    store = toy_store(tmp_path / "many.h5", samples=toy_samples(1600))
    reports = [
        fewshot.adapt(store, shots=(1, 500), trials=2, backbone="net", solver=solver)
        for solver in ("batched", "sklearn")
    ]
    found, expected = ({row.shots: row.values for row in one.where(metric="auroc", source="all")} for one in reports)
    assert set(found) == {0, 1, 500}
    assert min(found[500]) > max(found[1])
    for shots in found:
        assert found[shots] == pytest.approx(expected[shots], abs=1e-3)


def test_per_source_draws_the_shots_of_every_source(path: Path) -> None:
    report = fewshot.adapt(path, shots=3, trials=2, per="source", backbone="net")
    store = FeatureStore(path)
    for support in _supports(report, store):
        names, counts = np.unique(store.source[support].astype(str), return_counts=True)
        assert dict(zip(names, counts, strict=True)) == dict.fromkeys(("ldm", "photos", "sd15", "sd3"), 3)


def test_stratified_draw_covers_every_generator(path: Path) -> None:
    report = fewshot.adapt(path, shots=3, trials=4, stratified=True, backbone="net")
    store = FeatureStore(path)
    for support in _supports(report, store):
        assert set(store.source[support]) == {"photos", *GENERATORS}


def test_default_layer_is_fixed_and_the_oracle_stands_beside_it(path: Path) -> None:
    fixed = fewshot.adapt(path, trials=8, backbone="net")
    assert {row.selection for row in fixed.rows} == {"fixed"}
    report = fewshot.adapt(path, trials=8, backbone="net", layer="oracle")
    every = fewshot.adapt(path, trials=8, backbone="net", layer="all")
    pooled = {"head": "svm", "source": "all", "metric": "auroc"}
    honest, oracle = (_one(report, selection=name, **pooled) for name in ("fixed", "oracle"))
    assert honest.layer == "late"
    assert honest.values == _one(fixed, **pooled).values
    best = np.max([row.values for row in every.where(**pooled)], axis=0)
    np.testing.assert_array_equal(oracle.values, best)
    assert set(oracle.choices) <= {"late", "early"}
    assert any("chosen on query labels" in note for note in report.warnings)


def test_cross_validation_inside_the_support_never_reads_query_labels(tmp_path: Path) -> None:
    samples = toy_samples()
    layers = [toy_layer(samples, "net", name, signal=s, default=s == 0.1) for name, s in (("a", 0.1), ("b", 2.0))]
    write_store(tmp_path / "true.h5", samples, layers)
    report = fewshot.adapt(tmp_path / "true.h5", trials=5, layer="support-cv")
    row = _one(report, selection="support-cv", source="all", metric="auroc")
    assert set(row.choices) == {"b"}
    drawn = {key for listed in report.supports.values() for key in listed}
    flipped = samples.copy()
    outside = ~samples["key"].isin(drawn)
    flipped.loc[outside, "synthetic"] = np.roll(samples.loc[outside, "synthetic"], 1)
    flipped.loc[outside, "source"] = np.where(flipped.loc[outside, "synthetic"], "sd15", "photos")
    write_store(tmp_path / "flipped.h5", flipped, layers)
    lists = tuple(tuple(listed) for listed in report.supports.values())
    again = fewshot.adapt(tmp_path / "flipped.h5", support=lists, layer="support-cv")
    assert _one(again, selection="support-cv", source="all", metric="auroc").choices == row.choices


def test_best_k_is_the_oracle_beside_k_of_five(path: Path) -> None:
    report = fewshot.adapt(path, shots=5, trials=3, head="knn", k="oracle", backbone="net")
    five = fewshot.adapt(path, shots=5, trials=3, head="knn", backbone="net")
    pooled = {"head": "knn", "source": "all", "metric": "auroc"}
    honest, oracle = (_one(report, selection=name, **pooled) for name in ("fixed", "oracle"))
    assert honest.values == _one(five, **pooled).values
    assert (np.array(oracle.values) >= honest.values).all()
    assert all(choice.startswith("late k=") for choice in oracle.choices)


def test_images_of_a_group_never_stand_on_both_sides(tmp_path: Path) -> None:
    samples = toy_samples(group=[f"photo {row // 4}" for row in range(240)])
    report, scores = _with_scores(toy_store(tmp_path / "g.h5", samples=samples), trials=4, group="group")
    groups = samples["group"].to_numpy()
    for support, query in zip(_supports(report, FeatureStore(tmp_path / "g.h5")), scores["query"], strict=True):
        assert not set(groups[support]) & set(groups[query])
    assert any("share a group with the support" in note for note in report.warnings)


def test_duplicates_of_the_support_leave_the_query_and_are_counted(tmp_path: Path) -> None:
    samples = toy_samples()
    samples["id"] = [f"pixels of {row % 120}" for row in range(240)]  # every picture is there twice
    report, scores = _with_scores(toy_store(tmp_path / "d.h5", samples=samples), trials=3, shots=5)
    for support, query in zip(_supports(report, FeatureStore(tmp_path / "d.h5")), scores["query"], strict=True):
        assert not set(samples["id"][support]) & set(samples["id"][np.flatnonzero(query)])
    assert any(note.startswith("duplicates of support images") for note in report.warnings)


def test_images_that_a_backbone_lacks_are_left_out_of_all_and_counted(tmp_path: Path) -> None:
    samples = toy_samples()
    present = np.arange(240) % 10 != 0
    layers = [
        toy_layer(samples, "net", "late", signal=1.0, present=present),
        toy_layer(samples, "other", "late", signal=1.0),
    ]
    write_store(tmp_path / "p.h5", samples, layers)
    report = fewshot.adapt(tmp_path / "p.h5", trials=2)
    assert {row.n_query for row in report.where(source="all")} == {240 - 24 - 20}
    assert any("24 of 240 images" in note and "net 24" in note for note in report.warnings)


def test_layers_marked_as_normalised_are_not_normalised_again(tmp_path: Path) -> None:
    samples = toy_samples()
    raw = toy_layer(samples, "raw", "x", signal=1.0)
    stretched = LayerData("kept", "x", raw.features, normalised=True)
    unit = LayerData("unit", "x", raw.features / np.linalg.norm(raw.features, axis=1, keepdims=True), normalised=True)
    write_store(tmp_path / "n.h5", samples, [raw, stretched, unit])
    report = fewshot.adapt(tmp_path / "n.h5", trials=3)
    values = {
        name: _one(report, backbone=name, source="all", metric="auroc").values for name in ("raw", "kept", "unit")
    }
    assert values["raw"] == pytest.approx(values["unit"], abs=1e-9)
    assert values["raw"] != values["kept"]


def test_scikit_learn_solver_agrees_with_the_batched_one(path: Path) -> None:
    heads = ("svm", "logistic", "prototype", "knn")
    fast, slow = (fewshot.adapt(path, trials=3, head=heads, solver=name) for name in ("batched", "sklearn"))
    ranking = ("auroc", "average_precision")
    fast, slow = (Report("fiser", {}, tuple(r for r in found.rows if r.metric in ranking)) for found in (fast, slow))
    assert fast.compare(slow, tolerance=0.005).equal


def test_support_file_is_used_as_given(path: Path, tmp_path: Path) -> None:
    (tmp_path / "support.txt").write_text("0000.png\n0001.png\n0002.png\n0003.png\n")
    report = adapt_and_save([path], support=tmp_path / "support.txt", shots=2, backbone=("net",))
    assert report.supports == {"0": ["0000.png", "0002.png", "0001.png", "0003.png"]}
    assert {row.n_query for row in report.where(source="all")} == {236}


def test_a_list_of_supports_is_taken_whole_or_cut_with_a_warning(path: Path) -> None:
    keys = [f"{row:04d}.png" for row in range(30)]
    whole = fewshot.adapt(path, support=[keys], backbone="net")
    assert {row.n_support for row in whole.where(head="svm")} == {30}
    assert not [note for note in whole.warnings if "--shots" in note]
    cut = fewshot.adapt(path, support=[keys], backbone="net", shots=5)
    assert {row.n_support for row in cut.where(head="svm")} == {10}
    assert any("lists up to 20 more images a trial than --shots takes" in note for note in cut.warnings)


def test_supports_of_a_report_per_source_can_be_used_again(path: Path, tmp_path: Path) -> None:
    first = adapt_and_save([path], out=tmp_path / "r.json", per="source", shots=3, trials=2, backbone="net")
    again = adapt_and_save([path], support=tmp_path / "r.json", per="source", shots=3, trials=2, backbone="net")
    assert again.compare(first).equal
    assert again.supports == first.supports


def test_query_produced_differently_is_refused(path: Path, tmp_path: Path) -> None:
    frame = toy_samples()
    squashed = toy_layer(frame, "net", "late", signal=1.0, default=True, provenance={"input": "squash(256)"})
    with pytest.raises(StoreError, match=r"produced differently .*the preprocessing"):
        fewshot.adapt(path, query=str(toy_store(tmp_path / "q.h5", layers={"late": squashed})), backbone="net")


@pytest.mark.parametrize("text", ["{", "5", '{"supports": 3}'])
def test_a_file_without_lists_of_keys_is_no_support(path: Path, tmp_path: Path, text: str) -> None:
    (tmp_path / "bad.json").write_text(text)
    with pytest.raises(InputError, match=r"bad\.json"):
        adapt_and_save([path], support=tmp_path / "bad.json")


def test_query_store_is_queried_whole(path: Path, tmp_path: Path) -> None:
    samples = toy_samples(60)
    samples["key"] = [f"other/{key}" for key in samples["key"]]
    samples["id"] = [f"other {value}" for value in samples["id"]]
    other = toy_store(tmp_path / "other.h5", samples=samples)
    report = fewshot.adapt(path, trials=2, query=str(other), backbone="net")
    row = _one(report, head="svm", source="all", metric="auroc")
    assert (row.n_query, row.dataset) == (60, "toy -> other")
    matrix = adapt_across([path, other], cross=True, trials=2, shots=5, backbone="net", head="svm").report
    assert {row.dataset for row in matrix.rows} == {"toy", "other", "toy -> other", "other -> toy"}


def test_data_sets_of_one_store_are_measured_apart_as_well(tmp_path: Path) -> None:
    samples = toy_samples(dataset=np.where(np.arange(240) < 120, "one", "two"))
    report = fewshot.adapt(toy_store(tmp_path / "both.h5", samples=samples), trials=2, backbone="net")
    assert {row.dataset for row in report.rows} == {"both", "one", "two"}


def test_where_chooses_the_images(path: Path) -> None:
    report = fewshot.adapt(path, trials=2, where={"source": "photos,sd15"}, backbone="net")
    assert {row.source for row in report.rows} == {"all", "sd15"}


def test_inverted_labels_are_suspected(tmp_path: Path) -> None:
    samples = toy_samples()
    layer = toy_layer(samples, "net", "x", signal=1.0)
    inverted = LayerData("net", "logit", np.where(samples["synthetic"], -1.0, 1.0)[:, None].astype(np.float32))
    write_store(tmp_path / "i.h5", samples, [layer, inverted])
    report = fewshot.adapt(tmp_path / "i.h5", trials=2)
    assert any("head pretrained: AUROC 0.000" in note and "inverted" in note for note in report.warnings)


def _backwards(samples: pd.DataFrame, backbone: str, sign: float) -> list[LayerData]:
    logit = np.where(samples["synthetic"], sign, -sign)[:, None].astype(np.float32)
    return [toy_layer(samples, backbone, "x", signal=1.0), LayerData(backbone, "logit", logit)]


def test_one_detector_that_ranks_the_wrong_way_round_says_nothing_of_the_labels(tmp_path: Path) -> None:
    samples = toy_samples()
    layers = [*_backwards(samples, "a", -1.0), *_backwards(samples, "b", 1.0), *_backwards(samples, "c", 1.0)]
    write_store(tmp_path / "i.h5", samples, layers)
    report = fewshot.adapt(tmp_path / "i.h5", trials=2)
    assert any("this detector ranks these images inverted" in note for note in report.warnings)
    assert not any("labels" in note for note in report.warnings)


def test_labels_are_doubted_when_most_detectors_or_names_of_sources_speak_against_them(tmp_path: Path) -> None:
    samples = toy_samples()
    layers = [*_backwards(samples, "a", -1.0), *_backwards(samples, "b", -1.0), *_backwards(samples, "c", 1.0)]
    write_store(tmp_path / "most.h5", samples, layers)
    most = fewshot.adapt(tmp_path / "most.h5", trials=2)
    assert any("labels may be inverted" in note and "2 of 3 detectors" in note for note in most.warnings)

    named = samples.assign(source=np.where(samples["synthetic"], "my-camera", "sd15"))
    write_store(tmp_path / "named.h5", named, _backwards(named, "a", -1.0))
    report = fewshot.adapt(tmp_path / "named.h5", trials=2)
    assert any("the source 'my-camera' is labelled synthetic" in note for note in report.warnings)


def test_no_average_over_generators_where_one_has_no_image_left(tmp_path: Path) -> None:
    samples = toy_samples()
    first = samples["source"] == GENERATORS[0]
    few = samples[~first | (first & (first.cumsum() <= 6))]
    path = toy_store(tmp_path / "few.h5", samples=few.reset_index(drop=True))
    enough, used_up = (fewshot.adapt(path, trials=2, shots=n, per="source", backbone="net") for n in (3, 6))
    assert np.isfinite(_one(enough, head="svm", source="macro", metric="auroc").values).all()
    assert np.isnan(_one(used_up, head="svm", source="macro", metric="auroc").values).all()
    assert any("no average over generators (macro) at 6 shots in 2 trials" in note for note in used_up.warnings)


def test_intervals_that_may_cover_less_are_flagged(tmp_path: Path) -> None:
    frame = toy_samples(240)
    near_one = toy_layer(frame, "net", "late", signal=3.0, default=True)
    store = toy_store(tmp_path / "easy.h5", samples=frame, layers={"late": near_one})
    (flagged,) = [note for note in fewshot.adapt(store, trials=30).warnings if "may cover less" in note]
    assert flagged.startswith("net late, head svm, 10 shots")
    assert all(f"{source} 0.99" in flagged or f"{source} 1.0" in flagged for source in ("all", *GENERATORS))


def test_ordinary_intervals_are_not_flagged_but_too_few_draws_are(path: Path) -> None:
    report = fewshot.adapt(path, trials=30, backbone="net")
    assert not [note for note in report.warnings if "may cover less" in note or "too few" in note]
    report = fewshot.adapt(path, trials=30, backbone="net", interval="two-way")
    (told,) = [note for note in report.warnings if "too few" in note]
    assert told.startswith("30 draws are too few")
    assert "take 100 or more" in told


@pytest.mark.parametrize("method", ["herding", "kcenter"])
def test_coresets_need_one_layer_to_look_at(path: Path, method: str) -> None:
    with pytest.raises(OptionError, match="choose one --backbone and one --layer"):
        fewshot.adapt(path, draw=method, trials=2)
    report = fewshot.adapt(path, draw=method, trials=2, backbone="net")
    assert len(report.supports["0"]) == 20
    assert report.supports["0"] != report.supports["1"]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"shots": 200}, EpisodeError, r"class 'natural' has 120 images .* Lower --shots"),
        ({"shots": 41, "per": "source"}, EpisodeError, r"source 'ldm' has 40 images"),
        ({"shots": 0}, OptionError, "--shots must be at least 1"),
        ({"trials": 0}, OptionError, "--trials must be at least 1"),
        ({"head": "swm"}, UnknownNameError, "did you mean 'svm'"),
        ({"backbone": "nett"}, UnknownNameError, "did you mean 'net'"),
        ({"layer": "lat", "backbone": "net"}, UnknownNameError, "did you mean 'late'"),
        ({"where": {"source": "photos"}}, InputError, "there is no synthetic image"),
        ({"where": {"colour": "red"}}, UnknownNameError, "there is no column 'colour'"),
        ({"group": "colour"}, UnknownNameError, "there is no column 'colour'"),
        ({"layer": "support-cv", "shots": 1}, OptionError, "at least 2 shots"),
        ({"support": (("nobody.png",),)}, InputError, "'nobody.png'"),
        ({"k": 0, "head": "knn"}, OptionError, "-k must be at least 1"),
    ],
)
def test_what_cannot_be_run_says_why(
    path: Path, options: dict[str, Any], error: type[FewshotError], message: str
) -> None:
    with pytest.raises(error, match=message):
        fewshot.adapt(path, **{"trials": 2, **options})


@pytest.mark.parametrize(
    ("value", "message"), [(np.nan, "NaN or infinite"), (np.inf, "NaN or infinite"), (0.0, "zero")]
)
def test_unusable_features_name_the_image_and_the_backbone(tmp_path: Path, value: float, message: str) -> None:
    samples = toy_samples()
    layer = toy_layer(samples, "net", "x", signal=1.0)
    layer.features[7] = value
    write_store(tmp_path / "bad.h5", samples, [layer])
    with pytest.raises(InputError, match=rf"'x' of 'net': the features of '0007.png' are .*{message}"):
        fewshot.adapt(tmp_path / "bad.h5", trials=2)


def test_stores_made_with_other_weights_are_not_mixed(tmp_path: Path) -> None:
    samples = toy_samples()
    for name, weights in (("a", {"net": "11"}), ("b", {"net": "22"})):
        write_store(
            tmp_path / f"{name}.h5",
            samples,
            [toy_layer(samples, "net", "x", signal=1.0, provenance={"weights": weights})],
        )
    with pytest.raises(StoreError, match="the weight files"):
        fewshot.adapt(tmp_path / "a.h5", query=str(tmp_path / "b.h5"), trials=2)
    write_store(tmp_path / "c.h5", samples, [toy_layer(samples, "other", "x", signal=1.0)])
    with pytest.raises(StoreError, match="has no backbone 'net'"):
        fewshot.adapt(tmp_path / "a.h5", query=str(tmp_path / "c.h5"), trials=2)


def test_report_file_and_scores_are_written(path: Path, tmp_path: Path) -> None:
    report = adapt_and_save([path], out=tmp_path / "r.json", keep_scores=True, trials=2, backbone=("net",))
    assert Report.load(tmp_path / "r.json").rows == report.rows
    with np.load(tmp_path / "r.npz") as scores:
        assert scores["net|late|svm|10"].shape == (2, 240)
    assert json.loads((tmp_path / "r.json").read_text())["config"]["stores"][0]["layers"].keys() == {
        "net/late",
        "net/logit",
    }
    with pytest.raises(OptionError, match="give -o"):
        adapt_and_save([path], keep_scores=True)
    with pytest.raises(FewshotError, match="no folder"):
        adapt_and_save([path], out=tmp_path / "no" / "r.json")


def test_interval_over_images_too_is_wider_and_delong_is_of_one_draw(path: Path) -> None:
    options: dict[str, Any] = {"trials": 12, "backbone": "net", "shots": 10}
    plain, wide = (fewshot.adapt(path, interval=kind, **options) for kind in ("trials", "two-way"))
    pooled = {"head": "svm", "source": "all", "metric": "auroc"}
    narrow, broad = (_one(report, **pooled).summary() for report in (plain, wide))
    assert narrow.mean == broad.mean
    assert broad.high - broad.low > narrow.high - narrow.low
    assert Report.from_json(wide.to_json()) == wide
    single, scores = _with_scores(path, interval="delong", trials=1, backbone="net")
    query, synthetic = scores["query"][0], scores["synthetic"]
    sides = [scores["net|late|svm|10"][0, query & (synthetic == side)].astype(float) for side in (False, True)]
    expected = delong_interval(*sides)
    found = _one(single, **pooled).summary()
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-6)
    with pytest.raises(OptionError, match="add --trials 1"):
        fewshot.adapt(path, interval="delong", trials=3, backbone="net")


def test_what_the_batched_solver_cannot_solve_is_solved_one_by_one(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options: dict[str, Any] = {"trials": 2, "backbone": "net"}
    expected = fewshot.adapt(path, solver="sklearn", **options)
    monkeypatch.setattr("fewshot.solvers.dual.ROUNDS", 1)
    assert fewshot.adapt(path, **options).compare(expected).equal


def test_the_average_over_five_sources_is_left_out_where_one_of_the_five_is_left(tmp_path: Path) -> None:
    samples = toy_samples(400)
    synthetic = samples["synthetic"].to_numpy()
    number = np.cumsum(synthetic) - 1
    names = np.where(number < 100, "large", np.char.add("small", (number % 4).astype(str)))
    five = samples.assign(source=np.where(synthetic, names, "photos"))
    kept = five[~synthetic | (five["source"] == "large") | (five.groupby("source").cumcount() < 12)]
    path = toy_store(tmp_path / "five.h5", samples=kept.reset_index(drop=True))
    shots: dict[str, Any] = {"per": "source", "trials": 2, "backbone": "net"}
    some, all_used = (fewshot.adapt(path, shots=n, **shots) for n in (10, 12))
    means = {row.source: row.summary().mean for row in some.where(head="svm", metric="auroc")}
    each = [value for source, value in means.items() if source not in ("all", "macro")]
    assert len(each) == 5
    assert means["macro"] == pytest.approx(np.mean(each))
    left = {row.source: np.isfinite(row.values).all() for row in all_used.where(head="svm", metric="auroc")}
    assert [source for source, there in left.items() if there] == ["all", "large"]
    assert any("no average over generators (macro) at 12 shots in 2 trials" in note for note in all_used.warnings)
