"""Forged and damaged reports, score files and supports are refused in a sentence that names the field."""

import io
import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from fewshot.cli import group
from fewshot.core.errors import InputError, ReportError, WeightsError
from fewshot.core.npz import read_npz
from fewshot.heads.base import Head
from fewshot.heads.state import from_bytes, to_bytes
from fewshot.heads.svm import Svm
from fewshot.protocols.base import PROTOCOLS
from fewshot.protocols.trials.support_lists import read_supports
from fewshot.results.report import Confusion, Report
from fewshot.results.report_file import digest_of
from fewshot.results.row import Row
from fewshot.results.scores import save_scores, scores_beside

NAN = float("nan")


def row(**changes: Any) -> Row:
    fields: dict[str, Any] = {"backbone": "net", "layer": "late", "selection": "fixed", "head": "svm"}
    fields |= {"dataset": "toy", "source": "all", "metric": "auroc", "n_support": 20, "n_query": 80, "shots": 10}
    return Row(**{**fields, "values": (0.5, 0.75), **changes})


def report() -> Report:
    rows = (
        row(),
        row(source="gan", values=(0.25, NAN), interval=(0.125, 0.5)),
        row(layer="oracle", choices=("a", "b")),
    )
    counts = Confusion(("camera", "gan"), ((3, 1), (0, 4)))
    config = {"shots": [10], "trials": 2, "seed": 0, "stores": [{"path": "s.h5", "layers": {"net/late": "ab"}}]}
    return Report("fiser", config, rows, {"0": ["a.png"], "1": ["b.png"]}, ("one",), {"command": ["adapt"]}, counts)


WRONG: tuple[Any, ...] = (None, True, -1, 0.5, "text", [], [[]], {}, {"a": 1}, [None], 2**70, 10**400)
FIELDS = (
    ["schema"], ["protocol"], ["config"], ["config", "stores"], ["config", "stores", 0, "path"],
    ["config", "stores", 0, "layers"], ["rows"], ["rows", 0], ["supports"], ["supports", "0"], ["warnings"],
    ["provenance"], ["provenance", "command"], ["confusion"], ["confusion", "names"], ["confusion", "counts"],
    *(["rows", 1, name] for name in report().to_json()["rows"][1]), ["rows", 1, "values", 0], ["rows", 2, "choices"],
)  # fmt: skip


def at(document: Any, path: list[Any]) -> Any:
    for name in path:
        document = document[name]
    return document


@pytest.mark.parametrize("path", FIELDS, ids=lambda path: ".".join(map(str, path)))
def test_wrong_types_in_any_field_are_refused_or_read_as_they_are(path: list[Any]) -> None:
    for value in WRONG:
        document = report().to_json()
        at(document, path[:-1])[path[-1]] = value
        try:
            found = Report.from_json(document)
        except ReportError:
            continue
        found.table()
        json.dumps(found.to_json(), allow_nan=False)


@pytest.mark.parametrize(
    ("path", "value", "where"),
    [
        (["rows", 1, "values"], [0.5, "much"], "`$.rows[1].values[1]`"),
        (["rows", 0, "n_query"], "many", "`$.rows[0].n_query`"),
        (["rows", 0, "n_query"], -3, "`$.rows[0].n_query`"),
        (["rows", 0, "n_query"], True, "`$.rows[0].n_query`"),
        (["rows", 0, "values"], [], "`$.rows[0].values`"),
        (["rows", 0, "selection"], "lucky", "`$.rows[0].selection`"),
        (["rows", 2, "choices"], ["a"], "`$.rows[2].choices`"),
        (["rows", 1, "interval"], [0.5], "`$.rows[1].interval`"),
        (["supports", "0"], [1, 2], "`$.supports[...]"),
        (["config", "ddof"], 2, "`$.ddof`"),
        (["config", "stores", 0, "layers"], ["net"], "`$.stores[0].layers`"),
        (["confusion", "counts"], [[1, 2]], "`$.confusion`"),
        (["provenance", "command"], "adapt", "`$.command`"),
    ],
)
def test_the_message_names_the_field(path: list[Any], value: Any, where: str) -> None:
    document = report().to_json()
    at(document, path[:-1])[path[-1]] = value
    with pytest.raises(ReportError) as raised:
        Report.from_json(document)
    assert where in str(raised.value)


@pytest.mark.parametrize(
    "name", ["protocol", "config", *(n for n in report().to_json()["rows"][0] if n not in ("view", "shots"))]
)
def test_a_missing_field_is_named(name: str) -> None:
    document = report().to_json()
    del (document if name in document else document["rows"][0])[name]
    with pytest.raises(ReportError, match=f"missing required field `{name}`"):
        Report.from_json(document)


