"""``fewshot fit`` from a shell: what it prints, its exit status, and an interrupt."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from fewshot.cli import group
from fewshot.detector.detector import Detector

FUSED = ("-b", "tiny-ladeda", "--weights", "tiny-ladeda=random", "--combine", "fuse")


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(group, [str(argument) for argument in arguments])


def write_images(folder: Path, count: int, *, seed: int) -> Path:
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    for number in range(count):
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(folder / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("given")
    write_images(folder / "support/natural/camera", 3, seed=0)
    write_images(folder / "support/synthetic/sd3", 3, seed=1)
    write_images(folder / "naturals", 12, seed=2)
    return folder


def arguments(given: Path, out: Path) -> list[str | Path]:
    return ["fit", given / "support", "-b", "spectrum", "--naturals", given / "naturals", "-o", out]


def test_the_promise_is_printed_and_the_file_is_there(given: Path, tmp_path: Path) -> None:
    found = run(*arguments(given, tmp_path / "a.detector"), "--max-false-alarms", "30%", "--quiet")
    assert found.exit_code == 0, found.output
    said = " ".join(found.stdout.split())
    assert max(map(len, found.stdout.splitlines()[1:])) <= 100
    assert "at most 30 of 100 natural images like yours are flagged (95 % sure, from 12)" in said
    assert "the promise is for traffic that resembles the calibration images" in said
    assert found.stderr == ""
    assert Detector.load(tmp_path / "a.detector").digest in found.stdout


def test_json_is_one_document_with_the_promises(given: Path, tmp_path: Path) -> None:
    found = run(*arguments(given, tmp_path / "a.detector"), "--max-false-alarms", "0.3", "--json")
    document = json.loads(found.stdout)
    assert document["digest"] == Detector.load(tmp_path / "a.detector").digest
    assert document["alarm"]["share"] == 0.3
    assert len(document["promises"]) == 3


def test_too_few_naturals_are_refused_with_status_1(given: Path, tmp_path: Path) -> None:
    found = run(*arguments(given, tmp_path / "a.detector"))
    assert found.exit_code == 1
    assert "5 % needs 59, you gave 12; 30 % can be certified" in found.stderr
    assert list(tmp_path.iterdir()) == []
    weaker = run(*arguments(given, tmp_path / "a.detector"), "--accept-weaker", "--quiet")
    assert weaker.exit_code == 0, weaker.output


def test_a_support_that_is_not_there_is_said_before_too_few_naturals(given: Path, tmp_path: Path) -> None:
    found = run(
        "fit", given / "suport", "-b", "spectrum", "--naturals", given / "naturals", "-o", tmp_path / "a.detector"
    )
    assert found.exit_code == 1
    assert f"there is no file or folder {given / 'suport'}" in found.stderr
    assert "needs 59" not in found.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("share", ["0", "100%", "1.5", "five"])
def test_a_share_that_is_none_is_refused(share: str, given: Path, tmp_path: Path) -> None:
    found = run(*arguments(given, tmp_path / "a.detector"), "--max-false-alarms", share)
    assert found.exit_code in (1, 2)
    assert "Traceback" not in found.output
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("end", "status", "fused"),
    [(signal.SIGINT, 130, ()), (signal.SIGTERM, 130, ()), (signal.SIGKILL, -9, ()), (signal.SIGKILL, -9, FUSED)],
)
def test_a_fit_that_was_ended_goes_on_where_it_was(
    end: signal.Signals, status: int, fused: tuple[str, ...], given: Path, tmp_path: Path
) -> None:
    out = tmp_path / "a.detector"
    command = [
        sys.executable,
        "-m",
        "fewshot",
        *map(str, arguments(given, out)),
        *fused,
        "--max-false-alarms",
        "30%",
        "--quiet",
    ]
    first = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    parts = tmp_path / "a.detector.parts"
    deadline = time.monotonic() + 120
    while not list(parts.glob("*.h5")) and first.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    assert first.poll() is None, "it ended before it could be stopped"
    embedded = {path.name: path.stat().st_ino for path in parts.glob("*.h5")}
    os.kill(first.pid, end)
    _, said = first.communicate(timeout=60)
    assert first.returncode == status
    assert "Traceback" not in said
    assert not out.exists()
    assert {path.name: path.stat().st_ino for path in parts.glob("*.h5")}.items() >= embedded.items()

    again = subprocess.run(command, check=False, capture_output=True, text=True)

    assert again.returncode == 0, again.stderr
    found = Detector.load(out).description
    assert (found.alarm.images, found.fusion is not None) == (12, bool(fused))
    assert not parts.exists()
