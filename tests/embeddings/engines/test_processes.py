"""Processes that die under their work: it is handed out again, and a unit that kills two of them ends the run."""

import os
import signal
from pathlib import Path

import pytest

from fewshot.core.errors import FewshotError
from fewshot.embeddings.engines.base import UnitDone
from fewshot.embeddings.engines.processes import _Crew
from tests.contracts.test_engines import photographs, planned

pytestmark = pytest.mark.slow


def test_the_units_of_a_process_that_dies_are_done_by_another(tmp_path: Path) -> None:
    plan, units = planned(photographs(tmp_path / "photos"), tmp_path / "parts", devices=("cpu", "cpu"))
    done: list[UnitDone] = []

    with _Crew(plan, units) as crew:
        for event in crew.events():
            if isinstance(event, UnitDone):
                done.append(event)
                if len(done) == 1:
                    os.kill(crew.members[0].child.process.pid, signal.SIGKILL)

    assert sorted(event.unit.positions for event in done) == [unit.positions for unit in units]


def test_a_unit_at_which_two_processes_end_is_named(tmp_path: Path) -> None:
    plan, units = planned(photographs(tmp_path / "photos"), tmp_path / "parts")

    def run_and_kill() -> None:
        with _Crew(plan, units) as crew:
            os.kill(crew.members[0].child.process.pid, signal.SIGKILL)
            for _ in crew.events():
                os.kill(crew.members[0].child.process.pid, signal.SIGKILL)

    with pytest.raises(FewshotError, match=r"on cpu ended twice at the same images \(SIGKILL\); the first of them is"):
        run_and_kill()
