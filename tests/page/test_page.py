"""The page shows every number, escapes every name, loads nothing, and gives the report back unchanged."""

import base64
import csv
import gzip
import hashlib
import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from markupsafe import escape

from fewshot.cli import group
from fewshot.core.errors import OutputError
from fewshot.core.registry import family
from fewshot.embeddings.store.writer import LayerData, write_store
from fewshot.page.document import page_html, write_page
from fewshot.page.downloads import csv_text
from fewshot.page.names import explained
from fewshot.page.table import report_tables
from fewshot.results.answer import answer
from fewshot.results.report import Report
from fewshot.results.row import Row

HOSTILE = '<script>alert("x")</script>'


def row(source: str, values: tuple[float, ...], *, shots: int = 10, metric: str = "auroc") -> Row:
    return Row("npr", "pooled", "fixed", "svm", "toy", source, metric, 2 * shots, 80, values, shots=shots)


@pytest.fixture
def report() -> Report:
    """Two generators, two sizes of support, a warning and a name that tries to be markup."""
    rows = (
        row("all", (0.6, 0.8), shots=1),
        row("all", (0.7, 0.9)),
        row(HOSTILE, (0.5, 0.7)),
        row("all", (0.5, 0.5), metric="accuracy"),
    )
    return Report(
        "fiser",
        {"seed": 0},
        rows,
        warnings=(f"formats differ {HOSTILE}",),
        provenance={"command": ["fewshot", HOSTILE]},
    )


class Tags(HTMLParser):
    """Every start tag with its attributes, and the balance of those that need an end."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in {"meta", "br"}:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_page_is_balanced_and_loads_nothing_from_elsewhere(report: Report) -> None:
    tags = Tags(page_html({"a.json": report}, title="t"))
    assert tags.open == []
    for tag, attributes in tags.found:
        assert tag not in {"img", "link", "iframe", "object", "embed", "base", "form"}
        for name in ("src", "href", "xlink:href", "action"):
            value = attributes.get(name)
            assert value is None or value.startswith(("#", "data:")), (tag, value)


def test_only_the_script_of_the_page_may_run(report: Report) -> None:
    page = page_html({"a.json": report}, title=HOSTILE)
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    wanted = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{wanted}'" in page
    assert "alert(" not in script


def test_the_answer_stands_first_then_its_dots_then_one_box_of_warnings_then_the_folded_rest(report: Report) -> None:
    page = page_html({"a.json": report}, title="t")
    body = page[page.index("<body>") :]
    parts = (f"{answer(report)}.", "<figure", "Read this first", "<details", "<table", 'class="run"')
    places = [body.index(part) for part in parts]
    assert places == sorted(places)
    assert body.count("Read this first") == 1


def test_a_report_without_warnings_says_so(report: Report) -> None:
    quiet = Report(report.protocol, report.config, report.rows)
    assert "No warning was raised" in page_html({"a.json": quiet}, title="t")


def test_tables_show_mean_and_range_of_every_row_by_measure(report: Report) -> None:
    table, other = report_tables(report)
    headings = [heading.text for heading in table.headings]
    second = dict(zip(headings, table.rows[1], strict=True))
    assert (table.title, len(table.rows)) == ("AUROC", 3)
    assert (other.title, len(other.rows)) == ("accuracy", 1)
    assert (second["AUROC"].text, second["AUROC"].value) == ("0.800", "0.8")
    assert [second[name].text for name in ("draws from", "to")] == ["0.700", "0.900"]
    assert (second["source"].text, second["source"].value) == ("all", None)
    assert "selection" not in headings  # never varies
    assert "shots" in headings  # varies


def test_the_mean_stands_beside_the_detector_in_every_table(report: Report) -> None:
    headings = [[heading.text for heading in table.headings] for table in report_tables(report)]
    assert [names[:2] for names in headings] == [["detector", "AUROC"], ["detector", "accuracy"]]


def test_the_measure_that_a_report_is_ranked_by_has_the_first_table(report: Report) -> None:
    turned = Report(report.protocol, report.config, tuple(reversed(report.rows)))
    assert [table.title for table in report_tables(turned)] == ["AUROC", "accuracy"]


def test_the_page_shows_every_row_of_the_tables(report: Report) -> None:
    page = page_html({"a.json": report}, title="t")
    assert page.count('<tr><th scope="row">npr + svm</th>') == len(report.rows)
    assert ' data-value="0.8">0.800</td>' in page


def test_json_taken_from_the_page_is_the_report(report: Report) -> None:
    packed, _ = packed_files(page_html({"a.json": report}, title="t"))
    assert Report.from_json(json.loads(packed)) == report


def test_csv_taken_from_the_page_has_all_rows(report: Report) -> None:
    _, packed = packed_files(page_html({"a.json": report}, title="t"))
    assert packed.decode() == csv_text(report)


def packed_files(page: str) -> list[bytes]:
    """Return what a page's links hold, unpacked."""
    found = re.findall(r'<a download="a\.(?:json|csv)\.gz" href="data:application/gzip;base64,([^"]+)"', page)
    return [gzip.decompress(base64.b64decode(encoded)) for encoded in found]