@pytest.mark.parametrize("schema", [None, True, 1.0, "1", [1], {}, 0, -1, 2, 10**400], ids=repr)
def test_other_schema_numbers_are_refused(schema: Any) -> None:
    with pytest.raises(ReportError, match="schema"):
        Report.from_json({**report().to_json(), "schema": schema})


@pytest.mark.parametrize(
    "text",
    [
        "", "[" * 100_000 + "]" * 100_000, '{"a":' * 100_000, '{"schema": 1, "rows": [NaN]}',
        '{"schema": 1, "rows": [1e999]}',
        '{"schema": 1, "rows": "\\ud800"}', '{"schema": 1, "rows": [' + "9" * 5000 + "]}", "\x00", "{} {}",
    ],
    ids=range(9),
)  # fmt: skip
def test_json_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "r.json").write_text(text)
    with pytest.raises(ReportError):
        Report.load(tmp_path / "r.json")


def test_two_rows_that_contradict_each_other_are_refused() -> None:
    document = report().to_json()
    document["rows"].append({**document["rows"][0], "values": [1.0, 1.0]})
    with pytest.raises(
        ReportError, match="two rows of net / late / fixed / svm / toy / all / 10 / clean / auroc differ"
    ):
        Report.from_json(document)


def test_a_changed_number_is_detected_however_the_file_is_laid_out(tmp_path: Path) -> None:
    path = report().save(tmp_path / "r.json")
    document = json.loads(path.read_text())
    path.write_text(json.dumps(document, sort_keys=True))
    assert Report.load(path).compare(report()).equal
    document["rows"][0]["values"][0] = 0.51
    path.write_text(json.dumps(document))
    with pytest.raises(ReportError, match="not as it was written"):
        Report.load(path)
    del document["provenance"]["digest"]
    path.write_text(json.dumps(document))
    assert Report.load(path).rows[0].values[0] == 0.51


def test_the_digest_is_of_the_canonical_json() -> None:
    document = report().to_json()
    assert digest_of(document) == digest_of(json.loads(json.dumps(document, indent=3)))


@pytest.mark.parametrize("command", ["compare", "report", "replay", "inspect"])
def test_commands_refuse_an_edited_report(tmp_path: Path, command: str) -> None:
    path = report().save(tmp_path / "r.json")
    path.write_text(path.read_text().replace("0.75", "0.76"))
    more = ["-o", str(tmp_path / "page.html")] if command == "report" else []
    found = CliRunner().invoke(group, [command, str(path), *more])
    assert found.exit_code == 1
    assert "not as it was written" in found.output


