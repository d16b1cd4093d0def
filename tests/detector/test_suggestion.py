"""Which images to label next: from images on the spot to a list that comes back as ``--add``."""

import csv
import shutil
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from fewshot.core.errors import InputError, OutputError
from fewshot.detector.detector import Detector
from fewshot.detector.fit import fit
from fewshot.detector.label_list import COLUMNS, write_list
from fewshot.detector.refit import refit
from fewshot.detector.suggestion import Suggestions, margins, suggest
from fewshot.embeddings.extract import embed
from tests.detector.made_inputs import make_store, write_images, write_table


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A detector of ten images, and an inbox of sixteen: a copy, a known image, and one that is none among them."""
    folder = tmp_path_factory.mktemp("suggest")
    for synthetic, name in ((False, "natural"), (True, "synthetic")):
        write_images(
            folder / "support" / name / "a", [f"{n}.png" for n in range(5)], synthetic=synthetic, seed=int(synthetic)
        )
        write_images(
            folder / "inbox" / name,
            [f"{name}-{n}.png" for n in range(6)],
            synthetic=synthetic,
            seed=10 + int(synthetic),
        )
    inbox = folder / "inbox"
    shutil.copy(inbox / "natural" / "natural-0.png", inbox / "twin.png")
    shutil.copy(folder / "support" / "natural" / "a" / "0.png", inbox / "held.png")
    (inbox / "broken.png").write_bytes(b"no picture")
    fit(folder / "support", backbones="spectrum", out=folder / "a.detector", thumbnails=True, quiet=True)
    return folder


@pytest.fixture(scope="module")
def found(folder: Path) -> Suggestions:
    return suggest(folder / "a.detector", folder / "inbox", count=5, quiet=True)


def names(chosen: Iterable[object]) -> list[str]:
    return [Path(vars(each)["file"]).name for each in chosen]


def test_as_many_different_images_are_suggested_as_are_wanted(found: Suggestions) -> None:
    assert len(found.chosen) == len({each.pixel_id for each in found.chosen}) == 5
    assert (found.images, found.repeated, found.known, found.elsewhere) == (15, 1, 1, 0)
    assert "held.png" not in names(found.chosen)


def test_what_is_no_image_is_listed_with_the_reason(found: Suggestions) -> None:
    ((image, reason),) = found.failed
    assert image.endswith("broken.png")
    assert reason.startswith("not-an-image")
    assert "1 could not be used" in found.lines()


def test_all_are_suggested_where_there_are_not_so_many(folder: Path) -> None:
    found = suggest(folder / "a.detector", folder / "inbox", count=100, quiet=True)
    assert len(found.chosen) == 12
    assert found.chosen[0].margin == min(each.margin for each in found.chosen)


def test_those_of_the_least_margin_are_taken(folder: Path, found: Suggestions) -> None:
    every = suggest(folder / "a.detector", folder / "inbox", count=100, quiet=True).chosen
    least = sorted(every, key=lambda each: each.margin)[:6]  # half of the twelve
    assert {each.pixel_id for each in found.chosen} <= {each.pixel_id for each in least}


def test_a_list_of_files_a_table_and_a_store_give_the_same(folder: Path, found: Suggestions, tmp_path: Path) -> None:
    files = sorted((folder / "inbox").rglob("*.png"))
    table = write_table(tmp_path / "inbox.csv", [(str(file),) for file in files], header=("path",))
    store = tmp_path / "inbox.h5"
    embed(folder / "inbox", backbones="spectrum", out=store, quiet=True, unlabelled="natural")
    wanted = {each.pixel_id for each in found.chosen}
    for inbox in (files, [table], [store], [store, folder / "inbox"]):
        again = suggest(folder / "a.detector", inbox, count=5, quiet=True)
        assert {each.pixel_id for each in again.chosen} == wanted, inbox


def test_images_that_no_table_can_name_are_counted_and_not_suggested(tmp_path: Path) -> None:
    support = make_store(tmp_path / "support.h5", natural=6, synthetic=6, seed=1)
    inbox = make_store(tmp_path / "inbox.h5", natural=4, synthetic=4, seed=2)
    with pytest.raises(InputError, match="8 are not on this machine as files"):
        suggest(fit(support), inbox)


def test_images_of_a_store_that_have_moved_are_suggested_from_where_they_lie_now(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "inbox", tmp_path / "before")
    (tmp_path / "before" / "broken.png").unlink()
    inbox = embed(
        tmp_path / "before", backbones=["spectrum"], out=tmp_path / "inbox.h5", unlabelled="natural", quiet=True
    )
    (tmp_path / "before").rename(tmp_path / "after")

    with pytest.raises(InputError, match="say by --root where those of a store lie now"):
        suggest(folder / "a.detector", inbox.path)
    found = suggest(folder / "a.detector", inbox.path, count=3, roots=[tmp_path / "after"])

    assert len(found.chosen) == 3
    assert all(each.file.is_relative_to(tmp_path / "after") for each in found.chosen)


def test_an_inbox_without_images_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no image was found in"):
        suggest(folder / "a.detector", tmp_path)
    with pytest.raises(InputError, match="there is no file or folder"):
        suggest(folder / "a.detector", tmp_path / "none")
    with pytest.raises(InputError, match="row 1: no value for path"):
        suggest(folder / "a.detector", write_table(tmp_path / "a.csv", [("x",)], header=("file",)))


def test_the_list_is_filled_in_and_comes_back(folder: Path, found: Suggestions, tmp_path: Path) -> None:
    listed = write_list(found.chosen, tmp_path / "label-me.csv")
    with listed.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert tuple(rows[0]) == COLUMNS
    assert {row["label"] for row in rows} == {""}
    for row in rows[1:]:
        row["label"] = "natural" if "natural-" in row["path"] else "synthetic"
    write_table(listed, [tuple(row.values()) for row in rows], header=COLUMNS)
    refitted = refit(folder / "a.detector", add=listed, quiet=True, thumbnails=True, out=tmp_path / "b.detector")
    assert refitted.added.skipped == 1
    assert refitted.added.new.natural + refitted.added.new.synthetic == 4
    new = Detector.load(tmp_path / "b.detector")
    assert len(new.thumbnails) == 14
    assert not any(str(tmp_path) in key or str(folder) in key for key in map(str, new.images.keys))
    with pytest.raises(OutputError, match="is not an unfilled label list"):
        write_list(found.chosen, listed)


def test_a_list_that_nobody_filled_in_may_be_written_again(found: Suggestions, tmp_path: Path) -> None:
    first = write_list(found.chosen, tmp_path / "label-me.csv").read_bytes()
    assert write_list(found.chosen, tmp_path / "label-me.csv").read_bytes() == first


def test_paths_below_the_list_are_relative_to_it(folder: Path, found: Suggestions) -> None:
    listed = write_list(found.chosen, folder / "label-me.csv")
    with listed.open(encoding="utf-8", newline="") as stream:
        assert all(row["path"].startswith("inbox/") for row in csv.DictReader(stream))


def test_no_cell_is_a_formula(folder: Path, tmp_path: Path) -> None:
    (file,) = write_images(tmp_path, ["=1+1.png"], synthetic=True, seed=77)
    listed = write_list(suggest(folder / "a.detector", file, quiet=True).chosen, tmp_path / "label-me.csv")
    assert listed.read_text(encoding="utf-8").splitlines()[1].startswith("./=1+1.png,")


def test_margins_are_distances_to_the_nearer_threshold_also_where_they_overlap() -> None:
    scores = np.array([-3.0, -1.0, 0.0, 1.0, 5.0])
    expected = [2.0, 0.0, 0.0, 0.0, 4.0]
    assert margins(scores, alarm=1.0, clear=-1.0).tolist() == expected
    assert margins(scores, alarm=-1.0, clear=1.0).tolist() == expected
