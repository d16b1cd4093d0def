"""Tables of a page, which a reader can sort: a report's rows, and what an audit found."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from fewshot.audit import Audit
from fewshot.results.answer import leading_metric, measure_title
from fewshot.results.members import backbone_title
from fewshot.results.report import Report
from fewshot.results.row import Row
from fewshot.stats.intervals import Summary

# What a report's rows are exported as, in reading order: the row's key, then its summary.
KEYS = ("backbone", "layer", "selection", "head", "dataset", "source", "view", "shots", "fraction", "metric")
NUMBERS = ("p5", "p95", "mean", "low", "high", "sd", "trials", "n_support", "n_query", "n_natural")
# Columns of a page after the detector and the mean, so that both are seen on a phone: key, then heading.
_COLUMNS = {
    "shots": "shots",
    "fraction": "fraction",
    "source": "source",
    "view": "view",
    "from": "draws from",
    "to": "to",
    "low": "95 % interval, low",
    "high": "high",
    "sd": "sd",
    "trials": "draws",
    "n_support": "support",
    "n_query": "queried",
    "n_natural": "of them natural",
    "layer": "layer",
    "selection": "selection",
    "dataset": "dataset",
}
_ALWAYS = {"source", "from", "to", "low", "high", "trials", "n_query"}


@dataclass(frozen=True)
class Heading:
    """A column's heading, and whether its cells are numbers, which stand at the right."""

    text: str
    number: bool = False


@dataclass(frozen=True)
class Cell:
    """What a cell shows, and by which more exact value it is sorted; None sorts by the text."""

    text: str
    value: str | None = None


@dataclass(frozen=True)
class Table:
    """What it is of, its headings, and as many cells in every row; the first cell names the row."""

    title: str
    headings: tuple[Heading, ...]
    rows: tuple[tuple[Cell, ...], ...]


def report_tables(report: Report) -> tuple[Table, ...]:
    """Return a report's rows, a table per measure, the one it is ranked by first; what never varies is left out."""
    found = entries(report)
    leading = leading_metric(report)
    metrics = sorted(dict.fromkeys(row.metric for row in report.rows), key=lambda name: name != leading)
    return tuple(_of_measure([entry for entry in found if entry["metric"] == metric], metric) for metric in metrics)


def entries(report: Report) -> list[dict[str, Any]]:
    """Return per row what tables and files show: ``KEYS``, ``NUMBERS``, and ``from`` and ``to``, where draws landed."""
    ddof = int(report.config.get("ddof", 1))
    return [_entry(row, row.summary(ddof=ddof)) for row in report.rows]


def _entry(row: Row, summary: Summary) -> dict[str, Any]:
    keys = {name: getattr(row, name) for name in (*KEYS, "n_support", "n_query", "n_natural")}
    landed = dict(zip(("from", "to"), row.spread, strict=True))
    return {"detector": f"{backbone_title(row)} + {row.head}", **keys, **asdict(summary), **landed}


def _of_measure(rows: Sequence[Mapping[str, Any]], metric: str) -> Table:
    title = measure_title(metric)
    others = {key: heading for key, heading in _COLUMNS.items() if _worth_showing(rows, key)}
    shown = {"detector": "detector", "mean": title, **others}
    headings = tuple(Heading(heading, _numeric(rows, key)) for key, heading in shown.items())
    return Table(title, headings, tuple(tuple(_cell(row[key]) for key in shown) for row in rows))


def confound_rows(audit: Audit) -> Table:
    """Return how well file metadata alone separates the classes, one row per measurement."""
    header = ["against natural", "AUROC", "95 % interval", "metadata"]
    rows = [
        [one.source, f"{one.auroc:.3f}", f"{one.low:.3f}-{one.high:.3f}", ", ".join(one.fields)]
        for one in audit.confounds
    ]
    return _plain("How well file metadata alone separates the classes (0.5: not at all)", header, rows)


def duplicate_rows(audit: Audit) -> Table:
    """Return the numbers of duplicate pairs, exact and near."""
    header = ["likeness", "pairs", "classes", "sources", "splits", "not of one group"]
    rows = [
        [one.likeness, *(str(count) for count in (one.pairs, one.classes, one.sources, one.splits, one.groups))]
        for one in audit.leaks
    ]
    return _plain("Duplicates, and how many pairs span classes, sources, splits and groups", header, rows)


def _plain(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    return Table(title, tuple(map(Heading, header)), tuple(tuple(map(Cell, row)) for row in rows))


def _worth_showing(entries: Sequence[Mapping[str, Any]], key: str) -> bool:
    return key in _ALWAYS or len({entry.get(key) for entry in entries}) > 1


def _numeric(entries: Sequence[Mapping[str, Any]], key: str) -> bool:
    return all(isinstance(entry.get(key), int | float | None) for entry in entries)


def _cell(value: Any) -> Cell:
    if value is None:
        return Cell("")
    if isinstance(value, float):
        return Cell("n/a") if math.isnan(value) else Cell(f"{value:.3f}", f"{value:.6g}")
    return Cell(str(value))
