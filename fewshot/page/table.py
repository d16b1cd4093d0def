"""A report's rows as a table: for the page, sortable, and as CSV to take away."""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from fewshot.results.report import Report

# Report columns in reading order: heading, then the key of ``Report.summary``.
COLUMNS = {
    "backbone": "backbone",
    "layer": "layer",
    "selection": "selection",
    "head": "head",
    "dataset": "dataset",
    "source": "source",
    "view": "view",
    "shots": "shots",
    "fraction": "fraction",
    "metric": "metric",
    "5 %": "p5",
    "95 %": "p95",
    "mean": "mean",
    "95 % interval, low": "low",
    "high": "high",
    "sd": "sd",
    "trials": "trials",
    "support": "n_support",
    "query": "n_query",
}
_ALWAYS = {"backbone", "source", "metric", "p5", "p95", "mean", "low", "high", "trials", "n_query"}


def html_table(report: Report) -> str:
    """Return the rows as a sortable ``<table>``; columns that never vary are left out."""
    entries = report.summary()
    shown = {heading: key for heading, key in COLUMNS.items() if _worth_showing(entries, key)}
    numeric = {
        key for key in shown.values() if all(isinstance(entry.get(key), int | float | None) for entry in entries)
    }
    head = "".join(
        f'<th scope="col"{_class(key in numeric)}><button type="button">{escape(heading)}</button></th>'
        for heading, key in shown.items()
    )
    body = "".join(
        "<tr>" + "".join(_cell(entry.get(key), number=key in numeric) for key in shown.values()) + "</tr>"
        for entry in entries
    )
    return (
        f'<div class="scroll"><table class="sortable"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
    )


def csv_text(report: Report) -> str:
    """Return all rows as CSV, one line each: key, summary, then the value of every trial."""
    entries = report.summary()
    trials = max((len(row.values) for row in report.rows), default=0)
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow([*COLUMNS.values(), *(f"trial_{number}" for number in range(trials))])
    for entry, row in zip(entries, report.rows, strict=True):
        values = [entry.get(key) for key in COLUMNS.values()]
        writer.writerow([_inert(value) for value in (*values, *row.values)])
    return buffer.getvalue()


def _inert(value: Any) -> Any:
    """Keep a spreadsheet from reading a name as a formula (OWASP, CSV injection)."""
    return "'" + value if isinstance(value, str) and value[:1] in "=+-@\t\r" and value else value


def _worth_showing(entries: Sequence[Mapping[str, Any]], key: str) -> bool:
    return key in _ALWAYS or len({entry.get(key) for entry in entries}) > 1


def _class(number: bool) -> str:
    return ' class="number"' if number else ""


def _cell(value: Any, *, number: bool) -> str:
    exact = f' data-value="{value!r}"' if number and value is not None and not _undefined(value) else ""
    return f"<td{_class(number)}{exact}>{escape(_shown(value))}</td>"


def _shown(value: Any) -> str:
    if value is None:
        return ""
    if _undefined(value):
        return "n/a"
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _undefined(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)