def test_csv_has_a_line_per_row_and_a_column_per_trial(report: Report) -> None:
    entries = list(csv.DictReader(io.StringIO(csv_text(report))))
    assert [(entry["trial_0"], entry["trial_1"]) for entry in entries[:2]] == [("0.6", "0.8"), ("0.7", "0.9")]
    assert float(entries[1]["mean"]) == pytest.approx(0.8)


def test_a_name_cannot_become_a_formula() -> None:
    report = Report("fiser", {}, (row("=HYPERLINK(1)", (0.5,)),))
    (entry,) = csv.DictReader(io.StringIO(csv_text(report)))
    assert entry["source"] == "'=HYPERLINK(1)"


def test_a_report_without_rows_still_makes_a_page() -> None:
    page = page_html({"empty.json": Report("fiser", {}, ())}, title="t")
    assert '<p class="verdict">nothing was measured.</p>' in page


def test_each_of_several_reports_has_its_answer_with_a_link_to_what_is_behind_it(report: Report) -> None:
    page = page_html({"a.json": report, "b.json": report}, title="t")
    assert '<a href="#report-1">b.json</a>' in page
    assert page.count(f'<p class="verdict">{answer(report)}.</p>') == 2


def test_a_warning_of_one_of_several_reports_names_it(report: Report) -> None:
    quiet = Report(report.protocol, report.config, report.rows)
    page = page_html({"a.json": report, "b.json": quiet}, title="t")
    assert "<li>a.json: formats differ" in page


def test_of_three_reports_one_warning_is_shown_and_what_they_share_is_said_once(report: Report) -> None:
    loud = [replace(report, warnings=("shared by all", *own)) for own in ((), ("of two",), ("of two", "of one"))]
    page = page_html({str(number): one for number, one in enumerate(loud)}, title="three")
    assert page.count("shared by all") == 1
    assert "<li>1, 2: of two</li><li>2: of one</li>" in page
    assert page.index("shared by all") < page.index("2 more") < page.index("1, 2: of two")


def test_more_than_five_warnings_are_folded(report: Report) -> None:
    loud = Report(report.protocol, report.config, report.rows, warnings=tuple(f"warning {n}" for n in range(8)))
    page = page_html({"a.json": loud}, title="t")
    assert page.index("<li>warning 4</li>") < page.index("<summary>3 more</summary>") < page.index("<li>warning 5</li>")


def test_names_of_protocol_heads_and_backbones_are_explained_in_the_words_of_their_registries(report: Report) -> None:
    page = page_html({"a.json": report}, title="t")
    for plural, name in (("protocols", "fiser"), ("heads", "svm"), ("backbones", "npr")):
        assert f"<dt>{name}</dt><dd>{escape(family(plural).summary(name).replace('``', ''))}</dd>" in page
    assert "<strong>fiser</strong>: The few-shot protocol of FiSeR: few labelled images" in page


