"""``fit --from``, ``inspect``, ``verify`` and ``card`` on detectors, and ``suggest``: what is printed, and refused."""

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from fewshot.cli import group
from fewshot.detector.detector import Detector
from tests.detector.made_inputs import make_store, write_images


def fewshot(*arguments: str | Path) -> Result:
    return CliRunner().invoke(group, list(map(str, arguments)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    make_store(folder / "support.h5", natural=8, synthetic=8, seed=1)
    make_store(folder / "naturals.h5", natural=30, seed=2)
    make_store(folder / "added.h5", natural=4, synthetic=4, seed=3)
    make_store(folder / "check.h5", natural=15, synthetic=15, seed=4)
    options: list[str | Path] = [
        "--naturals",
        folder / "naturals.h5",
        "--max-false-alarms",
        "10%",
        "-o",
        folder / "old.detector",
    ]
    assert fewshot("fit", folder / "support.h5", *options).exit_code == 0
    return folder


def test_a_successor_is_compared_in_lines_and_as_json(folder: Path, tmp_path: Path) -> None:
    given: list[str | Path] = [
        "fit",
        "--from",
        folder / "old.detector",
        "--add",
        folder / "added.h5",
        "--check",
        folder / "check.h5",
    ]
    lines = fewshot(*given, "-o", tmp_path / "new.detector")
    assert lines.exit_code == 0, lines.output
    assert "added        4 natural, 4 synthetic to the support" in lines.stdout
    assert "false alarms old " in lines.stdout
    assert "from 15 images" in lines.stdout
    document = json.loads(fewshot(*given, "-o", tmp_path / "new.detector", "--json").stdout)
    assert document["parent"] == Detector.load(folder / "old.detector").digest
    assert document["added"]["new"] == {"natural": 4, "synthetic": 4, "sources": {"camera": 4, "model": 4}}
    assert [each["name"] for each in document["check"]["measures"]] == ["false alarms", "misses", "unsure", "AUROC"]
    assert {"old", "new", "difference", "p_holm", "word", "sentence"} <= set(document["check"]["measures"][0])


def test_options_that_are_not_given_are_the_parents(folder: Path, tmp_path: Path) -> None:
    given: list[str | Path] = [
        "fit",
        "--from",
        folder / "old.detector",
        "--add",
        folder / "added.h5",
        "-o",
        tmp_path / "new.detector",
    ]
    assert json.loads(fewshot(*given, "--json").stdout)["alarm"]["share"] == 0.1
    refused = fewshot(*given, "--max-false-alarms", "5%")
    assert refused.exit_code == 1
    assert "5 % needs 59, you gave 30; 10 % can be certified" in refused.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["support.h5", "--from", "old.detector", "--add", "added.h5"], "support cannot be used here: --from keeps"),
        (["--from", "old.detector", "--add", "added.h5", "-b", "net"], "--backbone cannot be used here"),
        (["--from", "old.detector", "--add", "added.h5", "--shots", "3"], "--shots cannot be used here"),
        (["--from", "old.detector", "--add", "added.h5", "--where", "a=b"], "--where cannot be used here"),
        (["support.h5", "--add", "added.h5"], "--add cannot be used here: they are of a successor"),
        (["support.h5", "--check", "check.h5"], "--check cannot be used here"),
        ([], "give SUPPORT, labelled images of both classes, or --from OLD.detector with --add"),
    ],
)
def test_options_that_would_not_be_used_are_refused(folder: Path, arguments: list[str], says: str) -> None:
    paths = [str(folder / each) if "." in each else each for each in arguments]
    refused = fewshot("fit", *paths, "-o", folder / "x.detector")
    assert refused.exit_code == 2
    assert says in refused.stderr.replace("SUPPORT cannot", "support cannot")
    assert not (folder / "x.detector").exists()


def test_inspect_takes_detectors_beside_stores(folder: Path) -> None:
    shown = fewshot("inspect", folder / "old.detector", folder / "support.h5")
    assert shown.exit_code == 0, shown.output
    assert "detector 'old', version 1" in " ".join(shown.stdout.split())
    assert "support.h5" in shown.stdout
    document = json.loads(fewshot("inspect", "--json", folder / "old.detector").stdout)
    assert document["digest"] == Detector.load(folder / "old.detector").digest
    assert "at most 10 of 100" in document["promises"][0]


def test_a_detector_under_another_name_is_known_by_its_content(folder: Path, tmp_path: Path) -> None:
    shutil.copy(folder / "old.detector", tmp_path / "download.bin")
    assert "detector 'old'" in fewshot("inspect", tmp_path / "download.bin").stdout
    assert "sound" in fewshot("verify", tmp_path / "download.bin").stdout


