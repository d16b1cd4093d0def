"""ROC curves come from the scores kept beside a report, equal an independent answer, refuse those of another run."""

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from sklearn.metrics import roc_auc_score

from fewshot.cli import group
from fewshot.core.errors import ReportError
from fewshot.figures.roc import GRID
from fewshot.page.charts import charts
from fewshot.page.curves import roc_charts
from fewshot.results.report import Confusion, Report
from fewshot.results.row import Row
from fewshot.results.scores import scores_beside
from tests.protocols.toy_store import toy_store

BRIEF = ("--trials", "3", "--quiet")


@pytest.fixture(scope="module")
def adapted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of ``adapt`` with its scores beside it."""
    folder = tmp_path_factory.mktemp("adapted")
    store = toy_store(folder / "store.h5")
    out = folder / "report.json"
    done = CliRunner().invoke(group, ["adapt", str(store), "--shots", "2,5", "-o", str(out), "--keep-scores", *BRIEF])
    assert done.exit_code == 0, done.output
    return out


def test_command_draws_one_curve_per_detector_from_the_scores(adapted: Path, tmp_path: Path) -> None:
    out = tmp_path / "page.html"
    done = CliRunner().invoke(group, ["report", str(adapted), "-o", str(out)])

    assert done.exit_code == 0, done.output
    page = out.read_text("utf-8")
    assert "ROC of all images, at the largest support" in page
    assert "share of natural images called synthetic" in page


def test_curves_have_the_area_of_the_scores_of_the_largest_support(adapted: Path) -> None:
    (chart,) = roc_charts(Report.load(adapted), scores_beside(adapted))

    (axes,) = chart.figure.axes
    lines = {str(line.get_label()): np.asarray(line.get_ydata()) for line in axes.lines}
    with np.load(adapted.with_suffix(".npz")) as kept:
        areas = [
            roc_auc_score(kept["synthetic"][asked], scores[asked])
            for scores, asked in zip(kept["net|late|svm|5"], kept["query"], strict=True)
        ]
    assert {name for name in lines if not name.startswith("_")} == {"net", "weak"}
    assert np.trapezoid(lines["net"], GRID) == pytest.approx(np.mean(areas), abs=0.01)


def test_scores_of_another_run_are_refused(adapted: Path) -> None:
    kept = scores_beside(adapted)
    kept["net|late|svm|5"] = -kept["net|late|svm|5"]

    with pytest.raises(ReportError, match=r"are of another run: net svm has AUROC .* run again with --keep-scores"):
        list(roc_charts(Report.load(adapted), kept))


def test_a_file_that_is_no_archive_is_named(tmp_path: Path) -> None:
    (tmp_path / "report.npz").write_text("no zip")

    with pytest.raises(ReportError, match=r"report\.npz cannot be read .* run again with --keep-scores"):
        scores_beside(tmp_path / "report.json")


def test_a_report_without_scores_has_no_curves(adapted: Path, tmp_path: Path) -> None:
    assert list(roc_charts(Report.load(adapted), scores_beside(tmp_path / "none.json"))) == []


def test_several_stores_have_a_curve_each(tmp_path: Path) -> None:
    stores = [str(toy_store(tmp_path / f"{name}.h5")) for name in ("one", "two")]
    out = tmp_path / "report.json"
    done = CliRunner().invoke(group, ["adapt", *stores, "-b", "net", "-o", str(out), "--keep-scores", *BRIEF])
    assert done.exit_code == 0, done.output

    (chart,) = roc_charts(Report.load(out), scores_beside(out))
    labels = {str(line.get_label()) for line in chart.figure.axes[0].lines}
    assert {label for label in labels if not label.startswith("_")} == {"net one", "net two"}


def test_scores_of_an_attribution_curve_are_drawn(tmp_path: Path) -> None:
    store, out = toy_store(tmp_path / "store.h5"), tmp_path / "curve.json"
    options = ("--fractions", "50%,100%", "--steps", "20", "--widths", "8", "--latent", "2", "-b", "net")
    asked = ["attribute", str(store), "-o", str(out), "--keep-scores", "--reference", "linear-probe", *options, *BRIEF]
    done = CliRunner().invoke(group, asked)
    assert done.exit_code == 0, done.output

    (chart,) = roc_charts(Report.load(out), scores_beside(out))
    labels = {str(line.get_label()) for line in chart.figure.axes[0].lines}
    assert {"net linear-probe", "net acm:natural", "net acm:synthetic"} <= labels


def test_confusion_of_a_report_is_drawn_and_survives_its_file(tmp_path: Path) -> None:
    row = Row("npr", "pooled", "fixed", "knn", "toy", "all", "accuracy", 0, 4, (0.75,))
    report = Report("nearest", {}, (row,), confusion=Confusion(("natural", "sd3"), ((3, 1), (0, 0))))

    loaded = Report.load(report.save(tmp_path / "nearest.json"))

    assert loaded == report
    figures = [chart.figure for chart in charts(loaded)]
    assert [text.get_text() for text in figures[-1].axes[0].texts] == ["75", "25", "0", "0"]


def test_checkpoints_own_head_is_a_line_across_and_no_point_of_the_curve() -> None:
    def row(head: str, shots: int, values: tuple[float, ...]) -> Row:
        return Row("net", "late", "fixed", head, "toy", "all", "auroc", 2 * shots, 80, values, shots=shots)

    rows = (row("svm", 1, (0.5, 0.7)), row("svm", 10, (0.8, 0.9)), row("pretrained", 0, (0.75, 0.75)))
    (chart,) = charts(Report("fiser", {}, rows))

    fitted, across = chart.figure.axes[0].lines
    assert np.asarray(fitted.get_xdata()).tolist() == [1, 10]
    assert np.asarray(across.get_ydata()).tolist() == [0.75, 0.75]
