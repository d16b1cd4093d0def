"""A table is read with certainty or refused by name; what it says is never dropped for what folders are called."""

import json
import os
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from fewshot.core.errors import InputError
from fewshot.embeddings.layouts.collection import Collection, collect
from tests.hostile.unsuitable import make_unsuitable

ROWS = "path,source,synthetic\nreal/a.png,camera,0\nfake/b.png,sd15,1\n"


def plant(root: Path, *paths: str) -> None:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(b"x")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of class folders, which anything but a manifest would be read by."""
    plant(tmp_path, "real/a.png", "fake/b.png", "fake/not-listed.png")
    return tmp_path


def listed(found: Collection) -> list[tuple[str, str, bool]]:
    return [(sample.path, sample.source, sample.synthetic) for sample in found.samples]


EXPECTED = [("real/a.png", "camera", False), ("fake/b.png", "sd15", True)]


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_every_separator_and_marked_encoding_is_read(folder: Path, separator: str, encoding: str, ending: str) -> None:
    text = ROWS.replace(",", separator).replace("\n", ending)
    (folder / "manifest.csv").write_bytes(text.encode(encoding))

    assert listed(collect([folder])) == EXPECTED


def test_a_line_that_names_the_separator_is_no_header(folder: Path) -> None:
    (folder / "manifest.csv").write_text("sep=;\n" + ROWS.replace(",", ";"))

    assert listed(collect([folder])) == EXPECTED


@pytest.mark.parametrize("name", ["manifest.tsv", "Manifest.CSV", "MANIFEST.csv"])
def test_a_manifest_is_found_whatever_its_case(folder: Path, name: str) -> None:
    (folder / name).write_text(ROWS.replace(",", "\t"))

    assert listed(collect([folder])) == EXPECTED


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("manifest.csv", b"", "has no rows"),
        (
            "manifest.csv",
            b"file:source:synthetic\na:b:0\n",
            "manifest.csv, row 1: no value for path, source, synthetic",
        ),
        ("manifest.csv", b"file;source;synthetic\na;b;0\n", "row 1: no value for path, source, synthetic"),
        ("manifest.csv", b"Path,source, synthetic\na,b,0\n", r"rename 'Path', ' synthetic'"),
        ("manifest.csv", ROWS.encode("utf-16-le"), "NUL characters, as UTF-16 without a byte order mark"),
        ("manifest.csv", ROWS.encode("utf-16")[:-1], "cannot be read"),
        ("manifest.csv", b"path,source,synthetic,source\na,b,0,c\n", "has the column 'source' 2 times"),
        ("manifest.csv", b"path,source,synthetic\na,b.png,camera,0\n", "row 1 has 4 cells and the header has 3"),
        ("manifest.csv", b"path,source,synthetic,split\na,camera,0\n", "row 1 has 3 cells and the header has 4"),
        ("manifest.csv", b'path,source,synthetic\na,"camera,0\nb,sd,1\n', "cannot be read"),
        ("manifest.csv", b'path,source,synthetic\na,"camera,0\nb,sd",1\n', "line break"),
        ("manifest.csv", b"path,source,synthetic\na,camera,0\nb,sd,fake\n", "words and numbers"),
        ("manifest.json", b"[]", "in a form that is not read; save it as one of manifest.csv"),
        ("manifest.xlsx", b"PK", "in a form that is not read"),
        ("manifest.csv.gz", b"\x1f\x8b", "in a form that is not read"),
        ("manifest.parquet", b"PAR1", "not a readable Parquet file"),
        ("manifest.jsonl", b'{"path": "a", "source": "b", "synthetic": 0, "path": "c"}', "'path' stands twice"),
        ("manifest.jsonl", b"[" * 100_000, "cannot be read"),
        ("manifest.jsonl", b'{"a":' * 100_000, "cannot be read"),
    ],
)
def test_a_manifest_that_cannot_be_read_is_never_passed_over(
    folder: Path, name: str, content: bytes, message: str
) -> None:
    (folder / name).write_bytes(content)

    with pytest.raises(InputError, match=message):
        collect([folder])


@pytest.mark.parametrize("other", ["manifest.jsonl", "manifest.tsv", "Manifest.csv", "manifest.json"])
def test_two_manifests_are_refused(folder: Path, other: str) -> None:
    (folder / "manifest.csv").write_text(ROWS)
    (folder / other).write_text("")

    with pytest.raises(InputError, match="holds several manifests"):
        collect([folder])


def test_a_manifest_against_the_names_of_the_folders_is_refused_unless_one_is_chosen(folder: Path) -> None:
    (folder / "manifest.csv").write_text("path,source,synthetic\nreal/a.png,inpainted,1\nfake/b.png,camera,0\n")

    with pytest.raises(
        InputError, match=r"says that 'real/a.png' is synthetic, and the folder it lies in says natural"
    ):
        collect([folder])
    assert [row[2] for row in listed(collect([folder], layout="table"))] == [True, False]
    assert [row[2] for row in listed(collect([folder / "manifest.csv"]))] == [True, False]


def test_a_manifest_in_the_tree_of_another_layout_is_refused_unless_one_is_chosen(tmp_path: Path) -> None:
    plant(tmp_path, "test/biggan/0_real/a.png", "test/biggan/1_fake/b.png")
    (tmp_path / "manifest.csv").write_text("path,source,synthetic\ntest/biggan/0_real/a.png,camera,0\n")

    with pytest.raises(InputError, match="could be any of the layouts cnndet, table; choose one with --layout"):
        collect([tmp_path])
    assert len(collect([tmp_path], layout="cnndet")) == 2


@pytest.mark.parametrize("again", ["a.png", "./a.png", "x/../a.png", "x//../a.png", "x\\..\\a.png"])
def test_an_image_listed_twice_by_any_spelling_is_refused(tmp_path: Path, again: str) -> None:
    (tmp_path / "manifest.csv").write_text(f"path,source,synthetic\na.png,camera,0\nb.png,sd,1\n{again},sd,1\n")

    with pytest.raises(InputError, match=r"'a.png' is camera \(natural\) in one row and sd \(synthetic\) in another"):
        collect([tmp_path])


def test_an_absolute_path_is_the_same_image(tmp_path: Path) -> None:
    (tmp_path / "manifest.csv").write_text(f"path,source,synthetic\na.png,camera,0\n{tmp_path}/a.png,sd,1\n")

    with pytest.raises(InputError, match="listed more than once"):
        collect([tmp_path])


def test_the_index_that_pandas_writes_is_left_out_and_counted(folder: Path) -> None:
    (folder / "manifest.csv").write_text(",path,source,synthetic\n0,real/a.png,camera,0\n1,fake/b.png,sd15,1\n")

    found = collect([folder])

    assert listed(found) == EXPECTED
    assert found.samples[0].extra == {}
    assert "  left out: 1 x column of manifest.csv without a name" in found.describe()


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_many_columns_are_refused_by_their_number(tmp_path: Path, suffix: str) -> None:
    row = {"path": "a", "source": "b", "synthetic": 0} | {f"c{number}": 0 for number in range(100_000)}
    file = tmp_path / f"manifest.{suffix}"
    if suffix == "csv":
        file.write_text(",".join(row) + "\n" + ",".join(map(str, row.values())) + "\n")
    elif suffix == "jsonl":
        file.write_text(json.dumps(row))
    else:
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist([dict(list(row.items())[:1200])]), file)

    with pytest.raises(InputError, match=r"has (100,003|1,200) columns, and at most 1,000 are read"):
        collect([tmp_path])


@pytest.mark.parametrize("column", ["path", "source", "split", "note"])
@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_endless_cells_are_refused(tmp_path: Path, column: str, suffix: str) -> None:
    row = {"path": "a", "source": "b", "synthetic": "0"} | {column: "x" * 40_000}
    content = ",".join(row) + "\n" + ",".join(row.values()) + "\n" if suffix == "csv" else json.dumps(row)
    (tmp_path / f"manifest.{suffix}").write_text(content)

    with pytest.raises(InputError, match="40,000 characters, and at most 32,767 are kept"):
        collect([tmp_path])


@pytest.mark.parametrize("name", ["manifest.csv", "manifest.jsonl"])
def test_a_line_without_an_end_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("x" * (5 << 20))

    with pytest.raises(InputError, match="line 1 has more than 4,194,304 characters"):
        collect([tmp_path])


@pytest.mark.parametrize(
    "name", ["manifest.csv", "manifest.jsonl", "manifest.parquet", "0.parquet", "0.tar", "data.mdb"]
)
@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "sparse"])
def test_only_regular_files_of_a_sensible_size_are_opened(tmp_path: Path, name: str, kind: str) -> None:
    path = tmp_path / name
    make_unsuitable(path, kind)

    layout = {"0.parquet": "community", "0.tar": "webdataset"}.get(name, "auto")
    with pytest.raises(InputError):
        collect([tmp_path], layout=layout)


@pytest.mark.parametrize("path", [None, "", 5, 1.5, True, ["a"], {"a": 1}, "a\0b", "\ud800"])
def test_a_path_that_is_no_text_is_refused_with_its_row(tmp_path: Path, path: Any) -> None:
    (tmp_path / "manifest.jsonl").write_text(json.dumps({"path": path, "source": "b", "synthetic": 0}))

    with pytest.raises(InputError, match="row 1"):
        collect([tmp_path])


@pytest.mark.parametrize("source", [None, "", " ", float("nan"), 1.5, True, ["a"], {"a": 1}, "a\0b", "\ud800", "a\nb"])
def test_a_source_that_is_no_name_is_refused_with_its_row(tmp_path: Path, source: Any) -> None:
    (tmp_path / "manifest.jsonl").write_text(json.dumps({"path": "a", "source": source, "synthetic": 0}))

    with pytest.raises(InputError, match="row 1"):
        collect([tmp_path])


def test_other_columns_may_hold_anything_that_text_can_say(tmp_path: Path) -> None:
    row = {
        "path": "a",
        "source": 7,
        "synthetic": 0,
        "group": 3,
        "note": [1, {"b": None}],
        "empty": None,
        "n": float("nan"),
    }
    (tmp_path / "manifest.jsonl").write_text(json.dumps(row))

    (sample,) = collect([tmp_path], one_class=True).samples

    assert (sample.source, sample.group) == ("7", "3")
    assert sample.extra == {"note": "[1, {'b': None}]", "empty": "", "n": ""}


@pytest.mark.parametrize(
    "columns",
    [
        {},
        {"path": []},
        {"path": [["a"]], "source": ["b"], "synthetic": [0]},
        {"path": [{"x": 1}], "source": ["b"], "synthetic": [0]},
        {"path": [b"a"], "source": ["b"], "synthetic": [0]},
        {"path": ["a"], "source": [b"b"], "synthetic": [0]},
        {"path": ["a"], "source": [Decimal("1.5")], "synthetic": [0]},
        {"path": ["a"], "source": ["b"], "synthetic": [[0]]},
        {"path": ["a"], "source": ["b"], "synthetic": [Decimal("0.5")]},
        {"path": [None], "source": ["b"], "synthetic": [0]},
    ],
)
def test_parquet_of_another_schema_is_refused(tmp_path: Path, columns: dict[str, list[Any]]) -> None:
    pyarrow.parquet.write_table(pyarrow.table(columns), tmp_path / "manifest.parquet")

    with pytest.raises(InputError, match=r"manifest\.parquet"):
        collect([tmp_path])


def test_parquet_of_dictionaries_is_read_and_its_bytes_are_left_out(tmp_path: Path) -> None:
    table = pyarrow.table(
        {
            "path": ["a.png", "b.png"],
            "source": pyarrow.array(["camera", "sd"]).dictionary_encode(),
            "synthetic": [Decimal(0), Decimal(1)],
            "thumbnail": [b"x", b"y"],
        }
    )
    pyarrow.parquet.write_table(table, tmp_path / "manifest.parquet")

    found = collect([tmp_path])

    assert listed(found) == [("a.png", "camera", False), ("b.png", "sd", True)]
    assert "  left out: 1 x column thumbnail of manifest.parquet: bytes, not text" in found.describe()


def test_a_column_that_stands_twice_in_parquet_is_refused(tmp_path: Path) -> None:
    table = pyarrow.Table.from_arrays([pyarrow.array(["a"])] * 4, names=["path", "source", "synthetic", "path"])
    pyarrow.parquet.write_table(table, tmp_path / "manifest.parquet")

    with pytest.raises(InputError, match="has the column 'path' twice"):
        collect([tmp_path])


@pytest.mark.parametrize("name", ["0.parquet", "data-0.arrow"])
@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" * 100, b"\xff\xff\xff\xff" * 100, b"\0" * 5000])
def test_damaged_columnar_files_of_a_data_set_are_refused(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)

    with pytest.raises(InputError, match="is not a readable"):
        collect([tmp_path])


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_a_column_without_a_name_is_left_out_of_every_table(tmp_path: Path, suffix: str) -> None:
    row = {"path": "a.png", "source": "cam", "synthetic": 0, "": 7, " ": 8}
    if suffix == "jsonl":
        (tmp_path / "manifest.jsonl").write_text(json.dumps(row))
    else:
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist([row]), tmp_path / "manifest.parquet")

    found = collect([tmp_path], one_class=True)

    assert found.samples[0].extra == {}
    assert f"  left out: 2 x column of manifest.{suffix} without a name" in found.describe()


@pytest.mark.parametrize("name", ["a\0b", "\ud800"])
def test_a_name_of_a_column_that_no_store_can_hold_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "manifest.jsonl").write_text(json.dumps({"path": "a.png", "source": "cam", "synthetic": 0, name: 1}))

    with pytest.raises(InputError, match=r"the column .* has (a NUL|half a surrogate pair) in it"):
        collect([tmp_path], one_class=True)


def test_a_source_that_is_not_utf8_is_refused_and_such_a_path_is_kept(tmp_path: Path) -> None:
    (tmp_path / "manifest.csv").write_bytes(b"path,source,synthetic\ncaf\xe9.png,cam,0\n")
    assert os.fsencode(collect([tmp_path], one_class=True).samples[0].path) == b"caf\xe9.png"

    (tmp_path / "manifest.csv").write_bytes(b"path,source,synthetic\na.png,caf\xe9,0\n")
    with pytest.raises(InputError, match=r"row 1: the source .* is not UTF-8; save the file as UTF-8"):
        collect([tmp_path], one_class=True)


def test_a_header_over_two_lines_is_refused_as_such(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text('path,source,synthetic,"a\nb"\na.png,cam,0,x\n')
    with pytest.raises(InputError, match=r"the header of the table .*t\.csv cannot be read: a quote is open"):
        collect([tmp_path / "t.csv"])
