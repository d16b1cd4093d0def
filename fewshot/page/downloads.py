"""Files that a reader can take from the page: a report as JSON, and its rows as CSV, both packed by gzip."""

import csv
import gzip
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fewshot.core.path_names import path_name
from fewshot.page.render import data_address
from fewshot.page.table import KEYS, NUMBERS, entries
from fewshot.results.report import Report


@dataclass(frozen=True)
class Download:
    """One file, packed.

    Args:
        name: on the reader's disk where no script unpacks it; without ``.gz`` where one does.
        label: what the link says.
        address: holds the packed content.
    """

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
        _packed(f"{stem}.json", "the whole report as JSON", report.to_bytes()),
        _packed(f"{stem}.csv", "all rows as CSV", table),
    )


def _packed(name: str, label: str, content: bytes) -> Download:
    """Return a file packed by gzip, a fifth of its size; ``mtime`` keeps the clock out of the page."""
    packed = gzip.compress(content, mtime=0)
    return Download(
        f"{name}.gz", f"{label} ({len(packed) / 1000:,.0f} kB)", data_address(packed, kind="application/gzip")
    )


def csv_text(report: Report) -> str:
    """Return all rows as CSV, one line each: key, summary, then the value of every trial."""
    trials = max((len(row.values) for row in report.rows), default=0)
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow([*KEYS, *NUMBERS, *(f"trial_{number}" for number in range(trials))])
    for entry, row in zip(entries(report), report.rows, strict=True):
        values = [entry[key] for key in (*KEYS, *NUMBERS)]
        writer.writerow([_inert(value) for value in (*values, *row.values)])
    return buffer.getvalue()


def _inert(value: Any) -> Any:
    """Keep a spreadsheet from reading a name as a formula (OWASP, CSV injection)."""
    return "'" + value if isinstance(value, str) and value[:1] in "=+-@\t\r" and value else value
