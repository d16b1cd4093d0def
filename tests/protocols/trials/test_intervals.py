"""Which interval a query set gets: over draws, over images as well where there are few, none where none is known."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import fewshot
from fewshot.embeddings.store.writer import LayerData, write_store
from fewshot.protocols.fiser import Fiser
from fewshot.protocols.robustness import Robustness
from fewshot.protocols.trials.caveats import tpr_caveats
from fewshot.protocols.trials.intervals import FEW_IMAGES, kind_of
from fewshot.results.report import Report, Row
from fewshot.stats.metrics import FEWEST_NATURAL
from tests.protocols.toy_store import toy_layer, toy_logit, toy_samples, toy_store

POOLED = {"head": "svm", "source": "all", "metric": "auroc"}


def _layer(samples: pd.DataFrame, signal: float, **fields: Any) -> LayerData:
    features = np.random.default_rng(0).normal(size=(len(samples), 16)).astype(np.float32)
    features[:, 0] += np.where(samples["synthetic"], signal, -signal).astype(np.float32)
    return LayerData("net", "late", features, default=True, **fields)


@pytest.fixture(scope="module")
def twenty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty images, of which ten and ten are queried beside ten and ten that are shown."""
    samples, path = toy_samples(40), tmp_path_factory.mktemp("stores") / "twenty.h5"
    parts = [
        _layer(samples, 0.722),
        toy_layer(samples, "net", "early", signal=0.3),
        toy_logit(samples, "net", signal=1),
    ]
    write_store(path, samples, parts)
    return path


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_store(tmp_path_factory.mktemp("stores") / "many.h5")


def _one(report: Report, **wanted: Any) -> Row:
    (row,) = report.where(**wanted)
    return row


def test_twenty_images_with_an_auroc_of_0_818_have_the_wide_interval_of_their_number(twenty: Path) -> None:
    over_draws = _one(fewshot.adapt(twenty, trials=20, interval="trials"), **POOLED)
    found = _one(fewshot.adapt(twenty, trials=20), **POOLED)
    assert found.summary().mean == over_draws.summary().mean == pytest.approx(0.818, abs=0.002)
    assert (over_draws.interval, over_draws.interval_kind) == (None, None)
    assert (round(over_draws.summary().low, 2), round(over_draws.summary().high, 2)) == (0.78, 0.85)
    assert (round(found.summary().low, 2), round(found.summary().high, 2)) == (0.61, 0.93)
    assert found.interval_kind == "two-way"
    assert (found.n_query, found.n_natural) == (20, 10)


def test_a_warning_says_how_many_images_and_what_the_interval_spans(twenty: Path) -> None:
    (note,) = [note for note in fewshot.adapt(twenty, trials=10).warnings if "two-way" in note]
    assert note.startswith("10 natural and 10 synthetic images queried: intervals of the AUROC span draws and images")
    (note,) = [note for note in fewshot.adapt(twenty, trials=10, interval="trials").warnings if "two-way" in note]
    assert "intervals over draws alone say nothing of other images; --interval two-way spans both" in note


def test_a_generator_with_few_images_has_the_wide_interval_beside_a_large_pool(tmp_path: Path) -> None:
    samples = toy_samples()
    few = (samples["source"] == "sd3") & (samples["source"] == "sd3").cumsum().gt(15)
    path = toy_store(tmp_path / "few.h5", samples=samples[~few].reset_index(drop=True))
    report = fewshot.adapt(path, trials=10, backbone="net")
    kinds = {row.source: row.interval_kind for row in report.where(head="svm", metric="auroc")}
    assert kinds["sd3"] == "two-way"
    assert kinds["all"] is kinds["ldm"] is None
    assert any("fewer than 30 images of a class (14 of sd3) queried" in note for note in report.warnings)
    assert np.isnan(_one(report, head="svm", source="macro", metric="auroc").summary().low)


def test_heads_that_came_with_a_checkpoint_and_layers_that_are_chosen_have_it_too(twenty: Path) -> None:
    report = fewshot.adapt(twenty, trials=10, shots=4, layer=["support-cv", "oracle", "fixed"])
    pooled = report.where(source="all", metric="auroc")
    assert {row.selection for row in pooled} == {"fixed", "support-cv", "oracle"}
    assert {row.head for row in pooled} == {"svm", "pretrained"}
    assert all(row.interval_kind == "two-way" and row.interval is not None for row in pooled)


def test_other_measures_of_few_images_have_no_interval_over_draws(twenty: Path) -> None:
    report = fewshot.adapt(twenty, trials=10)
    accuracy = _one(report, head="svm", source="all", metric="accuracy")
    assert np.isfinite(accuracy.summary().mean)
    assert np.isnan(accuracy.summary().low)
    assert accuracy.interval_kind is None


def test_many_images_keep_the_interval_over_draws(many: Path) -> None:
    report = fewshot.adapt(many, trials=10, backbone="net")
    assert {row.interval_kind for row in report.rows} == {None}
    assert all(row.interval is None for row in report.rows if row.source != "macro")


