"""How much of a report a page shows: a browser draws some thousand rows, and what is left out is said in words."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

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
    """Return the rows of the first detectors and generators, as many as a figure can show."""
    detectors = list(dict.fromkeys(map(_detector, rows)))[:MOST_DETECTORS]
    generators = [name for name in dict.fromkeys(row.source for row in rows) if name not in POOLED]
    wanted = {*generators[:MOST_GENERATORS], *POOLED}
    kept = set(detectors)
    return [row for row in rows if row.source in wanted and _detector(row) in kept]


def _detector(row: Row) -> tuple[str, ...]:
    return (row.backbone, row.layer, row.selection, row.head, row.dataset, row.view)


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
