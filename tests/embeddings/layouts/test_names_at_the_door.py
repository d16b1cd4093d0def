"""Names and texts that a store cannot keep are refused before work; a column without a name is left out."""

import csv
import json
from pathlib import Path

import pandas as pd
import pytest

from fewshot.core.errors import InputError
from fewshot.core.names import MOST_BYTES, require_name
from fewshot.embeddings.layouts.collection import collect

ROWS = [{"path": "a.png", "source": "cam", "synthetic": 0}, {"path": "b.png", "source": "gen", "synthetic": 1}]


def table(folder: Path, **columns: str) -> Path:
    lines = [json.dumps({**row, **columns}) + "\n" for row in ROWS]
    (folder / "t.jsonl").write_text("".join(lines))
    return folder / "t.jsonl"


@pytest.mark.parametrize(
    ("name", "why"),
    [
        (".", "means a folder"),
        ("..", "means a folder"),
        ("a\0b", "has a NUL in it"),
        ("a\ud800", "has half a surrogate pair in it"),
        ("x" * (MOST_BYTES + 1), f"has more than {MOST_BYTES} bytes"),
    ],
)
def test_a_column_of_an_unfit_name_is_refused(tmp_path: Path, name: str, why: str) -> None:
    with pytest.raises(InputError, match=rf"t\.jsonl: (the )?column .* {why}(;|, which no store can keep)"):
        collect([table(tmp_path, **{name: "x"})])


@pytest.mark.parametrize("name", ["", " ", 3, None])
def test_a_layer_without_a_name_is_refused(name: object) -> None:
    with pytest.raises(InputError, match=r"a\.pt: layer .* is (empty|no text); give it another name"):
        require_name(name, what="layer", where="a.pt")


@pytest.mark.parametrize("name", ["a/b", "/", "a@b", "höhe", "a\nb", "a\x1b[2J", "%2F", "CON"])
def test_any_other_name_is_kept(tmp_path: Path, name: str) -> None:
    found = collect([table(tmp_path, **{name: "x"})])

    assert [dict(sample.extra) for sample in found.samples] == [{name: "x"}] * 2


@pytest.mark.parametrize("column", ["path", "source", "split", "group", "anything"])
@pytest.mark.parametrize(("text", "why"), [("a\0", "a NUL"), ("a\ud800b", "half a surrogate pair")])
def test_a_text_that_cannot_be_kept_is_refused_with_its_row(tmp_path: Path, column: str, text: str, why: str) -> None:
    kept = rf"t\.jsonl, row 1: .*{column}.* '.*' has {why} in it, which no store can keep"
    with pytest.raises(InputError, match=f"{kept}|control character"):
        collect([table(tmp_path, **{column: text})])


@pytest.mark.parametrize("text", [".", "..", "/"])
def test_a_source_of_any_other_text_is_kept(tmp_path: Path, text: str) -> None:
    rows = [ROWS[0], {**ROWS[1], "source": text}]
    (tmp_path / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    assert [sample.source for sample in collect([tmp_path / "t.jsonl"]).samples] == ["cam", text]


def test_a_blank_source_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"source .*is empty"):
        collect([table(tmp_path, source=" ")])


def test_the_index_that_pandas_writes_is_left_out_with_a_word(tmp_path: Path) -> None:
    pd.DataFrame(ROWS).assign(more="x").to_csv(tmp_path / "t.csv")
    with (tmp_path / "t.csv").open() as stream:
        assert next(csv.reader(stream))[0] == ""

    found = collect([tmp_path / "t.csv"])

    assert [dict(sample.extra) for sample in found.samples] == [{"more": "x"}] * 2
    assert "  left out: 1 x column of t.csv without a name" in found.describe()
