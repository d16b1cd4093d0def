"""Tables that papers printed, as data, so that a user's numbers stand beside them with the difference.

May import: curve, results, core.
"""

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from fewshot.core.errors import unknown_name
from fewshot.protocols.curve.generator_families import FAMILIES, MACRO, plain_name
from fewshot.results.report import Report
from fewshot.results.row import Row
from fewshot.results.tables import text_table

PAPERS = ("acm",)
_SHORT = {"average_precision": "AP", "accuracy": "ACC"}


@dataclass(frozen=True)
class PublishedTable:
    """One printed table of a measure per method and test set, in per cent.

    Args:
        paper: citation; number: as printed; metric: one of ours; trained_on: the training source.
        values: method -> test set -> per cent.
    """

    paper: str
    number: str
    metric: str
    trained_on: str
    values: dict[str, dict[str, float]]


@dataclass(frozen=True)
class SourceTable:
    """A printed table over attribution sources (table 3 of ACM), in per cent.

    Args:
        values: metric -> attribution source -> family (or ``macro``) -> per cent.
    """

    paper: str
    number: str
    values: dict[str, dict[str, dict[str, float]]]


@cache
def tables(paper: str) -> tuple[PublishedTable, ...]:
    """Return the tables per test set of one paper.

    Raises:
        UnknownNameError: no such paper here.
    """
    document = _document(paper)
    sources = document["sources"]
    return tuple(
        PublishedTable(
            paper=document["paper"],
            number=table["id"],
            metric=table["metric"],
            trained_on=table["trained_on"],
            values={method: dict(zip(sources, row["values"], strict=True)) for method, row in table["rows"].items()},
        )
        for table in document["tables"]
    )


@cache
def attribution_sources(paper: str = "acm") -> SourceTable:
    """Return the table over attribution sources of one paper."""
    document = _document(paper)
    table = document["attribution_sources"]
    values: dict[str, dict[str, dict[str, float]]] = {"average_precision": {}, "accuracy": {}}
    for source, measures in table["rows"].items():
        for metric, numbers in measures.items():
            values[metric][source] = dict(zip(table["columns"], numbers, strict=True))
    return SourceTable(document["paper"], table["id"], values)


def beside(report: Report, *, paper: str = "acm", method: str = "ACM") -> str:
    """Return our numbers beside the printed ones of one method, per test set, with the difference.

    Our rows are those of the largest fraction, per head. Test sets that the paper does not have are left out; empty
    text when it has none of ours.
    """
    blocks = []
    for table in tables(paper):
        if method not in table.values:
            raise unknown_name(f"method in table {table.number}", method, table.values)
        printed = table.values[method]
        matching = [row for row in report.where(metric=table.metric) if plain_name(row.source) in printed]
        if matching:
            title = (
                f"{table.paper}, table {table.number}: {method}, {_SHORT[table.metric]}, trained on {table.trained_on}"
            )
            blocks.append(f"{title}\n{_lines(matching, printed)}")
    return "\n\n".join(blocks)


def in_layout_of_table_3(report: Report) -> str:
    """Return AP / ACC per attribution source and family at the largest fraction, in the layout of the paper's table 3.

    Our attributed classes come first, then the printed ones; numbers in per cent.
    """
    largest = max((row.fraction or 0.0 for row in report.rows), default=0.0)
    columns = (*FAMILIES, MACRO)
    ours: dict[str, dict[str, dict[str, float]]] = {}
    for row in report.rows:
        if row.fraction == largest and row.source in columns and row.metric in _SHORT:
            measured = ours.setdefault(row.head, {}).setdefault(row.source, {})
            measured[row.metric] = 100 * row.summary().mean
    lines = [[head, *(_pair(cells.get(family, {})) for family in columns)] for head, cells in ours.items()]
    printed = attribution_sources("acm")
    for source in printed.values["accuracy"]:
        cells = {family: {m: printed.values[m][source][family] for m in _SHORT} for family in columns}
        lines.append([f"{source} (printed)", *(_pair(cells[family]) for family in columns)])
    return text_table(["attribution source, AP / ACC", *columns], lines)


def _pair(measured: dict[str, float]) -> str:
    return " / ".join(f"{measured[metric]:.2f}" for metric in _SHORT) if measured else "-"


def _lines(rows: list[Row], printed: dict[str, float]) -> str:
    largest = max(row.fraction or 0.0 for row in rows)
    lines = []
    for row in rows:
        if (row.fraction or 0.0) == largest:
            ours, theirs = 100 * row.summary().mean, printed[plain_name(row.source)]
            lines.append([row.source, row.head, f"{theirs:.2f}", f"{ours:.2f}", f"{ours - theirs:+.2f}"])
    return text_table(["test set", "our head", "printed", "ours", "difference"], lines)


@cache
def _document(paper: str) -> dict[str, Any]:
    if paper not in PAPERS:
        raise unknown_name("published paper", paper, PAPERS)
    document: dict[str, Any] = json.loads((files(__name__) / f"{paper}.json").read_text(encoding="utf-8"))
    return document
