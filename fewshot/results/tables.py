"""Reports as plain text: a table a person can read in a terminal or paste into a document."""

import math
from collections.abc import Sequence
from typing import Any

from fewshot.core.control_characters import escape_control
from fewshot.results.members import backbone_title
from fewshot.results.row import SHORT_TITLES, WEIGHT, Row
from fewshot.stats.intervals import Summary

_SHORT = {**SHORT_TITLES, "natural_accuracy": "natural acc", "synthetic_accuracy": "synthetic acc"}


def text_table(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Return aligned columns; a column whose cells are all numbers or ranges stands at the right.

    Cells are names of others as often as not: each stays on its line, without the characters that a terminal obeys.

    >>> print(text_table(["head", "AUROC"], [["svm", "0.9"], ["logistic", "0.85"]]))
    head      AUROC
    svm         0.9
    logistic   0.85
    """
    header, lines = list(map(escape_control, header)), [list(map(escape_control, cells)) for cells in lines]
    columns = list(zip(header, *lines, strict=True))
    widths = [max(len(cell) for cell in column) for column in columns]
    right = [bool(lines) and all(_numeric(cell) for cell in column[1:]) for column in columns]

    def line(cells: Sequence[str]) -> str:
        parts = [
            cell.rjust(width) if at_right else cell.ljust(width)
            for cell, width, at_right in zip(cells, widths, right, strict=True)
        ]
        return "  ".join(parts).rstrip()

    return "\n".join([line(header), *(line(cells) for cells in lines)])


def report_table(rows: Sequence[Row], metrics: Sequence[str] | None = None, *, ddof: int = 1) -> str:
    """Return a report's rows as text; see ``Report.table``."""
    settings: dict[tuple[Any, ...], dict[str, Row]] = {}
    for row in rows:
        settings.setdefault(row.setting, {})[row.metric] = row
    present = list(dict.fromkeys(row.metric for row in rows if row.metric != WEIGHT or metrics))
    shown = [name for name in metrics or present if name in present]
    if not shown:
        return "(no rows)"
    names = [name for name in _COLUMNS if _varies(rows, name)] or ["backbone"]
    first = shown[0]
    title = _SHORT.get(first, first)
    header = [*names, f"{title} 5-95 %", "mean", "95 % interval", "sd", *(_SHORT.get(n, n) for n in shown[1:])]
    header += ["trials", "query"]
    lines = []
    for measures in settings.values():
        if first not in measures:
            continue
        row, summary = measures[first], measures[first].summary(ddof=ddof)
        others = [number_text(measures[name].summary().mean) if name in measures else "" for name in shown[1:]]
        cells = [_cell(row, name) for name in names]
        lines.append([*cells, *_numbers(summary), *others, str(summary.trials), str(row.n_query)])
    return text_table(header, lines)


_BETWEEN_DIGITS = str.maketrans("", "", ",-.%+ <")
_COLUMNS = ("backbone", "layer", "selection", "head", "dataset", "source", "shots", "fraction", "view")


def _varies(rows: Sequence[Row], column: str) -> bool:
    if column in ("backbone", "layer", "head", "source"):
        return True
    return len({getattr(row, column) for row in rows}) > 1


def _cell(row: Row, column: str) -> str:
    value = backbone_title(row) if column == "backbone" else getattr(row, column)
    if value is None:
        return ""
    return f"{100 * value:g}%" if column == "fraction" else str(value)


def _numbers(summary: Summary) -> list[str]:
    landed = "one draw" if summary.trials == 1 else range_text(summary.p5, summary.p95)
    return [landed, number_text(summary.mean), range_text(summary.low, summary.high), number_text(summary.sd)]


def range_text(low: float, high: float) -> str:
    """Return a range as tables print it."""
    return "n/a" if math.isnan(low) or math.isnan(high) else f"{low:.3f}-{high:.3f}"


def number_text(value: float) -> str:
    """Return a number as tables print it."""
    return "n/a" if math.isnan(value) else f"{value:.3f}"


def _numeric(cell: str) -> bool:
    return not cell or cell in ("n/a", "one draw") or cell.replace("n/a", "0").translate(_BETWEEN_DIGITS).isdigit()
