"""Tables that a person filled in."""

from pathlib import Path

import pytest

from fewshot.core.errors import InputError
from fewshot.detector.labelled_table import read_labels
from tests.detector.made_inputs import write_table


def test_rows_without_a_label_are_left_out_and_counted(tmp_path: Path) -> None:
    table = write_table(tmp_path / "a.csv", [("a.png", "natural"), ("b.png", " "), ("c.png", "Fake"), ("d.png", "")])
    found = read_labels(table)
    assert found.rows == ((str(tmp_path / "a.png"), "natural", False), (str(tmp_path / "c.png"), "synthetic", True))
    assert found.skipped == 2


def test_the_columns_of_tables_for_embed_do_as_well(tmp_path: Path) -> None:
    rows = [("/x/a.png", "phone", "0"), ("b.png", "sd3", "1")]
    table = write_table(tmp_path / "a.csv", rows, header=("path", "source", "synthetic"))
    assert read_labels(table).rows == (("/x/a.png", "phone", False), (str(tmp_path / "b.png"), "sd3", True))


def test_a_table_that_a_spreadsheet_saved_with_semicolons_is_read(tmp_path: Path) -> None:
    table = tmp_path / "a.csv"
    table.write_text("\ufeffpath;label;verdict\r\na, b.png;synthetic;unsure\r\n", encoding="utf-8")
    assert read_labels(table).rows == ((str(tmp_path / "a, b.png"), "synthetic", True),)


@pytest.mark.parametrize(
    ("header", "row", "says"),
    [
        (
            ("path", "label"),
            ("a.png", "dunno"),
            r"row 1: the label 'dunno' is neither class; write natural or synthetic",
        ),
        (("path", "label"), ("", "natural"), r"row 1: the path is empty"),
        (("path", "label"), ("a.png", ""), r"labels no image \(1 rows have no label\)"),
        (("file", "label"), ("a.png", "natural"), r"wanted the columns path and label, found file, label"),
        (("path", "label", "synthetic"), ("a.png", "natural", "1"), r"label and synthetic both say something"),
        (("path", "label", "source"), ("a.png", "natural", "a\nb"), r"row 1"),
    ],
)
def test_what_cannot_be_read_as_labels_is_refused_with_its_row(
    tmp_path: Path, header: tuple[str, ...], row: tuple[str, ...], says: str
) -> None:
    table = write_table(tmp_path / "a.csv", [row], header=header)
    with pytest.raises(InputError, match=says):
        read_labels(table)


def test_a_table_that_is_not_there_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot be read \(No such file"):
        read_labels(tmp_path / "none.csv")


def test_the_labelled_rows_are_written_under_a_name_that_follows_from_them(tmp_path: Path) -> None:
    found = read_labels(write_table(tmp_path / "a.csv", [("a.png", "natural")]))
    first = found.written(tmp_path, name="my table")
    assert first == found.written(tmp_path, name="my table")
    assert first.read_text(encoding="utf-8") == f"path,source,synthetic\n{tmp_path / 'a.png'},natural,0\n"