def test_verify_takes_detectors_beside_stores(folder: Path) -> None:
    done = fewshot("verify", folder / "old.detector", folder / "support.h5")
    assert done.exit_code == 0, done.output
    assert "old.detector: sound, 46 images, 1 head, " in done.stdout
    assert "support.h5: sound, 16 images, 1 layers" in done.stdout
    documents = json.loads(fewshot("verify", "--json", folder / "old.detector", folder / "support.h5").stdout)
    assert [each["sound"] for each in documents] == [True, True]


@pytest.mark.parametrize("command", ["inspect", "verify", "card"])
def test_what_is_no_sound_detector_is_one_sentence(folder: Path, tmp_path: Path, command: str) -> None:
    content = (folder / "old.detector").read_bytes()
    broken = {
        "cut short": content[:-100],
        "is damaged": content[:500] + bytes([content[500] ^ 1]) + content[501:],
        "not a detector that fewshot wrote": b"hello",
    }
    for says, found in broken.items():
        (tmp_path / "bad.detector").write_bytes(found)
        refused = fewshot(command, tmp_path / "bad.detector")
        assert refused.exit_code == 1
        assert says in refused.stderr
    missing = fewshot(command, tmp_path / "none.detector")
    assert missing.exit_code == 1
    assert "cannot be read (No such file" in missing.stderr


def test_a_card_goes_to_stdout_or_a_file_and_never_over_another(folder: Path, tmp_path: Path) -> None:
    shown = fewshot("card", folder / "old.detector")
    assert shown.exit_code == 0
    assert shown.stdout.startswith("# Model card: old\n")
    assert fewshot("card", folder / "old.detector", "-o", tmp_path / "card.txt").exit_code == 0
    assert (tmp_path / "card.txt").read_text(encoding="utf-8") == shown.stdout
    (tmp_path / "notes.txt").write_text("mine\n", encoding="utf-8")
    refused = fewshot("card", folder / "old.detector", "-o", tmp_path / "notes.txt")
    assert refused.exit_code == 1
    assert "is not a model card of fewshot" in refused.stderr


def test_suggest_writes_a_list_and_a_gallery_with_the_pictures_of_the_file(tmp_path: Path) -> None:
    for synthetic, name in ((False, "natural"), (True, "synthetic")):
        write_images(tmp_path / "support" / name, ["1.png", "2.png", "3.png"], synthetic=synthetic, seed=int(synthetic))
    write_images(tmp_path / "inbox", ["a.png", "b.png", "c.png"], synthetic=True, seed=5)
    (tmp_path / "inbox" / "text.png").write_text("no picture", encoding="utf-8")
    detector, listed, page = tmp_path / "a.detector", tmp_path / "label-me.csv", tmp_path / "page.html"
    fitted = fewshot("fit", tmp_path / "support", "-b", "spectrum", "--thumbnails", "-q", "-o", detector)
    assert fitted.exit_code == 0, fitted.output
    shutil.rmtree(tmp_path / "support")
    done = fewshot("suggest", detector, tmp_path / "inbox", "-n", "2", "-o", listed, "--gallery", page, "-q", "--json")
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert len(document["chosen"]) == 2
    assert "text.png: not-an-image" in done.stderr
    assert "cannot be shown" not in done.stderr
    assert len(listed.read_text(encoding="utf-8").splitlines()) == 3
    assert page.read_text(encoding="utf-8").count('src="data:image/jpeg') == 2 * (1 + 5)  # each beside five known ones
    natural_below, synthetic_above = Detector.load(detector).description.bounds
    assert f"synthetic above {synthetic_above:.3g}, natural below {natural_below:.3g}." in page.read_text("utf-8")
    assert natural_below <= synthetic_above
    again = fewshot("suggest", detector, tmp_path / "inbox", "-o", detector, "-q")
    assert again.exit_code == 1
    assert "is read by this command" in again.stderr


def test_suggest_says_how_many_pictures_a_detector_without_thumbnails_cannot_show(tmp_path: Path) -> None:
    for synthetic, name in ((False, "natural"), (True, "synthetic")):
        write_images(tmp_path / "support" / name, ["1.png", "2.png", "3.png"], synthetic=synthetic, seed=int(synthetic))
    write_images(tmp_path / "inbox", ["a.png"], synthetic=True, seed=5)
    detector, listed, page = tmp_path / "a.detector", tmp_path / "label-me.csv", tmp_path / "page.html"
    assert fewshot("fit", tmp_path / "support", "-b", "spectrum", "-q", "-o", detector).exit_code == 0

    done = fewshot("suggest", detector, tmp_path / "inbox", "-o", listed, "--gallery", page, "-q")

    assert done.exit_code == 0, done.output
    assert "warning: 5 of 6 pictures cannot be shown" in done.stderr
    assert "`fewshot fit --thumbnails` keeps small ones of the known images" in " ".join(done.stderr.split())
