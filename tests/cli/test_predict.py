"""``fewshot predict``: what it prints, its exit status, and what stays of it when it is interrupted or killed."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from fewshot.cli import group
from fewshot.detector.audit_log import read_audit_log
from tests.detector.spectrum_detectors import fit_detector, make_inbox

PROMISE = "at this threshold at most 10 of 100 natural images like yours are flagged (95 % sure, from 40)"


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = fit_detector(tmp_path_factory.mktemp("fit")).path
    assert path is not None
    return path


@pytest.fixture
def inbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return make_inbox(tmp_path / "inbox")


def run(detector: Path, *arguments: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(group, ["predict", str(detector), *arguments], input=stdin)


def test_it_prints_a_line_an_image_then_the_counts_and_the_promise(fitted: Path, inbox: Path) -> None:
    done = run(fitted, "inbox/000.png", "inbox/below/000.png", "inbox/bad.png", "-q")

    assert done.exit_code == 0
    header, natural, synthetic, failed, counts, promise = done.stdout.splitlines()
    assert header.split() == ["verdict", "score", "probability", "nearest", "source", "image"]
    assert natural.split()[0] in ("natural", "unsure")
    assert natural.endswith("inbox/000.png")
    assert (synthetic.split()[0], synthetic.split()[3:]) == ("synthetic", ["gan", "inbox/below/000.png"])
    assert failed.split(maxsplit=4)[0::4] == ["failed", "inbox/bad.png: not-an-image: 4 bytes of no known format"]
    assert counts.startswith("3 images = 1 synthetic + ")
    assert counts.endswith(" + 1 failed")
    assert promise == PROMISE


def test_with_a_file_it_prints_the_failures_and_the_counts_only(fitted: Path, inbox: Path) -> None:
    done = run(fitted, "inbox", "-o", "v.csv")

    failed, counts, promise = done.stdout.splitlines()
    assert failed == "failed: inbox/bad.png: not-an-image: 4 bytes of no known format"
    assert counts.startswith("16 images = 7 synthetic + ")
    assert promise == PROMISE
    assert "left out: 1 x .txt: not the suffix of an image" in done.stderr
    assert len(Path("v.csv").read_text().splitlines()) == 17


def test_json_is_one_document_with_every_image(fitted: Path, inbox: Path) -> None:
    done = run(fitted, "-", "--json", "--stability", stdin="inbox/000.png\ninbox/bad.png\n")

    document = json.loads(done.stdout)
    assert sorted(document) == ["counts", "detector", "images"]
    assert document["detector"]["promises"][0] == PROMISE
    first, second = document["images"]
    assert first["verdict"] in ("natural", "unsure")
    assert sorted(first["under"]) == ["blur:1", "jpeg:50", "jpeg:75", "resize:0.5", "webp:80"]
    assert second == {
        "image": "inbox/bad.png",
        "failure": "not-an-image: 4 bytes of no known format",
        "sha256": "",
        "pixel_id": "",
    }
    assert document["counts"]["failed"] == 1


def test_json_beside_a_file_has_the_counts_only(fitted: Path, inbox: Path) -> None:
    document = json.loads(run(fitted, "inbox", "--json", "-o", "v.parquet").stdout)

    assert sorted(document) == ["counts", "detector"]
    assert document["counts"]["left_out"] == {".txt: not the suffix of an image": 1}
    assert document["counts"]["failures"] == {"inbox/bad.png": "not-an-image: 4 bytes of no known format"}


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        ([], 2, "Missing argument 'INPUT...'"),
        (["inbox", "--strict", "-q"], 1, "fewshot: 1 of 16 images could not be judged (--strict; the first, inbox/bad"),
        (["none.png"], 1, "fewshot: none of the 1 images could be judged (the first, none.png: missing: there is no"),
        (["empty"], 1, "fewshot: nothing to predict: no image was found in empty; name a folder that holds some"),
        (["-"], 1, "fewshot: nothing to predict: the list on the standard input is empty"),
        (["inbox", "-o", "v.txt"], 1, "fewshot: -o v.txt: verdicts are written as .csv, .jsonl or .parquet"),
        (["inbox", "--workers", "many"], 1, "fewshot: --workers 'many': give auto or a whole number"),
        (["inbox", "--where", "source=a"], 1, "fewshot: --where chooses images of a store, and none was given"),
        (["inbox", "--trust-list", "a.pem"], 2, "--trust-list cannot be used here: it is of --c2pa; leave it out"),
        (["inbox", "--weights", "spctrum=a.pth"], 1, "there is no backbone in this run for --weights 'spctrum'; did"),
    ],
)
def test_wrong_usage_and_bad_input_end_in_one_sentence(
    fitted: Path, inbox: Path, arguments: list[str], status: int, said: str
) -> None:
    Path("empty").mkdir()

    done = run(fitted, *arguments)

    assert done.exit_code == status, done.output
    assert said in done.stderr
    assert "Traceback" not in done.output


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"nope", "is not a detector that fewshot wrote"),
        (b"PK\x03\x04" + b"\0" * 500, "does not end as a detector does"),
        (None, "cannot be read (No such file or directory, looked for in /"),
    ],
)
def test_what_is_no_detector_is_refused(inbox: Path, content: bytes | None, said: str) -> None:
    if content is not None:
        Path("x.detector").write_bytes(content)

    done = run(Path("x.detector"), "inbox")

    assert done.exit_code == 1
    assert said in done.stderr


def test_the_detector_and_the_images_are_never_written_over(fitted: Path, inbox: Path) -> None:
    before = fitted.read_bytes()

    done = run(fitted, "inbox", "--log", str(fitted))

    assert done.exit_code == 1
    assert "is read by this command" in done.stderr
    assert fitted.read_bytes() == before


def _started(detector: Path) -> "subprocess.Popen[bytes]":
    """Start a prediction of a list that does not end, and wait for its first two verdicts."""
    command = [sys.executable, "-m", "fewshot", "predict", str(detector), "-", "--log", "a.jsonl", "--workers", "1"]
    running = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert running.stdin is not None
    assert running.stdout is not None
    running.stdin.write(b"inbox/000.png\n")
    running.stdin.flush()
    lines = [running.stdout.readline(), running.stdout.readline()]  # the header, and the verdict
    assert lines[1].endswith(b"inbox/000.png\n"), lines
    running.stdin.write(b"inbox/001.png\n")
    running.stdin.flush()
    assert running.stdout.readline().endswith(b"inbox/001.png\n")
    return running


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_exits_with_130_and_says_what_is_kept(fitted: Path, inbox: Path, number: int) -> None:
    with _started(fitted) as running:
        running.send_signal(number)
        _, said = running.communicate(timeout=60)

    assert running.returncode == 130
    assert b"fewshot: interrupted after 2 images, in the order given; their verdicts are kept in a.jsonl. Run" in said
    assert b"Traceback" not in said
    assert [entry.image for entry in read_audit_log("a.jsonl")] == ["inbox/000.png", "inbox/001.png"]


@pytest.mark.slow
def test_killed_it_leaves_a_log_that_the_next_run_goes_on_with(fitted: Path, inbox: Path) -> None:
    with _started(fitted) as running:
        running.kill()
    with Path("a.jsonl").open("ab") as stream:
        stream.write(b'{"audit": 1, "time": "2026-')  # as a kill in the middle of a line leaves it

    assert run(fitted, "inbox/002.png", "--log", "a.jsonl").exit_code == 0

    assert [entry.image for entry in read_audit_log("a.jsonl")] == [f"inbox/00{number}.png" for number in range(3)]
    assert os.waitstatus_to_exitcode(signal.SIGKILL) == running.returncode
