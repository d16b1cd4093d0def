"""Sources that could not be told apart are refused or named, and a missing file's look-alike is named."""

import os
import unicodedata
from pathlib import Path

import pytest
from PIL import Image

from fewshot.core.errors import InputError
from fewshot.embeddings.layouts.base import Sample
from fewshot.embeddings.layouts.collection import collect
from fewshot.embeddings.layouts.look_alikes import look_alike
from fewshot.embeddings.layouts.table import Table
from fewshot.embeddings.pipeline.prepare import Job, Preparation, prepare

NFC, NFD = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))


def table(folder: Path, *sources: str) -> Path:
    rows = "".join(f'{number}.png,"{source}",{number % 2}\n' for number, source in enumerate(sources))
    (folder / "manifest.csv").write_text("path,source,synthetic\n" + rows)
    return folder


@pytest.mark.parametrize("source", ["cam ", " cam", "cam\t", "\u00a0cam"])
def test_blanks_around_a_source_are_refused_with_the_row(tmp_path: Path, source: str) -> None:
    with pytest.raises(
        InputError, match=r"row 2: the source '.*cam.*' has blanks around it, .* another source than 'cam'"
    ):
        collect([table(tmp_path, "cam", source)])


@pytest.mark.parametrize("source", ["nan", "NaN", "None", "null", "NULL", "N/A", "<NA>"])
def test_the_text_of_a_missing_value_is_no_source(tmp_path: Path, source: str) -> None:
    with pytest.raises(InputError, match=rf"row 1: the source '{source}' is what a missing value looks like"):
        collect([table(tmp_path, source, "sd")])


@pytest.mark.parametrize("source", ["cam ", "nan", "None", "a\nb"])
def test_the_same_rule_holds_for_folders(tmp_path: Path, source: str) -> None:
    for path in (tmp_path / "real" / source / "a.png", tmp_path / "fake/sd/b.png"):
        path.parent.mkdir(parents=True)
        path.touch()

    with pytest.raises(InputError, match=r"the source"):
        collect([tmp_path])


@pytest.mark.parametrize(("first", "second"), [(NFC, NFD), ("a b", "a  b"), ("cam", "c\u200bam"), ("a b", "a\u00a0b")])
def test_sources_that_look_the_same_are_refused_with_both_named(tmp_path: Path, first: str, second: str) -> None:
    with pytest.raises(InputError, match="look the same and would be two sources") as raised:
        collect([table(tmp_path, first, second)])
    assert ascii(first) in str(raised.value)
    assert ascii(second) in str(raised.value)


def test_sources_that_differ_in_case_are_kept_and_named(tmp_path: Path) -> None:
    found = collect([table(tmp_path, "SDXL", "sdxl")])

    assert found.warnings == ("the sources 'SDXL' and 'sdxl' differ only in case or width; they stay two sources",)
    assert f"WARNING: {found.warnings[0]}" in found.describe()


@pytest.mark.parametrize(
    ("there", "wanted"),
    [
        (f"{NFD}.png", f"{NFC}.png"),
        (f"{NFC}.png", f"{NFD}.png"),
        ("A.PNG", "a.png"),
        ("a.png ", "a.png"),
        (f"{NFD}/x/a.png", f"{NFC}/x/a.png"),
        ("a b.png", "a\u00a0b.png"),
        (f"{NFC}.png", os.fsdecode(b"caf\xe9.png")),
    ],
)
def test_a_missing_file_is_told_with_the_one_that_looks_alike(tmp_path: Path, there: str, wanted: str) -> None:
    (tmp_path / there).parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 4)).save(tmp_path / there, "PNG")
    preparation = Preparation((tmp_path,), (Table(),), ())

    found = prepare(preparation, Job(0, 0, Sample(wanted, "cam", False)))

    assert found.failure.startswith(
        "missing: there is no such file (there is a fi" if "/" not in there else "missing: "
    )
    assert ascii(Path(there).parts[0]) in found.failure


def test_a_missing_file_without_a_look_alike_is_just_missing(tmp_path: Path) -> None:
    assert look_alike(tmp_path / "a" / "b.png") == ""
    found = prepare(Preparation((tmp_path,), (Table(),), ()), Job(0, 0, Sample("a.png", "cam", False)))
    assert found.failure == "missing: there is no such file"


def test_a_missing_root_is_told_with_the_one_that_looks_alike(tmp_path: Path) -> None:
    (tmp_path / NFD).mkdir()

    with pytest.raises(InputError, match="there is a folder of a look-alike name"):
        collect([tmp_path / NFC])


def test_a_pipe_in_an_images_place_is_listed_and_never_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.png")

    found = prepare(Preparation((tmp_path,), (Table(),), ()), Job(0, 0, Sample("a.png", "cam", False)))

    assert "named pipe" in found.failure
