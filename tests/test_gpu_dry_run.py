"""``make gpu DRY=1``: every part of the GPU's proof runs on the CPU first, so that nothing is tried first on a card."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_every_part_of_the_proof_runs_on_the_cpu(tmp_path: Path) -> None:
    environment = {**os.environ, "DRY": "1", "GPU_OUT": str(tmp_path)}
    command = [sys.executable, "-m", "benchmarks.gpu"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    parts = json.loads((tmp_path / "gpu.json").read_text())["parts"]
    wanted = {path.stem for path in (ROOT / "benchmarks/gpu/parts").glob("*.py")} - {"__init__"}
    assert {part["part"] for part in parts} == wanted
    assert all(part["lines"] and not part["ended"] for part in parts)
    skipped = {part["part"] for part in parts for line in part["lines"] if line["skipped"]}
    assert skipped <= {"training"}


def test_a_part_that_fails_keeps_the_lines_it_printed() -> None:
    from benchmarks.gpu import __main__ as gpu

    code = 'import sys, time; sys.stdout.write(\'{"what": "first"}\\n\'); sys.stdout.flush(); '
    for ending, wanted in (("sys.exit(3)", "exit status 3"), ("time.sleep(60)", "its time was over")):
        with subprocess.Popen(
            [sys.executable, "-c", code + ending],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        ) as process:
            lines, ended = gpu.follow(process, seconds=3)
        assert (lines, ended) == ([{"what": "first"}], wanted)
        assert gpu.failures([{"part": "card", "ended": ended, "lines": []}]) == [f"card: {wanted}"]


def test_the_limits_of_all_parts_stay_under_nine_minutes() -> None:
    from benchmarks.gpu.__main__ import LIMITS

    assert sum(LIMITS.values()) < 9 * 60
