"""The demo runs from nothing to a page, keeps every photograph on one side, and resumes where it was stopped."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from fewshot.cli import group
from fewshot.core.errors import OutputError
from fewshot.demo.page_picture import page_picture
from fewshot.demo.story import demo_store, nearest_of_other_photographs, run_demo
from fewshot.detector.detector import Detector
from fewshot.embeddings.store.reader import FeatureStore
from fewshot.results.report import Report


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the demo runs, small: one tile of every photograph."""
    return tmp_path_factory.mktemp("demo")


@pytest.fixture(scope="module")
def done(folder: Path) -> Result:
    """The command's output on a small demo."""
    return CliRunner().invoke(group, ["demo", "-o", str(folder), "--tiles", "1", "--trials", "5", "--json", "--quiet"])


def test_demo_ends_well_and_prints_one_json_document(done: Result, folder: Path) -> None:
    assert done.exit_code == 0, done.stderr
    document = json.loads(done.stdout)
    assert set(document["nearest_accuracy"]) == {"spectrum", "efficientnet-lite0"}
    assert document["store"] == str(folder.absolute() / "images.h5")


def test_demo_says_what_is_toy_and_what_comes_next(done: Result) -> None:
    assert "What is toy about this" in done.stderr
    assert "fewshot embed YOUR-IMAGES" in done.stderr


def test_demo_leaves_store_report_picture_and_page(done: Result, folder: Path) -> None:
    assert done.exit_code == 0
    assert FeatureStore(folder / "images.h5").sources[:2] == ("autoencoder", "codebook")
    assert (folder / "demo.png").read_bytes()[:4] == b"\x89PNG"
    assert "What is toy" not in (folder / "page.html").read_text("utf-8")
    assert {row.shots for row in Report.load(folder / "report.json").rows} == {2, 5, 10}


def test_no_photograph_is_on_both_sides_of_a_trial(done: Result, folder: Path) -> None:
    assert done.exit_code == 0
    report = Report.load(folder / "report.json")
    assert report.config["group"] == "group"


def test_demo_begins_with_the_sentence_of_what_its_reports_measured(done: Result, folder: Path) -> None:
    first = " ".join(done.stderr[: done.stderr.index("1. Images and features.")].split())
    before, after = Report.load(folder / "known-generator.json"), Report.load(folder / "report.json")
    known, missed = (
        np.mean(before.where(metric="auroc", source=source)[0].values)
        for source in ("autoencoder", "transposed-convolution")
    )
    caught = np.mean(after.where(metric="auroc", source="all", head="lda", shots=10)[0].values)
    assert first.startswith("A head fitted on ")
    assert f"has an AUROC of {known:.2f} on its other images, and {missed:.2f} on those of" in first
    assert f"fitted on 10 images of 'transposed-convolution': {caught:.2f} (a single draw of 10: " in first
    assert "toys" in first


def test_no_line_of_the_demo_is_wider_than_100_columns(done: Result, folder: Path) -> None:
    lines = done.stderr.replace(str(folder), "demo").splitlines()
    assert max(map(len, lines)) <= 100


def test_no_warning_of_the_demo_says_that_a_label_is_wrong(done: Result, folder: Path) -> None:
    said = " ".join(done.stderr[done.stderr.index("5. Audit.") : done.stderr.index("6. A detector.")].split())
    assert "within one group: expected where fakes remake natural images" in said
    assert "a label is wrong" not in said
    assert "a label is wrong" not in (folder / "page.html").read_text("utf-8")
    assert "no label is wrong" in said


def test_a_second_run_uses_what_is_there(done: Result, folder: Path) -> None:
    before = (folder / "images.h5").stat().st_mtime_ns
    store = demo_store(folder, most=1)
    assert (folder / "images.h5").stat().st_mtime_ns == before
    assert store.path == (folder / "images.h5").absolute()


def test_nearest_never_answers_with_the_same_photograph(done: Result, folder: Path) -> None:
    store = FeatureStore(folder / "images.h5")
    measured = nearest_of_other_photographs(store, "spectrum")
    features = store.read(None, "spectrum", "feature").astype(np.float64)
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    likeness = unit @ unit.T
    groups = store.column("group")
    likeness[groups[:, None] == groups[None]] = -np.inf
    right = (store.source[likeness.argmax(axis=1)] == store.source).mean()
    assert measured.accuracy == pytest.approx(right)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"the folder .*file.* cannot be made: .*; give another path by -o"):
        run_demo(tmp_path / "file", say=lambda part: None)


def test_demo_ends_with_a_certified_detector_and_its_verdicts(done: Result, folder: Path) -> None:
    assert done.exit_code == 0
    detector = Detector.load(folder / "demo.detector")
    assert detector.description.alarm.kind == "certificate"
    support, judged = detector.description.support.natural, json.loads(done.stdout)["verdicts"]
    natural = len(FeatureStore(folder / "images.h5").select(source="natural"))
    assert support + len(detector.calibration_scores) + sum(judged["natural"]) == natural  # each on one side only
    assert "6. A detector." in done.stderr
    assert f"serve {folder / 'demo.detector'}" in done.stderr


def test_demo_shows_the_page_of_its_detector_where_a_browser_is_at_hand(done: Result, folder: Path) -> None:
    assert done.exit_code == 0
    said = " ".join(done.stderr[done.stderr.index("7. Its page") :].split())
    if shutil.which("chromium") and shutil.which("chromedriver"):
        assert said.startswith(f"7. Its page, with the verdict on one of these tiles: {folder / 'served.png'}.")
        with Image.open(folder / "served.png") as picture:
            assert picture.width == 1280
            assert picture.height > 1200  # the card below the zone is on it
    else:
        assert "no chromium with chromedriver is installed" in said


def test_without_a_browser_the_demo_says_so_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    lacking = page_picture(tmp_path / "a.detector", tmp_path / "a.png", tmp_path / "served.png")
    assert lacking == "no chromium with chromedriver is installed"
    assert not (tmp_path / "served.png").exists()
