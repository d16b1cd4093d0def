"""Commands start at once: help loads no library but click, and a command loads what it uses."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.contracts.protocol_store import protocol_store

HEAVY = ("numpy", "torch", "pandas", "pyarrow", "scipy", "sklearn", "matplotlib", "faiss", "h5py", "PIL", "jinja2")
COMMANDS = ("adapt", "attribute", "compare", "nearest", "replay", "report", "robustness")
CODE = """
import sys
from click.testing import CliRunner
from fewshot.cli import group
result = CliRunner().invoke(group, sys.argv[1:])
assert result.exit_code == 0, result.output
print(*(name for name in {heavy} if name in sys.modules))
"""


def _loaded(*arguments: str) -> set[str]:
    """Return which of the heavy libraries a command loads, run in a process of its own."""
    run = [sys.executable, "-c", CODE.format(heavy=HEAVY), *arguments]
    done = subprocess.run(run, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


@pytest.mark.parametrize("name", COMMANDS)
def test_help_loads_no_library(name: str) -> None:
    assert not _loaded(name, "--help")


def test_a_lookup_of_stored_images_loads_no_network_library_and_draws_nothing(tmp_path: Path) -> None:
    path = str(protocol_store(tmp_path / "store.h5").path)
    assert not _loaded("nearest", path, "--query", path, "--per-source", "2") & {"torch", "matplotlib", "jinja2"}


def test_adapting_loads_no_search_and_draws_nothing(tmp_path: Path) -> None:
    path = str(protocol_store(tmp_path / "store.h5").path)
    loaded = _loaded("adapt", path, "--shots", "2", "--trials", "2", "--solver", "sklearn")
    assert not loaded & {"faiss", "matplotlib", "jinja2"}
