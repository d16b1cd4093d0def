"""Files that a reader can take from the page: a report as JSON, and its rows as CSV."""

import csv
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fewshot.core.path_names import path_name
from fewshot.page.render import data_address
from fewshot.page.table import COLUMNS
from fewshot.results.report import Report


@dataclass(frozen=True)
class Download:
    """One file: its name on the reader's disk, what the link says, and an address that holds its content."""

    name: str
    label: str
    address: str


def downloads(name: str, report: Report) -> tuple[Download, ...]:
    """Return the files of one report.

    Args:
        name: the report as the page names it; the files are named after it.
    """
    stem = path_name(Path(name).stem) if name else "report"
    table = csv_text(report).encode("utf-8", "backslashreplace")
    return (
        Download(f"{stem}.json", "JSON", data_address(report.to_bytes(), kind="application/json")),
        Download(f"{stem}.csv", "CSV", data_address(table, kind="text/csv")),
    )


def csv_text(report: Report) -> str:
    """Return all rows as CSV, one line each: key, summary, then the value of every trial."""
    entries = report.summary_entries()
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
