"""A label is one of two classes by certainty, is refused with its row, or is left out and counted."""

import io
import json
import tarfile
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from fewshot.core.errors import InputError
from fewshot.embeddings.layouts.collection import collect
from fewshot.embeddings.layouts.labels import LabelReader, UnlabelledRow, label

REAL_FAKE = ["real", "fake"]


def write_hf(
    root: Path, labels: list[Any], *, kind: str, names: list[str] | None, sources: list[Any] | None = None
) -> Path:
    """Write a data set as ``datasets`` saves it, one image per label."""
    feature = {"_type": "ClassLabel", "names": names} if names else {"_type": "Value", "dtype": "int64"}
    columns = {
        "image": [{"bytes": b"x", "path": None} for _ in labels],
        "label": labels,
        "source": sources or [f"source-{number}" for number in range(len(labels))],
    }
    table = pyarrow.table(columns).replace_schema_metadata(
        {"huggingface": json.dumps({"info": {"features": {"image": {"_type": "Image"}, "label": feature}}})}
    )
    root.mkdir(parents=True, exist_ok=True)
    if kind == "arrow":
        with pyarrow.ipc.new_stream(root / "data-00000-of-00001.arrow", table.schema) as writer:
            writer.write_table(table)
    else:
        pyarrow.parquet.write_table(table, root / "0.parquet")
    return root


@pytest.mark.parametrize("kind", ["arrow", "parquet"])
@pytest.mark.parametrize("code", [-1, -2, 2, 2**40, None])
def test_a_code_outside_the_class_names_is_refused_with_its_row(tmp_path: Path, kind: str, code: int | None) -> None:
    write_hf(tmp_path, [0, 1, code], kind=kind, names=REAL_FAKE)

    with pytest.raises(
        InputError, match=rf"row 2: label = {code} is neither class; the class names are 'real', 'fake'"
    ):
        collect([tmp_path])


@pytest.mark.parametrize("labels", [[0.0, 1.0, 0.5], [0.0, 1.0, 1.0], [False, True, True], ["real", "fake", "x"]])
def test_labels_of_another_type_than_whole_numbers_have_no_class_name(tmp_path: Path, labels: list[Any]) -> None:
    write_hf(tmp_path, labels, kind="parquet", names=REAL_FAKE)

    with pytest.raises(InputError, match=r"row 0: label = .* is neither class"):
        collect([tmp_path])


@pytest.mark.parametrize("kind", ["arrow", "parquet"])
def test_rows_without_a_label_are_left_out_and_counted_on_request(tmp_path: Path, kind: str) -> None:
    write_hf(tmp_path, [0, -1, 1, None, -1], kind=kind, names=REAL_FAKE)

    found = collect([tmp_path], skip_unlabelled=True)

    assert [(sample.member, sample.synthetic) for sample in found.samples] == [("0", False), ("2", True)]
    assert "  left out: 2 x label -1 is of neither class" in found.describe()
    assert "  left out: 1 x label None is of neither class" in found.describe()


def test_the_refusal_repeats_how_many_were_left_out(tmp_path: Path) -> None:
    write_hf(tmp_path, [1, -1, -1], kind="parquet", names=REAL_FAKE)

    with pytest.raises(InputError, match=r"all 1 images .* are synthetic .*left out: 2 x label -1 is of neither class"):
        collect([tmp_path], skip_unlabelled=True)


def test_class_names_of_neither_class_are_refused(tmp_path: Path) -> None:
    write_hf(tmp_path, [0, 1, 2], kind="parquet", names=["real", "fake", "cat"])

    with pytest.raises(InputError, match="row 2: label = 2 is neither class"):
        collect([tmp_path])


def test_columns_of_labels_that_disagree_are_refused(tmp_path: Path) -> None:
    features = {"image": {"_type": "Image"}}
    table = pyarrow.table(
        {
            "image": [{"bytes": b"x", "path": None}] * 2,
            "synthetic": [0, 1],
            "is_fake": [False, False],
            "source": ["a", "b"],
        }
    ).replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pyarrow.parquet.write_table(table, tmp_path / "0.parquet")

    with pytest.raises(InputError, match="row 1: synthetic = 1 and is_fake = False name different classes"):
        collect([tmp_path])


