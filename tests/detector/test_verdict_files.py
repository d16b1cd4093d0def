"""Verdicts as CSV, JSON lines and Parquet: what a reader of each gets back, and what is never written over."""

import csv
import json
import os
import resource
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest

from fewshot.core.errors import OptionError, OutputError
from fewshot.detector.judgement import Judged, Judgement
from fewshot.detector.verdict_files import verdict_file
from fewshot.embeddings.search.lookup import Evidence, SourceScore

SAID = Judgement(
    verdict="unsure",
    score=0.1 + 0.2,
    probability=(0.25, 0.75),
    members={"one/feature": 1.5, "two/pooled": -0.5},
    sources=(SourceScore("gan", 3, 0.75, 0.9), SourceScore("camera", 2, 0.25, 0.8)),
    neighbours=(Evidence(7, "gan/7.png", "gan", 0.9),),
    unknown=False,
    p_value=0.5,
    reason="natural as it is, but not under jpeg:75",
    under={"jpeg:75": ("synthetic", 2.0)},
)
JUDGED = Judged("in/a.png", SAID, file_sha256="a" * 64, pixel_id="b" * 64)
FAILED = Judged("in/b.png", None, failure="missing: there is no such file")
FORMATS = (".csv", ".jsonl", ".parquet")


class Interrupting(Judged):
    """An image at which the user gives up."""

    def __getattribute__(self, name: str) -> Any:
        raise KeyboardInterrupt


def write(path: Path, *judged: Judged, **columns: Any) -> Path:
    with verdict_file(path, **columns) as file:
        for each in judged:
            file.write([each])
    return path


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8", errors="surrogateescape") as stream:
        return list(csv.DictReader(stream))


def test_csv_has_a_row_an_image_and_is_empty_where_nothing_is_known(tmp_path: Path) -> None:
    judged, failed = read_csv(write(tmp_path / "v.csv", JUDGED, FAILED))

    assert judged == {
        "image": "in/a.png",
        "verdict": "unsure",
        "score": "0.30000000000000004",
        "probability_low": "0.25",
        "probability_high": "0.75",
        "unknown": "false",
        "p_value": "0.5",
        "nearest_source": "gan",
        "nearest_image": "gan/7.png",
        "reason": "natural as it is, but not under jpeg:75",
        "failure": "",
        "sha256": "a" * 64,
        "pixel_id": "b" * 64,
    }
    assert failed == dict.fromkeys(judged, "") | {"image": "in/b.png", "failure": "missing: there is no such file"}


def test_json_lines_hold_all_that_is_said(tmp_path: Path) -> None:
    lines = write(tmp_path / "v.jsonl", JUDGED, FAILED).read_text().splitlines()

    judged, failed = map(json.loads, lines)
    assert judged == {
        "image": "in/a.png",
        **json.loads(json.dumps(SAID.to_json())),
        "failure": "",
        "sha256": "a" * 64,
        "pixel_id": "b" * 64,
    }
    assert failed == {"image": "in/b.png", "failure": "missing: there is no such file", "sha256": "", "pixel_id": ""}


def test_parquet_has_typed_columns_and_nulls(tmp_path: Path) -> None:
    frame = pd.read_parquet(write(tmp_path / "v.parquet", JUDGED, FAILED))

    assert frame["image"].tolist() == ["in/a.png", "in/b.png"]
    assert frame["score"].dtype == "float64"
    assert frame["score"][0] == 0.1 + 0.2
    assert pd.isna(frame["score"][1])
    assert frame["unknown"].tolist() == [False, None]
    assert frame["verdict"][0] == "unsure"
    assert pd.isna(frame["verdict"][1])
    assert list(frame.columns) == list(read_csv(write(tmp_path / "v.csv", JUDGED))[0])


