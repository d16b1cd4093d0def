"""No damaged file makes a reader fail in another way than by its own sentence, hang, or ask for unbounded memory."""

import json
import os
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.hostile import doors

ROOT = Path(__file__).resolve().parents[2]
SECONDS = os.environ.get("FUZZ_SECONDS", "")
LONG, BRIEF = "20", "10"
# Doors at which other people's files come in get the long time; beside images, which other tests damage as well.
EXCHANGED = {"archives_of_images", "checkpoints", "feature_archives", "reports", "stores", "tables"}


@pytest.mark.slow
@pytest.mark.timeout(float(SECONDS or LONG) + 300)
@pytest.mark.skipif(sys.platform != "linux", reason="limits and /proc of Linux")
@pytest.mark.parametrize("door", sorted(module.name for module in pkgutil.iter_modules(doors.__path__)))
def test_damaged_files_are_refused_by_a_sentence(door: str, tmp_path: Path) -> None:
    seconds = SECONDS or (LONG if door in EXCHANGED else BRIEF)
    command = [sys.executable, "-m", "tests.hostile.fuzz", door, "--seconds", seconds, "--folder", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-5000:]
    counts = json.loads(done.stdout.splitlines()[-1])
    assert counts["examples"] > 0
    assert counts["refused"] > 0