def flipped(content: bytes, bit: int) -> bytes:
    damaged = bytearray(content)
    damaged[bit // 8] ^= 1 << bit % 8
    return bytes(damaged)


def test_no_flipped_bit_of_a_report_changes_a_number(tmp_path: Path) -> None:
    content, whole = report().to_bytes(), report().to_json()
    path = tmp_path / "r.json"
    for bit in np.random.default_rng(0).integers(8 * len(content), size=1000).tolist():
        path.write_bytes(flipped(content, bit))
        try:
            found = Report.load(path)
        except ReportError:
            continue
        for name in ("rows", "summary", "supports", "config", "confusion", "warnings", "protocol"):
            assert found.to_json()[name] == whole[name]


def test_no_flipped_bit_of_a_score_file_changes_a_score(tmp_path: Path) -> None:
    arrays = {"query": np.eye(4, dtype=bool), "a|b|svm|1": np.arange(8, dtype=np.float32), "key": np.array(["x", "yz"])}
    content = save_scores(tmp_path / "r.npz", arrays).read_bytes()
    for bit in np.random.default_rng(1).integers(8 * len(content), size=1000).tolist():
        (tmp_path / "r.npz").write_bytes(flipped(content, bit))
        try:
            found = scores_beside(tmp_path / "r.json")
        except ReportError:
            continue
        assert set(found) == set(arrays)
        for name, array in found.items():
            assert array.dtype == arrays[name].dtype
            np.testing.assert_array_equal(array, arrays[name])


def test_no_flipped_bit_of_a_saved_head_changes_a_score() -> None:
    features = np.random.default_rng(0).normal(size=(12, 4))
    head = Svm().fit(features, np.arange(12) % 2)
    content, expected = to_bytes(head.state()), head.decision_function(features)
    for bit in np.random.default_rng(2).integers(8 * len(content), size=1000).tolist():
        try:
            found: Any = Head.from_state(from_bytes(flipped(content, bit)))
        except WeightsError:
            continue
        np.testing.assert_array_equal(found.decision_function(features), expected)


def archive(**members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as made:
        for name, content in members.items():
            made.writestr(f"{name}.npy", content)
    return buffer.getvalue()


def npy(header: dict[str, Any] | str, content: bytes = b"") -> bytes:
    text = (header if isinstance(header, str) else repr(header)).encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + content


def plain(shape: tuple[Any, ...], descr: str = "<f4") -> dict[str, Any]:
    return {"descr": descr, "fortran_order": False, "shape": shape}


FORGED: dict[str, Callable[[], bytes]] = {
    "two to the forty": lambda: archive(a=npy(plain((2**40,)), bytes(64))),
    "negative": lambda: archive(a=npy(plain((-4,)), bytes(16))),
    "product of negatives": lambda: archive(a=npy(plain((-2, -2)), bytes(16))),
    "overflowing": lambda: archive(a=npy(plain((2**63, 2)), bytes(16))),
    "objects": lambda: archive(a=npy(plain((1,), "|O"), b"cos\nsystem\n(S'x'\ntR.")),
    "fields": lambda: archive(a=npy("{'descr': [('x', '<f4')], 'fortran_order': False, 'shape': (1,)}", bytes(4))),
    "dates": lambda: archive(a=npy(plain((1,), "<M8[s]"), bytes(8))),
    "bomb": lambda: archive(a=npy(plain((9 << 30,), "|b1"), b"")),
    "no header": lambda: archive(a=b"nothing"),
    "empty": lambda: archive(a=b""),
    "nested header": lambda: archive(a=npy("(" * 5000, b"")),
    "code as header": lambda: archive(a=npy("__import__('os').system('x')", b"")),
    "impossible characters": lambda: archive(a=npy(plain((1,), "<U1"), b"\xff\xff\xff\x7f")),
    "surrogates": lambda: archive(a=npy(plain((1,), "<U1"), (0xD800).to_bytes(4, "little"))),
    "no archive": lambda: b"PK\x05\x06",
    "an array": lambda: npy(plain((1,)), bytes(4)),
}


@pytest.mark.parametrize("name", FORGED)
def test_forged_score_files_are_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "r.npz").write_bytes(FORGED[name]())
    with pytest.raises(ReportError, match="cannot be read"):
        scores_beside(tmp_path / "r.json")


def test_more_bytes_than_are_read_are_refused_before_they_are_unpacked(tmp_path: Path) -> None:
    save_scores(tmp_path / "r.npz", {"a": np.zeros(1 << 20)})
    with pytest.raises(ValueError, match="8,388,736 bytes, and at most 1,000 are read"):
        read_npz(tmp_path / "r.npz", limit=1000)


@pytest.mark.parametrize("suffix", ["json", "npz", "txt"])
def test_a_pipe_is_refused_at_once(tmp_path: Path, suffix: str) -> None:
    os.mkfifo(tmp_path / f"r.{suffix}")
    reader: Callable[[Path], Any] = {"json": Report.load, "npz": scores_beside, "txt": read_supports}[suffix]
    with pytest.raises((ReportError, InputError), match="named pipe"):
        reader(tmp_path / f"r.{suffix}")


@pytest.mark.parametrize(
    "text",
    [
        "[1, 2]",
        '[["a", 1]]',
        '{"0": "a.png"}',
        '{"0": {"support": "x"}}',
        "[[]]",
        "[" * 100_000,
        '"a"',
        "3",
        "null",
        "[NaN]",
        '["\\ud800"]',
    ],
)
def test_supports_of_another_form_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "s.json").write_text(text)
    with pytest.raises(InputError, match="the support file"):
        read_supports(tmp_path / "s.json")


def test_supports_of_an_edited_report_are_refused(tmp_path: Path) -> None:
    path = report().save(tmp_path / "r.json")
    assert read_supports(path) == [["a.png"], ["b.png"]]
    path.write_text(path.read_text().replace("a.png", "c.png"))
    with pytest.raises(ReportError, match="not as it was written"):
        read_supports(path)


@pytest.mark.parametrize(
    ("protocol", "config"),
    [
        ("fiser", {"trials": "many"}),
        ("fiser", {"head": "svm"}),
        ("fiser", {"shots": [1.5]}),
        ("fiser", {"draw": "lucky"}),
        ("fiser", {"where": [1]}),
        ("nearest", {"k": None}),
        ("nearest", {"metric": "hamming"}),
        ("robustness", {"shots": [10]}),
        ("robustness", {"view": {"net": 3}}),
        ("attribution", {"layers": 3}),
        ("attribution", {"recipe": 3}),
        ("attribution", {"fractions": ["half"]}),
    ],
)
def test_a_configuration_that_cannot_be_replayed_is_refused(protocol: str, config: dict[str, Any]) -> None:
    with pytest.raises(ReportError, match="configuration cannot be used"):
        PROTOCOLS.load(protocol).from_config(config)


def test_a_command_line_that_is_not_unicode_leaves_a_report_that_can_be_read(tmp_path: Path) -> None:
    made = Report("fiser", {}, (row(),), provenance={"command": ["adapt", "\udcff.h5"]}).save(tmp_path / "r.json")
    assert Report.load(made).provenance["command"] == ["adapt", "\\udcff.h5"]
