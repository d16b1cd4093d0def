"""Targets that cannot be written: one sentence, the old file as it was, nothing left over, no input overwritten."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from fewshot.cli import group
from fewshot.embeddings.store.fiser_archive import import_archive

PACK = ["weights", "pack", "tiny-ladeda", "--name", "mine", "--weights", "all=random", "-o"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    torch.save({"weight": torch.ones(300, 100)}, tmp_path / "net.pth")
    content = {
        "embeddings": {1: torch.ones(500, 100)},
        "ids": torch.arange(500),
        "labels": torch.zeros(500, dtype=torch.int64),
        "binary_labels": torch.zeros(500, dtype=torch.int64),
        "classes": ["nature"],
        "metadata": {},
    }
    torch.save(content, tmp_path / "bench.pt")
    return tmp_path


COMMANDS: dict[str, Callable[[Path, Path], list[str]]] = {
    "convert": lambda folder, out: ["weights", "convert", str(folder / "net.pth"), str(out), "--unsafe-pickle"],
    "pack": lambda folder, out: [*PACK, str(out)],
    "import": lambda folder, out: ["import", str(folder / "bench.pt"), "-o", str(out)],
}


def refused(command: str, folder: Path, out: Path, *, run: Callable[[list[str]], tuple[int, str]] | None = None) -> str:
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    status, said = (run or here)(COMMANDS[command](folder, out))
    assert status == 1, said
    assert said.startswith("fewshot: ")
    assert said.count("\n") == 1
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    return said


def here(arguments: list[str]) -> tuple[int, str]:
    result = CliRunner().invoke(group, arguments)
    return result.exit_code, result.stderr


def with_small_files(arguments: list[str]) -> tuple[int, str]:
    """Run in a process of its own, whose files may have 2,000 bytes: the limit would hold for the tests' output too."""
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000)); "
        "from fewshot.cli import main; main(sys.argv[1:])"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    return done.returncode, done.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_a_limit_on_the_size_of_files_is_one_sentence(command: str, folder: Path) -> None:
    assert "cannot be written: " in refused(command, folder, folder / "out.safetensors", run=with_small_files)


def test_an_old_store_outlives_an_import_that_does_not_fit(folder: Path) -> None:
    import_archive(folder / "bench.pt", folder / "s.h5")
    assert "files may not grow so large here" in refused("import", folder, folder / "s.h5", run=with_small_files)


def test_a_disk_without_room_is_said_before_the_import_begins(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Little:
        total, free = 1 << 40, 1000

    monkeypatch.setattr("fewshot.core.files.shutil.disk_usage", lambda _: Little)
    assert "no space is left on its disk; free some" in refused("import", folder, folder / "s.h5")


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("target", ["missing/out.safetensors", "/proc/out.safetensors", "/dev/full", "net.pth"])
def test_a_target_that_cannot_be_a_new_file_is_one_sentence(command: str, target: str, folder: Path) -> None:
    if (command, target) == ("import", "net.pth"):
        target = "bench.pt"
    said = refused(command, folder, folder / target)
    assert "cannot be written" in said or "must be a new file" in said or "is read by this command" in said
