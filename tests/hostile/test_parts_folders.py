"""A folder beside the output that is not of an unfinished run is never written into, emptied or deleted."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import fewshot
from fewshot.core.errors import FewshotError, OutputError, StoreError
from fewshot.embeddings.pipeline.ledger import PartsFolder
from fewshot.embeddings.pipeline.parts_marker import MARKER
from fewshot.embeddings.verify import verify
from tests.hostile.small_store import write_small_store

UNIT = "0123456789abcdef01234567.h5"


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("images")
    for number, folder in enumerate((root / "natural/camera", root / "synthetic/gan")):
        folder.mkdir(parents=True)
        pixels = np.random.default_rng(number).integers(0, 256, (48, 48, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "0.png")
    return root


def embed(images: Path, out: Path) -> None:
    fewshot.embed(images, backbones="spectrum", out=out, workers=0, quiet=True)


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def users_folder(folder: Path) -> None:
    folder.mkdir()
    (folder / "thesis.txt").write_text("the only copy")


def empty_folder(folder: Path) -> None:
    folder.mkdir()


def folder_with_a_ledger_of_the_users(folder: Path) -> None:
    folder.mkdir()
    (folder / "ledger.json").write_text('{"rent": 900}')


def folder_of_a_later_version(folder: Path) -> None:
    folder.mkdir()
    (folder / MARKER).write_text('{"format": "fewshot-parts", "version": 2}\n')
    (folder / UNIT).write_bytes(b"work")


def file(folder: Path) -> None:
    folder.write_text("a file")


def link_to_a_folder(folder: Path) -> None:
    folder.with_name("real").mkdir()
    folder.symlink_to(folder.with_name("real"))


FOREIGN = [
    users_folder,
    empty_folder,
    folder_with_a_ledger_of_the_users,
    folder_of_a_later_version,
    file,
    link_to_a_folder,
]


@pytest.mark.parametrize("make", FOREIGN, ids=lambda make: str(make.__name__))
def test_a_folder_without_our_marker_is_refused_and_left_as_it_was(
    images: Path, tmp_path: Path, make: Callable[[Path], None]
) -> None:
    make(tmp_path / "a.h5.parts")
    before = content(tmp_path)

    with pytest.raises(OutputError, match=r"a\.h5\.parts is where unfinished work would go.*nothing in it was touched"):
        embed(images, tmp_path / "a.h5")

    assert content(tmp_path) == before


def test_verify_leaves_a_folder_of_others_beside_a_store_alone(tmp_path: Path) -> None:
    write_small_store(tmp_path / "a.h5")
    folder_with_a_ledger_of_the_users(tmp_path / "a.h5.parts")
    before = content(tmp_path)

    assert verify(tmp_path / "a.h5").sound
    assert content(tmp_path) == before


def test_files_that_others_put_among_unfinished_work_stay(images: Path, tmp_path: Path) -> None:
    parts = PartsFolder(tmp_path / "a.h5")
    with parts.locked():
        (parts.folder / "notes.txt").write_text("mine")

    embed(images, tmp_path / "a.h5")

    assert content(parts.folder) == {"notes.txt": b"mine", MARKER: (parts.folder / MARKER).read_bytes()}
    embed(images, tmp_path / "a.h5")


def test_a_run_that_began_before_there_were_markers_is_taken_over(images: Path, tmp_path: Path) -> None:
    parts = tmp_path / "a.h5.parts"
    parts.mkdir()
    (parts / "lock").write_text("process 1 on there")
    rows = [["natural/camera/0.png", "camera", 0], ["synthetic/gan/0.png", "gan", 1]]
    (parts / "samples.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (parts / "ledger.json").write_text('{"format": 1, "parts": []}')
    (parts / f"{UNIT}.0123456789abcdef.tmp").write_bytes(b"half a unit")

    embed(images, tmp_path / "a.h5")

    assert [path.name for path in tmp_path.iterdir()] == ["a.h5"]
    assert verify(tmp_path / "a.h5").sound


def test_a_link_planted_as_a_lock_is_not_followed(images: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim.txt"
    victim.write_text("kept")
    parts = PartsFolder(tmp_path / "a.h5")
    with parts.locked():
        parts.keep_sample_list([("natural/camera/0.png", "camera", False)])
        write_small_store(parts.folder / UNIT)
    (parts.folder / "lock").unlink(missing_ok=True)
    parts.folder.mkdir(exist_ok=True)
    (parts.folder / "lock").symlink_to(victim)

    with pytest.raises(FewshotError):
        embed(images, tmp_path / "a.h5")
    assert victim.read_text() == "kept"


@pytest.mark.parametrize(
    "entry",
    [
        {"file": "../victim.h5"},
        {"file": "/etc/passwd"},
        {"sha256": "x"},
        {"rows": -1},
        {"positions": [[0, 2**60]]},
        {"positions": [[0, "1"]]},
        {"tasks": [["a", "b"]]},
        {"more": 1},
    ],
    ids=str,
)
def test_a_forged_ledger_is_refused_and_deletes_nothing(images: Path, tmp_path: Path, entry: dict[str, object]) -> None:
    (tmp_path / "victim.h5").write_bytes(b"kept")
    sound = {"file": UNIT, "sha256": "0" * 64, "rows": 1, "failures": 0, "tasks": [], "positions": [[0, 1]]}
    parts = PartsFolder(tmp_path / "a.h5")
    with parts.locked():
        (parts.folder / "ledger.json").write_text(json.dumps({"format": 1, "parts": [sound | entry]}))
        with pytest.raises(StoreError, match=r"ledger\.json is damaged .*delete the folder"):
            parts.parts()
        (parts.folder / "ledger.json").unlink()

    assert (tmp_path / "victim.h5").read_bytes() == b"kept"


@pytest.mark.parametrize("line", ['["a.png", "camera", 2]', '["a.png"]', "{", "[" * 100_000, '{"sha256": "x"}'])
def test_a_forged_sample_list_is_refused(tmp_path: Path, line: str) -> None:
    parts = PartsFolder(tmp_path / "a.h5")
    with parts.locked():
        (parts.folder / "samples.jsonl").write_text(line + "\n")
        with pytest.raises(StoreError, match=r"samples\.jsonl is damaged"):
            parts.sample_list()
