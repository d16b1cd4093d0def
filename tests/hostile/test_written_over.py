"""No command writes over what it reads, over a file of another kind, or over what is no file; nothing is run before."""

import os
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from fewshot.cli import group

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "before_rooms"
COMMANDS = """\
adapt s.h5 -o OUT
attribute s.h5 -o OUT
robustness s.h5 -o OUT
nearest s.h5 -o OUT
replay r.json -o OUT
report r.json -o OUT
nearest s.h5 --query s.h5 --gallery OUT.html
nearest s.h5 --query s.h5 --gallery OUT.png
nearest s.h5 --query s.h5 --confusion OUT
nearest s.h5 --query s.h5 --index-file OUT
import a.pt -o OUT
embed photos -b npr -o OUT
weights convert w.pt OUT.safetensors --unsafe-pickle
weights pack npr --name mine -o OUT.safetensors
export s.h5 -o OUT
"""
READ = """\
adapt s.h5 -o s.h5
adapt s.h5 --query t.h5 -o t.h5
adapt s.h5 --support r.json -o r.json
adapt s.h5 --support r.json -o link.json
adapt s.h5 --support r.json -o hard.json
adapt s.h5 --support r.json -o ../FOLDER/r.json
attribute s.h5 -o s.h5
robustness s.h5 -o s.h5
nearest s.h5 -o s.h5
nearest s.h5 --query t.h5 --confusion t.h5
nearest s.h5 q.png --gallery q.png
replay r.json -o r.json
replay r.json -o link.json
report r.json -o r.json
report r.json --store s.h5 -o s.h5
report r.json -o r.npz
import a.pt -o a.pt
embed t.csv -b npr -o t.csv
embed photos -b npr --weights npr=w.pt -o w.pt
"""
TWICE = """\
nearest s.h5 --query s.h5 --gallery x.png --confusion x.png
nearest s.h5 --query s.h5 --gallery x.html --index-file x.html
nearest s.h5 -o x.npz --keep-scores
adapt s.h5 -o x.npz --keep-scores
"""
FOREIGN = {
    "text": b"precious",
    "json": b'{"mine": 1}',
    "png": b"\x89PNG\r\n\x1a\n mine",
    "html": b"<!DOCTYPE html> mine",
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Files of every kind, and the names by which one may be reached as well."""
    for name in ("s.h5", "t.h5"):
        shutil.copy(GOLDEN / "store.h5", tmp_path / name)
    shutil.copy(GOLDEN / "adapt.json", tmp_path / "r.json")
    shutil.copy(GOLDEN / "adapt.npz", tmp_path / "r.npz")
    for name in ("a.pt", "w.pt", "q.png", "t.csv"):
        (tmp_path / name).write_bytes(b"precious")
    (tmp_path / "photos").mkdir()
    (tmp_path / "link.json").symlink_to("r.json")
    os.link(tmp_path / "r.json", tmp_path / "hard.json")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refused(folder: Path, command: str) -> str:
    """Run a command that must change nothing; return what it says."""
    before = contents(folder)
    result = CliRunner().invoke(group, command.split())
    assert isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code in (1, 2), result.output
    assert contents(folder) == before
    assert not [path for path in folder.rglob("*") if path.name.endswith((".tmp", ".points", ".parts"))]
    return result.stderr


@pytest.mark.parametrize("command", READ.splitlines())
def test_what_a_command_reads_is_not_written_over(folder: Path, command: str) -> None:
    said = refused(folder, command.replace("FOLDER", folder.name))

    assert "would be written over" in said or "is not written over" in said, said


@pytest.mark.parametrize("command", TWICE.splitlines())
def test_two_results_never_go_to_one_file(folder: Path, command: str) -> None:
    assert "is to be written by" in refused(folder, command)


@pytest.mark.parametrize("kind", FOREIGN)
@pytest.mark.parametrize("command", COMMANDS.splitlines())
def test_a_file_of_another_kind_is_not_written_over(folder: Path, command: str, kind: str) -> None:
    out = next(word for word in command.split() if word.startswith("OUT"))
    (folder / out).write_bytes(FOREIGN[kind])

    said = refused(folder, command)

    assert any(
        word in said for word in ("not written over", "exists already", "must be a new file", "cannot be read")
    ), said


@pytest.mark.parametrize("special", ["pipe", "null", "folder"])
@pytest.mark.parametrize("command", COMMANDS.splitlines())
def test_what_is_no_file_is_not_replaced(folder: Path, command: str, special: str) -> None:
    out = folder / next(word for word in command.split() if word.startswith("OUT"))
    if special == "pipe":
        os.mkfifo(out)
    elif special == "null":
        out.symlink_to("/dev/null")
    else:
        out.mkdir()
    mode = out.lstat().st_mode

    refused(folder, command)

    assert out.lstat().st_mode == mode


def test_a_store_that_was_embedded_is_not_replaced_by_an_import(folder: Path) -> None:
    assert "is a store that was embedded, not imported, and is not written over" in refused(
        folder, "import a.pt -o s.h5"
    )


def test_scores_of_somebody_else_beside_a_report_are_not_written_over(folder: Path) -> None:
    (folder / "x.npz").write_bytes(b"PK\x03\x04 mine")

    assert "x.npz is there already and is not a file of kept scores" in refused(
        folder, "adapt s.h5 -o x.json --keep-scores"
    )


def test_a_folder_of_points_of_somebody_else_is_not_emptied(folder: Path) -> None:
    (folder / "x.json.points").mkdir()
    (folder / "x.json.points/mine.npz").write_bytes(b"precious")
    before = contents(folder)

    result = CliRunner().invoke(group, ["attribute", "s.h5", "-b", "spectrum", "-o", "x.json", "-q"])

    assert "x.json.points is needed for the finished points of a data curve, and holds something else" in result.stderr
    assert contents(folder) == before


@pytest.mark.parametrize(
    "name", ["report.json", "page.html", "demo.png", "images.h5", "images/natural/astronaut-00.png"]
)
def test_the_demo_writes_over_nothing_of_somebody_else(folder: Path, name: str) -> None:
    path = folder / "demo" / name
    path.parent.mkdir(parents=True)
    path.write_bytes(b"precious")

    result = CliRunner().invoke(group, ["demo", "-o", "demo", "--tiles", "1", "-q"])

    assert result.exit_code == 1
    assert "written over" in result.stderr or "holds something else" in result.stderr
    assert path.read_bytes() == b"precious"
