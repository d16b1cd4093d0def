"""Fused heads under views: weights and choice come from clean images, whatever a perturbation does."""

from pathlib import Path

import pytest
from click.testing import CliRunner

import fewshot
from fewshot.cli import group
from fewshot.protocols.replay import replay
from fewshot.protocols.robustness import Robustness
from fewshot.results.report import Report
from fewshot.results.row import FLIP_RATE, FUSED, ONE, WEIGHT
from tests.protocols.fusion_store import fusion_store


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fusion_store(tmp_path_factory.mktemp("stores") / "views.h5", views=True)


@pytest.fixture(scope="module")
def saved(path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("reports") / "robustness.json"
    words = ["robustness", path, "--fuse", "--trials", 4, "--shots", 4, "--keep-scores", "-q", "-o", out]
    found = CliRunner().invoke(group, list(map(str, words)))
    assert found.exit_code == 0, found.output
    assert "all 3 fused" in found.stdout
    assert "weights of all 3 fused, 4 shots, mean of 4 draws:" in found.stdout
    return out


def test_clean_rows_and_weights_are_those_of_adapt(path: Path, saved: Path) -> None:
    report, beside = Report.load(saved), fewshot.adapt(path, trials=4, shots=4, fuse="kernel")

    for name in (FUSED, ONE):
        for row in beside.where(backbone=name):
            found = next(one for one in report.rows if one.key == row.key)
            assert found.values == pytest.approx(row.values, abs=1e-9)
            assert found.choices == row.choices
    assert {row.view for row in report.where(metric=WEIGHT)} == {"clean"}


def test_only_views_that_all_backbones_have_are_measured(saved: Path) -> None:
    report = Report.load(saved)

    assert {row.view for row in report.where(backbone="ferret")} == {"clean", "jpeg:50", "blur:1"}
    for name in (FUSED, ONE):
        assert {row.view for row in report.where(backbone=name)} == {"clean", "jpeg:50"}
        assert report.where(backbone=name, metric=FLIP_RATE, source="all", view="clean")[0].values == (0.0,) * 4


def test_the_backbone_chosen_on_clean_images_is_the_one_measured_under_a_view(saved: Path) -> None:
    report = Report.load(saved)
    wanted = {"source": "all", "metric": "auroc", "view": "jpeg:50"}
    (row,) = report.where(backbone=ONE, selection="support-cv", **wanted)

    single = {name: report.where(backbone=name, **wanted)[0].values for name in ("ferret", "mobile", "noise")}
    assert row.values == tuple(single[name][trial] for trial, name in enumerate(row.choices))


def test_a_fused_report_over_views_comes_out_again(saved: Path) -> None:
    found = replay(Report.load(saved))
    assert found.equal, str(found)


def test_a_set_is_measured_under_views(path: Path) -> None:
    report = Robustness(backbone=("ferret+noise",), trials=2, shots=4).run(fewshot.FeatureStore(path)).report

    assert {row.backbone for row in report.rows} == {"ferret+noise"}
    assert {row.source for row in report.where(metric=WEIGHT)} == {"ferret/pooled", "noise/pooled"}