def test_parquet_is_written_in_groups_of_rows(tmp_path: Path) -> None:
    with verdict_file(tmp_path / "v.parquet") as file:
        for _ in range(9):
            file.write([JUDGED] * 4096)

    read = pq.ParquetFile(tmp_path / "v.parquet")
    assert (read.num_row_groups, read.metadata.num_rows) == (3, 9 * 4096)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_members_re_encodings_and_provenance_have_columns_where_they_are_wanted(tmp_path: Path, suffix: str) -> None:
    provenance: Mapping[str, Any] = {"credentials": {"state": "none"}}
    judged = Judged("a.png", SAID, provenance=provenance)
    columns = {"members": ["one/feature", "two/pooled"], "views": ["jpeg:75"], "provenance": True}

    path = write(tmp_path / f"v{suffix}", judged, FAILED, **columns)

    frame = pd.read_csv(path) if suffix == ".csv" else pd.read_parquet(path)
    assert list(frame.columns)[-4:] == ["score one/feature", "score two/pooled", "under jpeg:75", "provenance"]
    assert frame["score two/pooled"][0] == -0.5
    assert frame["under jpeg:75"][0] == "synthetic"
    assert json.loads(frame["provenance"][0]) == provenance
    assert frame.iloc[1, -4:].isna().all()


def test_provenance_stands_beside_the_verdict_in_json_lines(tmp_path: Path) -> None:
    judged = Judged("a.png", SAID, provenance={"credentials": {"state": "none"}})

    found = json.loads(write(tmp_path / "v.jsonl", judged, provenance=True).read_text())

    assert found["provenance"] == {"credentials": {"state": "none"}}
    assert found["score"] == SAID.score


@pytest.mark.parametrize("name", ["höhe.png", 'a,"b"\n.png', os.fsdecode(b"not-utf8-\xff.png"), "\x1b[2J.png"])
def test_names_come_back_as_they_are(tmp_path: Path, name: str) -> None:
    judged = Judged(name, SAID)

    (row,) = read_csv(write(tmp_path / "v.csv", judged))
    line = json.loads(write(tmp_path / "v.jsonl", judged).read_text())
    (cell,) = pd.read_parquet(write(tmp_path / "v.parquet", judged))["image"]

    assert row["image"] == line["image"] == name
    assert cell == name.encode("utf-8", "backslashreplace").decode()


def test_no_name_becomes_a_formula_of_a_spreadsheet(tmp_path: Path) -> None:
    said = Judgement(**{**vars(SAID), "sources": (SourceScore("=cmd()", 5, 1.0, 0.9),)})

    (row,) = read_csv(write(tmp_path / "v.csv", Judged("=HYPERLINK(1).png", said)))

    assert row["image"] == "./=HYPERLINK(1).png"  # the same file
    assert row["nearest_source"] == "'=cmd()"


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_file_is_there_only_when_all_is_written(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / f"v{suffix}", JUDGED)
    before = path.read_bytes()

    with pytest.raises(KeyboardInterrupt):
        write(path, JUDGED, Interrupting("a.png", None))

    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("judged", [[JUDGED], [FAILED], [JUDGED] * 5000])
def test_an_earlier_file_of_verdicts_is_replaced(tmp_path: Path, suffix: str, judged: list[Judged]) -> None:
    path = write(tmp_path / f"v{suffix}", *judged)

    write(path, FAILED, FAILED)

    assert path.read_bytes() == write(tmp_path / f"new{suffix}", FAILED, FAILED).read_bytes()


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("content", [b"image,label\na.png,1\n", b'{"image": "a.png", "label": 1}\n', b"PAR1 mine PAR1"])
def test_a_file_of_another_kind_is_not_written_over(tmp_path: Path, suffix: str, content: bytes) -> None:
    path = tmp_path / f"v{suffix}"
    path.write_bytes(content)

    with pytest.raises(OutputError, match=r"is there already and is not a .* of fewshot"), verdict_file(path):
        pass

    assert path.read_bytes() == content


@pytest.mark.parametrize("name", ["v.txt", "v", "v.csv.gz"])
def test_another_suffix_is_refused_with_those_there_are(tmp_path: Path, name: str) -> None:
    with pytest.raises(OptionError, match=r"are written as \.csv, \.jsonl or \.parquet"), verdict_file(tmp_path / name):
        pass


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="there is no folder"), verdict_file(tmp_path / "none" / "v.csv"):
        pass


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_full_disk_leaves_the_old_file_and_says_so(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / f"v{suffix}", JUDGED)
    before = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 1000, hard))
    try:
        with pytest.raises(OutputError, match="files may not grow so large here"):
            write(path, *[Judged(f"{number}.png", SAID) for number in range(500)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == [path.name]
