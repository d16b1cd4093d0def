"""A page of a report of any size: what a browser can draw is shown, and what is left out is said."""

from pathlib import Path

import pytest

from fewshot.page.document import write_page
from fewshot.page.shown import MOST_DETECTORS, MOST_GENERATORS, MOST_ROWS, drawable, shown_of
from fewshot.results.report import Report
from fewshot.results.row import Row


def row(number: int, *, source: str = "gan", values: tuple[float, ...] = (0.5, 0.75)) -> Row:
    return Row("net", f"layer{number}", "fixed", "svm", "toy", source, "auroc", 20, 80, values, shots=10)


def many(count: int) -> Report:
    rows = [row(number, source="all" if number % 100 == 99 else f"gan{number % 3}") for number in range(count)]
    return Report("fiser", {}, tuple(rows))


def test_a_report_that_fits_is_shown_whole() -> None:
    report = many(100)
    shown = shown_of(report)
    assert (shown.report, shown.complete, shown.left_out) == (report, True, ())


def test_pooled_rows_come_before_those_of_one_generator() -> None:
    report = many(3 * MOST_ROWS)
    shown = shown_of(report)
    assert len(shown.report.rows) == MOST_ROWS
    assert set(report.where(source="all")) <= set(shown.report.rows)
    assert "2,000 of 6,000 rows are shown" in shown.left_out[0]


def test_a_figure_takes_no_more_lines_than_can_be_told_apart() -> None:
    rows = [row(number, source=f"gan{other}") for number in range(60) for other in range(60)]
    kept = drawable(rows)
    assert len({one.layer for one in kept}) == MOST_DETECTORS
    assert len({one.source for one in kept}) == MOST_GENERATORS


def test_a_page_of_a_large_report_says_what_it_leaves_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fewshot.page.shown.MOST_ROWS", 5)
    monkeypatch.setattr("fewshot.page.shown.MOST_VALUES", 10)
    page = write_page({"r.json": many(12)}, tmp_path / "page.html").read_text()
    assert "5 of 12 rows are shown and drawn" in page
    assert "too large to be carried by this page" in page
    assert "application/json" not in page
