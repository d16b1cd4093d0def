"""An output never replaces a file of another kind, an input, or what is no file."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from fewshot.core.errors import OutputError
from fewshot.core.files import write_bytes, write_text
from fewshot.core.outputs import (
    FIGURES,
    HEAD,
    INDEX,
    INDEX_DESCRIPTION,
    PAGE,
    PNG,
    REPORT,
    SCORES,
    STORE,
    FileKind,
    Output,
    require_outputs,
)
from fewshot.figures.canvas import drawn, save_figure
from fewshot.page.document import write_page
from fewshot.results.report import Report
from fewshot.results.scores import save_scores

KINDS = (REPORT, SCORES, PAGE, INDEX, INDEX_DESCRIPTION, STORE, HEAD, *FIGURES.values())
OURS = {"report.json": REPORT, "kept.npz": SCORES, "page.html": PAGE, "a.png": PNG, "a.svg": FIGURES["svg"]}
OURS |= {"a.pdf": FIGURES["pdf"]}
FOREIGN = {
    "photo.png": b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
    "notes.json": b'{"schema": 1, "notes": []}',
    "list.json": b"[1, 2]",
    "index.html": b"<!DOCTYPE html><html><body>mine</body></html>",
    "data.npz": b"PK\x03\x04 not one",
    "thesis.pdf": b"%PDF-1.4 /Creator (LaTeX)",
    "text.txt": b"text",
    "one": b"x",
}


@pytest.fixture
def ours(tmp_path: Path) -> Path:
    report = Report("fiser", {}, ())
    report.save(tmp_path / "report.json")
    save_scores(tmp_path / "kept.npz", {"net|layer|svm|10": np.zeros(1), "query": np.zeros(1)})
    write_page({"r": report}, tmp_path / "page.html")
    for kind in FIGURES:
        save_figure(drawn(1, 1)[0], tmp_path / f"a.{kind}")
    return tmp_path


def test_a_file_of_ours_is_of_its_own_kind_alone(ours: Path) -> None:
    for name, kind in OURS.items():
        assert [each.name for each in KINDS if each.fits(ours / name)] == [kind.name], name


@pytest.mark.parametrize("name", FOREIGN)
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_file_of_anybody_else_is_not_replaced(tmp_path: Path, name: str, kind: FileKind) -> None:
    path = tmp_path / name
    path.write_bytes(FOREIGN[name])

    with pytest.raises(OutputError, match=r"is there already and is not .* of fewshot, so that it is not written over"):
        write_bytes(path, b"new", kind=kind)

    assert path.read_bytes() == FOREIGN[name]
    assert list(tmp_path.iterdir()) == [path]


def test_files_of_earlier_versions_are_replaced(tmp_path: Path) -> None:
    page = "<!DOCTYPE html>\n<meta content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:\">"
    old = {"a": (b"", REPORT), "b": (b'{"schema": 1, "protocol": "fiser"}', REPORT), "c": (page.encode(), PAGE)}
    for name, (content, kind) in old.items():
        (tmp_path / name).write_bytes(content)
        assert write_text(tmp_path / name, "new", kind=kind).read_text() == "new"


def test_a_report_whose_keys_come_in_another_order_is_a_report(ours: Path) -> None:
    document = json.loads((ours / "report.json").read_text())
    many = {**document, "config": {"filler": "x" * 300_000}}
    (ours / "report.json").write_text(json.dumps(many, sort_keys=True))

    assert REPORT.fits(ours / "report.json")


def test_what_appears_while_it_is_written_is_not_replaced_either(tmp_path: Path) -> None:
    from fewshot.core.files import atomic_write

    def write() -> None:
        with atomic_write(tmp_path / "a.json", kind=REPORT) as stream:
            stream.write(b"{}")
            (tmp_path / "a.json").write_text("precious")

    with pytest.raises(OutputError, match="not written over"):
        write()

    assert (tmp_path / "a.json").read_text() == "precious"
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("way", ["itself", "symlink", "hard link", "dotted", "chain"])
def test_an_input_is_never_written_over_by_whatever_name(ours: Path, way: str) -> None:
    read = ours / "report.json"
    out = {"itself": read, "dotted": ours / "x" / ".." / "report.json"}.get(way, ours / "other.json")
    (ours / "x").mkdir()
    if way == "symlink":
        out.symlink_to(read)
    if way == "hard link":
        os.link(read, out)
    if way == "chain":
        (ours / "between.json").symlink_to(read)
        out.symlink_to("between.json")

    with pytest.raises(OutputError, match=r"is read by this command .* and would be written over; name another file"):
        require_outputs([Output(out, REPORT)], inputs=[ours / "page.html", None, read])


def test_two_outputs_to_one_file_are_refused(tmp_path: Path) -> None:
    outputs = [Output(tmp_path / "a.png", PNG, "--gallery"), Output(tmp_path / "x/../a.png", PNG, "--confusion")]

    with pytest.raises(OutputError, match="is to be written by --gallery and by --confusion; name another file"):
        require_outputs(outputs)


def test_what_is_no_file_and_a_missing_folder_are_refused_before_work(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "null").symlink_to("/dev/null")
    for path, message in (
        (tmp_path, "it is a folder"),
        (tmp_path / "pipe", "it is a device or a pipe"),
        (tmp_path / "null", "it is a device or a pipe"),
        (Path("/dev/full"), "it is a device or a pipe"),
        (tmp_path / "none/a", "there is no folder .*/none; make it, or give another path by -o"),
    ):
        with pytest.raises(OutputError, match=message):
            require_outputs([Output(path, REPORT)])


def test_a_link_is_replaced_and_what_it_names_is_left_alone(ours: Path) -> None:
    before = (ours / "report.json").read_bytes()
    (ours / "latest.json").symlink_to("report.json")
    (ours / "lost.json").symlink_to("nowhere/at/all")

    for name in ("latest.json", "lost.json"):
        require_outputs([Output(ours / name, REPORT)])
        write_text(ours / name, "new", kind=REPORT)

    assert (ours / "report.json").read_bytes() == before
    assert [(ours / name).is_symlink() for name in ("latest.json", "lost.json")] == [False, False]


def test_a_link_to_a_file_of_another_kind_is_not_replaced(ours: Path) -> None:
    (ours / "link.json").symlink_to("page.html")

    with pytest.raises(OutputError, match="is not a report"):
        write_text(ours / "link.json", "new", kind=REPORT)