@pytest.mark.parametrize(
    ("value", "found"),
    [(1, True), (0, False), (True, True), (1.0, True), ("1.0", True), (" Fake ", True), (Decimal(0), False)]
    + [(value, None) for value in (-1, 2, 0.5, float("nan"), None, "", "-1", b"1", [1], {"a": 1}, "1e0", "maybe")],
)
def test_only_two_values_and_the_class_words_are_labels(value: Any, found: bool | None) -> None:
    assert label(value) is found


@pytest.mark.parametrize("labels", [["real", "fake", "1"], ["0", "1", "fake"], [0, "real"]])
def test_words_and_numbers_in_one_column_are_refused(labels: list[Any]) -> None:
    reader = LabelReader(wanted="write 0 or 1")

    for value in labels[:-1]:
        reader.read(value, where="row 0: synthetic")
    with pytest.raises(InputError, match="words and numbers in one column of labels leave open what a number means"):
        reader.read(labels[-1], where="row 1: synthetic")


def write_tar(path: Path, beside: dict[str, bytes]) -> None:
    with tarfile.open(path, "w") as archive:
        for name, content in {"a.png": b"x", "b.png": b"x", "b.json": b'{"synthetic": 0}', **beside}.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))


@pytest.mark.parametrize(
    "beside",
    [
        {"a.cls": b"-1"},
        {"a.cls": b"2"},
        {"a.cls": b"\xff"},
        {"a.cls": b""},
        {"a.json": b'{"synthetic": null}'},
        {"a.json": b'{"label": 0.5}'},
        {"a.json": b'{"label": [1]}'},
        {"a.json": b'{"label": NaN}'},
        {"a.json": b"[1]"},
    ],
)
def test_a_label_of_a_tar_that_is_neither_class_is_refused_or_counted(tmp_path: Path, beside: dict[str, bytes]) -> None:
    write_tar(tmp_path / "x.tar", beside)

    with pytest.raises(InputError, match=r"'a.png' has the label = .* is neither class"):
        collect([tmp_path], one_class=True)
    found = collect([tmp_path], one_class=True, skip_unlabelled=True)
    assert [sample.member for sample in found.samples] == ["b.png"]
    assert sum(found.layouts[0].ignored.values()) == 1


@pytest.mark.parametrize(
    "beside",
    [
        {"a.cls": b"0", "a.json": b'{"synthetic": 1}'},
        {"a.json": b'{"synthetic": 1, "label": 0}'},
        {"a.json": b'{"synthetic": 1, "synthetic": 0}'},
    ],
)
def test_labels_of_a_tar_that_contradict_each_other_are_refused(tmp_path: Path, beside: dict[str, bytes]) -> None:
    write_tar(tmp_path / "x.tar", beside)

    with pytest.raises(InputError, match=r"name different classes|stands twice"):
        collect([tmp_path], one_class=True)


@pytest.mark.parametrize("code", [-1, 2, None, 0.5])
def test_community_refuses_or_counts_other_codes(tmp_path: Path, code: float | None) -> None:
    rows = {"image_data": [b"x"] * 2, "model_name": ["sd", "sd"], "label": [1, code]}
    pyarrow.parquet.write_table(pyarrow.table(rows), tmp_path / "0.parquet")

    with pytest.raises(InputError, match=rf"row 1: label = {code} is neither class"):
        collect([tmp_path], one_class=True)
    assert len(collect([tmp_path], one_class=True, skip_unlabelled=True)) == 1


def test_a_row_without_a_label_says_what_is_counted() -> None:
    with pytest.raises(UnlabelledRow) as raised:
        LabelReader(REAL_FAKE, wanted="name classes").read(-1, where="row 0: label")

    assert raised.value.reason == "label -1 is of neither class"
