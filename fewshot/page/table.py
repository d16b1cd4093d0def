"""Tables of a page, which a reader can sort: a report's rows, and what an audit found."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fewshot.audit import Audit
from fewshot.results.report import Report

# Report columns in reading order: heading, then the key of ``Report.summary_entries``.
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


@dataclass(frozen=True)
class Heading:
    """A column's heading, and whether its cells are numbers, which stand at the right."""

    text: str
    number: bool = False


@dataclass(frozen=True)
class Cell:
    """What a cell shows, and by which exact value it is sorted; None sorts by the text."""

    text: str
    value: str | None = None


@dataclass(frozen=True)
class Table:
    """Headings, and as many cells in every row."""

    headings: tuple[Heading, ...]
    rows: tuple[tuple[Cell, ...], ...]


def report_rows(report: Report) -> Table:
    """Return a report's rows; columns that never vary are left out."""
    entries = report.summary_entries()
    shown = {heading: key for heading, key in COLUMNS.items() if _worth_showing(entries, key)}
    headings = tuple(Heading(heading, _numeric(entries, key)) for heading, key in shown.items())
    keys = list(zip(shown.values(), headings, strict=True))
    rows = tuple(tuple(_cell(entry.get(key), number=heading.number) for key, heading in keys) for entry in entries)
    return Table(headings, rows)


def confound_rows(audit: Audit) -> Table:
    """Return how well file metadata alone separates the classes, one row per measurement."""
    header = ["against natural", "metadata", "AUROC", "95 % interval"]
    rows = [
        [one.source, ", ".join(one.fields), f"{one.auroc:.3f}", f"{one.low:.3f}-{one.high:.3f}"]
        for one in audit.confounds
    ]
    return _plain(header, rows)


def duplicate_rows(audit: Audit) -> Table:
    """Return the numbers of duplicate pairs, exact and near."""
    header = ["likeness", "pairs", "classes", "sources", "splits", "not of one group"]
    rows = [
        [one.likeness, *(str(count) for count in (one.pairs, one.classes, one.sources, one.splits, one.groups))]
        for one in audit.leaks
    ]
    return _plain(header, rows)


def _plain(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    return Table(tuple(map(Heading, header)), tuple(tuple(map(Cell, row)) for row in rows))


def _worth_showing(entries: Sequence[Mapping[str, Any]], key: str) -> bool:
    return key in _ALWAYS or len({entry.get(key) for entry in entries}) > 1


def _numeric(entries: Sequence[Mapping[str, Any]], key: str) -> bool:
    return all(isinstance(entry.get(key), int | float | None) for entry in entries)


def _cell(value: Any, *, number: bool) -> Cell:
    if value is None:
        return Cell("")
    if isinstance(value, float) and math.isnan(value):
        return Cell("n/a")
    return Cell(f"{value:.3f}" if isinstance(value, float) else str(value), repr(value) if number else None)