def test_a_head_of_a_variant_is_explained_and_an_unknown_one_is_not(report: Report) -> None:
    heads = ("acm:natural", "mine", "pretrained", "svm")
    rows = tuple(replace(one, head=head) for one, head in zip(report.rows, heads, strict=True))
    names = dict(explained([Report("theirs", {}, rows)]))
    assert names["acm:natural"] == family("heads").summary("acm")
    assert names["pretrained"].startswith("the head that came with the checkpoint")
    assert {"mine", "theirs"} & set(names) == set()


def test_everything_behind_the_answer_is_folded(report: Report) -> None:
    page = page_html({"a.json": report}, title="t")
    tags = [(tag, attributes) for tag, attributes in Tags(page).found if tag == "details"]
    behind = page[page.index('id="report-0"') :]
    assert re.findall(r"<details><summary>([^<]*)</summary>", behind) == [
        "By number of labelled images",
        "By generator",
        "All rows",
        "accuracy: 1 row",
        "What was run, and files to take away",
        "Configuration and provenance",
        "What the names mean",
    ]
    assert [attributes for _, attributes in tags if attributes] == [{"open": None}]  # the first table, within All rows


def test_the_same_reports_make_the_same_page(report: Report) -> None:
    assert page_html({"a": report}, title="t") == page_html({"a": report}, title="t")


def test_page_that_cannot_be_written_is_named(report: Report, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"missing/page\.html cannot be written: there is no folder .* by -o"):
        write_page({"a": report}, tmp_path / "missing" / "page.html")


def test_command_writes_the_page_and_prints_its_place(report: Report, tmp_path: Path) -> None:
    saved = report.save(tmp_path / "report.json")
    done = CliRunner().invoke(group, ["report", str(saved), "-o", str(tmp_path / "page.html"), "--title", "Mine"])
    assert done.exit_code == 0
    assert done.stdout.strip() == str(tmp_path / "page.html")
    assert "<h1>Mine</h1>" in (tmp_path / "page.html").read_text("utf-8")


def test_command_says_what_is_no_report(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("[]")
    done = CliRunner().invoke(group, ["report", str(tmp_path / "x.json")])
    assert done.exit_code == 1
    assert "is not a fewshot report" in done.stderr


def test_command_says_what_is_a_store(store: Path) -> None:
    done = CliRunner().invoke(group, ["report", str(store)])
    assert done.exit_code == 1
    assert f"{store} is a store of features, not a report; run `fewshot adapt {store} -o report.json`" in done.stderr


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Twelve images a class, natural JPEG and synthetic PNG, with three features each."""
    samples = pd.DataFrame(
        {
            "key": [f"{number}.png" for number in range(24)],
            "source": ["photo"] * 12 + [HOSTILE] * 12,
            "synthetic": [False] * 12 + [True] * 12,
            "format": ["JPEG"] * 12 + ["PNG"] * 12,
            "width": 64,
            "height": 64,
        }
    )
    features = np.random.default_rng(0).standard_normal((24, 3)).astype(np.float32)
    write_store(tmp_path / "store.h5", samples, [LayerData("npr", "pooled", features, default=True)])
    return tmp_path / "store.h5"


def test_with_a_store_its_warnings_stand_first_and_its_audit_and_features_are_folded(
    report: Report, store: Path, tmp_path: Path
) -> None:
    saved = report.save(tmp_path / "report.json")
    out = tmp_path / "page.html"
    done = CliRunner().invoke(group, ["report", str(saved), "-o", str(out), "--store", str(store)])
    assert done.exit_code == 0, done.output
    page = out.read_text("utf-8")
    places = [
        page.index(part) for part in ("file metadata alone", "formats differ", 'id="report-0"', "<details><summary>Au")
    ]
    assert places == sorted(places)  # formats separate the classes; and the report's own warning
    assert "<details><summary>Audit of the store: 24 images, 12 natural, 12 synthetic</summary>" in page
    assert "<details><summary>Figures of the features</summary>" in page
    assert page.count("Read this first") == 1
    assert HOSTILE not in page
    assert Tags(page).open == []
