"""The ranked table: one line per standing, the columns that tell them apart, within 100 columns."""

from collections.abc import Sequence
from html.parser import HTMLParser
from typing import Any

import pytest

from fewshot.results.paragraph import WIDTH, narrowed, shortened, wrapped
from fewshot.results.ranked_table import MOST, ranked_table
from fewshot.results.report import Report, Row

TEN = [0.5 + 0.02 * number for number in range(10)]


def _row(backbone: str, values: Sequence[float] = TEN, **changes: Any) -> Row:
    about: dict[str, Any] = {"layer": "pooled", "selection": "fixed", "head": "svm", "dataset": "toy", "source": "all"}
    about |= {"metric": "auroc", "n_support": 20, "n_query": 250, "shots": 10, "n_natural": 84}
    return Row(backbone, values=tuple(values), **{**about, **changes})


def _report(*rows: Row, **changes: Any) -> Report:
    return Report(**{"protocol": "fiser", "config": {}, "rows": rows, **changes})


def test_a_line_says_who_how_much_where_draws_land_and_of_what() -> None:
    table = ranked_table(_report(_row("npr"), _row("safe", [0.9] * 10)))
    assert table.header == ("backbone", "head", "shots", "AUROC 5-95 %", "mean", "95 % interval", "n")
    assert table.lines[0] == ("safe", "svm", "10", "0.900-0.900", "0.900", "0.900-0.900", "84+166")
    assert table.lines[1][:4] == ("npr", "svm", "10", "0.509-0.671")


def test_generators_and_further_measures_are_left_to_the_full_table() -> None:
    rows = [_row("npr"), _row("npr", source="sd15"), _row("npr", metric="accuracy")]
    assert len(ranked_table(_report(*rows)).lines) == 1
    assert "sd15" in _report(*rows).table(full=True)


def test_layer_data_set_view_and_share_are_columns_only_where_they_vary() -> None:
    several = [_row("npr", layer="late"), _row("npr", layer="early"), _row("npr", dataset="other", layer="late")]
    assert ranked_table(_report(*several)).header[:4] == ("backbone", "layer", "head", "data set")
    share = _row("npr", shots=None, fraction=0.0005)
    assert ranked_table(_report(share)).lines[0][2] == "0.05 %"


def test_layers_that_differ_between_backbones_alone_are_no_column() -> None:
    rows = [_row("npr", layer="a"), _row("safe", layer="b"), _row("npr", head="pretrained", layer="logit", shots=0)]
    table = ranked_table(_report(*rows))
    assert "layer" not in table.header
    assert ("npr", "pretrained", "") in [line[:3] for line in table.lines]


def test_few_draws_have_a_range_and_no_interval_and_one_draw_has_neither() -> None:
    three = ranked_table(_report(_row("npr", [0.5, 0.6, 0.9])))
    assert three.header[3] == "AUROC range"
    assert three.lines[0][3:6] == ("0.500-0.900", "0.667", "n/a")
    assert ranked_table(_report(_row("npr", [0.5]))).lines[0][3] == "one draw"


def test_views_stand_under_their_detector_with_what_they_cost() -> None:
    rows = [_row("npr", [mean] * 10, view=view) for view, mean in (("clean", 0.9), ("blur:1", 0.8), ("jpeg:30", 0.5))]
    rows += [_row("safe", [mean] * 10, view=view) for view, mean in (("clean", 0.7), ("blur:1", 0.75))]
    table = ranked_table(_report(*rows))
    view, lost = table.header.index("view"), table.header.index("lost")
    assert [(line[0], line[view], line[lost]) for line in table.lines] == [
        ("npr", "clean", ""),
        ("npr", "jpeg:30", "0.400"),
        ("npr", "blur:1", "0.100"),
        ("safe", "clean", ""),
        ("safe", "blur:1", "-0.050"),
    ]


def test_the_measures_asked_for_lead_and_stand_beside() -> None:
    rows = [_row("a", [0.9] * 10), _row("a", [0.1] * 10, metric="f1"), _row("b"), _row("b", [0.8] * 10, metric="f1")]
    table = ranked_table(_report(*rows), ["f1", "auroc"])
    assert [line[0] for line in table.lines] == ["b", "a"]
    assert table.header[-2:] == ("AUROC", "n")


def test_no_more_than_the_best_are_shown_and_the_rest_is_counted() -> None:
    report = _report(*(_row(f"net{number}", [0.5 + number / 100] * 10) for number in range(MOST + 5)))
    assert len(ranked_table(report).lines) == MOST
    assert "and 5 more: table(full=True) shows them" in report.table()
    assert "net0 " in report.table(full=True)


def test_long_names_are_shortened_in_the_middle_and_stay_different() -> None:
    names = [f"torchvision-{'x' * 60}-{number}-{'y' * 60}" for number in range(3)]
    lines = str(_report(*(_row(name, head=f"head-{'z' * 40}", dataset=name) for name in names))).splitlines()
    assert max(map(len, lines[lines.index("") + 1 :])) == WIDTH
    different = shortened([f"{'a' * 30}{number}{'b' * 30}{number}" for number in range(3)], 20)
    assert len(set(different)) == 3
    assert {len(name) for name in different} == {20}


def test_a_table_that_fits_is_left_alone() -> None:
    assert narrowed(["backbone", "n"], [["x" * 90, "1"]], names=[0]) == [["x" * 90, "1"]]


def test_a_word_is_never_split_and_lines_keep_within_the_width() -> None:
    path = "/a/" + "long" * 30
    assert path in wrapped(f"the file {path} is gone", width=40)
    assert all(len(line) <= 40 for line in wrapped("some words that go on " * 9, width=40, indent="  "))


class _Cells(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.cells: list[str] = []
        self.tags: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.cells.append(data)


def test_notebooks_show_the_columns_lines_and_warnings_of_the_text() -> None:
    report = _report(_row("npr"), _row("safe", [0.9] * 10), warnings=("20 draws are too few",))
    table, shown = ranked_table(report), _Cells(report._repr_html_())
    for text in (*table.header, *table.lines[0], *table.lines[1], "warning: 20 draws are too few"):
        assert text in shown.cells
        assert text in str(report)
    assert str(report) == report.table()


def test_a_name_is_no_markup_in_a_notebook() -> None:
    name = "<script>alert(1)</script>"
    shown = _Cells(_report(_row(name), warnings=(name,))._repr_html_())
    assert "script" not in shown.tags
    assert f"warning: {name}" in shown.cells


@pytest.mark.parametrize("protocol", ["fiser", "nearest"])
def test_an_empty_report_has_a_table_that_says_so(protocol: str) -> None:
    report = _report(protocol=protocol)
    assert "(no rows)" in str(report)
    assert report.summary().empty
    assert "nothing was measured" in report._repr_html_()


def test_the_summary_is_a_frame_with_a_line_a_row() -> None:
    report = _report(_row("npr"), _row("safe", [0.9] * 10))
    frame = report.summary()
    assert list(frame["backbone"]) == ["npr", "safe"]
    assert {"mean", "sd", "low", "high", "p5", "p95", "trials", "shots", "n_natural"} <= set(frame.columns)
    assert frame.to_dict("records") == report.summary_entries()