def test_the_published_draw_keeps_the_published_interval_and_rate(twenty: Path) -> None:
    report = fewshot.adapt(twenty, trials=10, draw="fiser")
    assert all(row.interval is None for row in report.rows)
    assert np.isfinite(_one(report, head="svm", source="all", metric="tpr_at_5_fpr").values).all()
    assert any("FPR of tpr_at_5_fpr: 0.05 was given and 0.0 applied" in note for note in report.warnings)


@pytest.mark.parametrize(
    ("scarcest", "draws", "kind"),
    [
        (FEW_IMAGES - 1, 100, "two-way"),
        (FEW_IMAGES, 100, "trials"),
        (FEW_IMAGES - 1, 9, "trials"),
        (FEW_IMAGES - 1, 1, "delong"),
        (FEW_IMAGES, 1, "delong"),
    ],
)
def test_the_kind_follows_from_images_and_draws(scarcest: int, draws: int, kind: str) -> None:
    assert kind_of("auto", scarcest=scarcest, draws=draws) == kind
    assert kind_of("trials", scarcest=scarcest, draws=draws) == "trials"


def test_a_single_draw_has_the_interval_over_its_images_where_that_is_known_to_cover(twenty: Path, many: Path) -> None:
    row = _one(fewshot.adapt(many, trials=1, backbone="weak"), **POOLED)
    assert row.interval_kind == "delong"
    assert row.summary().low < row.summary().mean < row.summary().high
    near_one = _one(fewshot.adapt(twenty, trials=1, head="svm", seed=3), **POOLED)
    sure = near_one.scarcest is not None and near_one.scarcest * (1 - near_one.summary().mean) >= 2
    assert (near_one.interval is not None) == sure


def test_nineteen_natural_images_give_no_tpr_at_5_fpr_and_twenty_do(tmp_path: Path) -> None:
    for natural, given in ((FEWEST_NATURAL - 1, False), (FEWEST_NATURAL, True)):
        samples = toy_samples(120)
        kept = samples[samples["synthetic"] | ((~samples["synthetic"]).cumsum() <= natural + 2)].reset_index(drop=True)
        path = toy_store(tmp_path / f"{natural}.h5", samples=kept)
        report = fewshot.adapt(path, shots=2, trials=10, backbone="net")
        row = _one(report, head="svm", source="all", metric="tpr_at_5_fpr")
        assert row.n_natural == natural
        assert np.isfinite(row.values).all() == given
        assert np.isfinite(_one(report, **POOLED).values).all()
        notes = [note for note in report.warnings if "TPR" in note]
        assert notes == ([] if given else [f"no TPR at 5 % FPR (n/a): 19 natural images are queried, {_WHY}"])
        assert ("n/a" in report.table(["tpr_at_5_fpr"])) or given


_WHY = "of which 5 % is less than one; it takes 20"


def test_robustness_has_the_same_intervals_and_says_how_many_images_are_natural(tmp_path: Path) -> None:
    samples = toy_samples(40)
    parts = [_layer(samples, 0.7), _layer(samples, 0.6, view="jpeg:50")]
    write_store(tmp_path / "views.h5", samples, parts)
    report = Robustness(trials=10, shots=5).run(fewshot.FeatureStore(tmp_path / "views.h5")).report
    assert {row.interval_kind for row in report.where(source="all", metric="auroc")} == {"two-way"}
    assert {row.n_natural for row in report.rows} == {15}
    assert np.isnan(_one(report, source="all", metric="tpr_at_5_fpr", view="jpeg:50").values).all()
    assert np.isfinite(_one(report, source="all", metric="flip_rate", view="jpeg:50").values).all()


def test_kinds_of_intervals_survive_a_round_trip_and_reports_of_earlier_versions_keep_theirs(twenty: Path) -> None:
    report = fewshot.adapt(twenty, trials=10)
    again = Report.from_json(report.to_json())
    assert again.compare(report).equal
    assert [row.interval_kind for row in again.rows] == [row.interval_kind for row in report.rows]
    former = {name: value for name, value in report.config.items() if name not in ("interval", "fewest_natural")}
    for protocol in (Fiser, Robustness):
        found = protocol.from_config(former | {"shots": 10} if protocol is Robustness else former)
        assert (found.interval, found.fewest_natural) == ("trials", 0)


def test_a_rate_that_some_draws_lack_is_said_to_be_lacking_in_those_draws_only() -> None:
    about: dict[str, Any] = {
        "backbone": "npr",
        "layer": "pooled",
        "selection": "fixed",
        "head": "svm",
        "dataset": "toy",
        "source": "all",
    }
    sizes: dict[str, Any] = {"n_support": 20, "n_query": 80, "n_natural": 37, "shots": 10}
    auroc = Row(**about, metric="auroc", values=(0.8, 0.9, 0.9), **sizes)
    rate = Row(**about, metric="tpr_at_5_fpr", values=(0.4, float("nan"), 0.5), **sizes)
    (note,) = tpr_caveats([auroc, rate])
    assert note.startswith("no TPR at 5 % FPR in 1 of 3 draws: fewer natural images")
    assert "37" not in note
