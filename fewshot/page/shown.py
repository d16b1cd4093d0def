"""How much of a report a page shows: a browser draws some thousand rows, and what is left out is said in words."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from fewshot.figures.bars import POOLED
from fewshot.results.report import Report
from fewshot.results.row import Row

MOST_ROWS = 2000  # of a table
MOST_VALUES = 500_000  # of a report that can be taken from the page, which carries the file within: about 10 MB
MOST_WARNINGS = 100
MOST_GENERATORS, MOST_DETECTORS = 40, 24  # of a figure
MOST_CONFUSED = 60  # sources of a confusion matrix


@dataclass(frozen=True)
class Shown:
    """What a page shows of a report.

    Args:
        report: with the rows and warnings that are shown.
        complete: whether the page can carry the whole report as a file to take away.
        left_out: sentences about what is not shown; empty when all is.
    """

    report: Report
    complete: bool
    left_out: tuple[str, ...]


def shown_of(report: Report) -> Shown:
    """Return what a page shows of a report; rows of all generators together come before those of one."""
    rows, warnings = _rows(report.rows), report.warnings[:MOST_WARNINGS]
    complete = sum(len(row.values) for row in report.rows) <= MOST_VALUES
    cut = replace(report, rows=rows, warnings=warnings)
    return Shown(cut, complete, tuple(_left_out(report, cut, complete=complete)))


def drawable(rows: Sequence[Row]) -> list[Row]:
    """Return the rows of the best detectors and the first generators, as many as a figure can show, the best first."""
    ranked = {detector: place for place, detector in enumerate(_ranked(rows)[:MOST_DETECTORS])}
    generators = [name for name in dict.fromkeys(row.source for row in rows) if name not in POOLED]
    wanted = {*generators[:MOST_GENERATORS], *POOLED}
    kept = [row for row in rows if row.source in wanted and detector_of(row) in ranked]
    return sorted(kept, key=lambda row: ranked[detector_of(row)])


def detector_of(row: Row, *, views: bool = False) -> tuple[str, ...]:
    """Return what a figure draws as one series; under every view when ``views``."""
    return (row.backbone, row.layer, row.selection, row.head, row.dataset, "" if views else row.view)


def _ranked(rows: Sequence[Row]) -> list[tuple[str, ...]]:
    """Return the detectors, that with the largest mean of all images first, or of any row where it has none of all."""
    best = {**_largest_means(rows), **_largest_means([row for row in rows if row.source == "all"])}
    return sorted(best, key=lambda detector: -best[detector])


def _largest_means(rows: Sequence[Row]) -> dict[tuple[str, ...], float]:
    found: dict[tuple[str, ...], float] = {}
    for row in rows:
        mean = float(np.nan_to_num(row.summary().mean, nan=-np.inf))
        found[detector_of(row)] = max(mean, found.get(detector_of(row), -np.inf))
    return found


def _rows(rows: tuple[Row, ...]) -> tuple[Row, ...]:
    if len(rows) <= MOST_ROWS:
        return rows
    pooled = [number for number, row in enumerate(rows) if row.source in POOLED]
    others = [number for number, row in enumerate(rows) if row.source not in POOLED]
    return tuple(rows[number] for number in sorted([*pooled, *others][:MOST_ROWS]))


def _left_out(report: Report, cut: Report, *, complete: bool) -> Iterator[str]:
    if len(cut.rows) < len(report.rows):
        yield (
            f"{len(cut.rows):,} of {len(report.rows):,} rows are shown and drawn, those of all generators together "
            f"first; the report file holds all."
        )
    if len(cut.warnings) < len(report.warnings):
        yield f"{len(report.warnings) - len(cut.warnings):,} more warnings are in the report file."
    if not complete:
        yield "The report is too large to be carried by this page; take its file."
