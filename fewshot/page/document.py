"""Put reports together into one page: what was run, what could mislead, tables, figures, files to download."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fewshot.audit import Audit
from fewshot.core.files import write_text
from fewshot.core.outputs import PAGE
from fewshot.page.charts import Chart, charts
from fewshot.page.downloads import Download, downloads
from fewshot.page.render import render
from fewshot.page.shown import shown_of
from fewshot.page.table import Table, confound_rows, duplicate_rows, report_rows
from fewshot.results.report import Report

MOST_NAMES = 50  # of what was run
MOST_TEXT = 200_000  # characters of configuration and provenance


@dataclass(frozen=True)
class Section:
    """What the page says of one report.

    Args:
        name: the heading.
        run: what was run: (name, value) each.
        charts: its figures.
        table: its rows.
        downloads: files to take away.
        provenance: configuration and provenance, as JSON text.
        left_out: sentences about what the page does not show.
    """

    name: str
    report: Report
    run: tuple[tuple[str, str], ...]
    charts: tuple[Chart, ...]
    table: Table
    downloads: tuple[Download, ...]
    provenance: str
    left_out: tuple[str, ...] = ()


def write_page(
    reports: Mapping[str, Report],
    path: Path | str,
    *,
    title: str = "fewshot report",
    note: str = "",
    audit: Audit | None = None,
    beside: Mapping[str, Sequence[Chart]] | None = None,
    more: Iterable[Chart] = (),
) -> Path:
    """Write one self-contained HTML page.

    Args:
        reports: name shown -> report.
        path: the file to write.
        title: heading of the page.
        note: a paragraph below it.
        audit: of the store that the reports are about; it stands first.
        beside: name shown -> figures of that report which its rows do not hold, such as ROC curves.
        more: figures that no report holds, such as projections of the features.

    Raises:
        OutputError: the file cannot be written.
    """
    html = page_html(reports, title=title, note=note, audit=audit, beside=beside, more=more)
    return write_text(path, html, kind=PAGE)


def page_html(
    reports: Mapping[str, Report],
    *,
    title: str,
    note: str = "",
    audit: Audit | None = None,
    beside: Mapping[str, Sequence[Chart]] | None = None,
    more: Iterable[Chart] = (),
) -> str:
    """Return the page's HTML; see ``write_page``."""
    return render(
        "report.html",
        title=title,
        script="sort.js",
        note=note,
        audit=audit,
        confounds=confound_rows(audit) if audit else None,
        duplicates=duplicate_rows(audit) if audit else None,
        sections=[_section(name, report, (beside or {}).get(name, ())) for name, report in reports.items()],
        features=tuple(more),
    )


def _section(name: str, report: Report, beside: Iterable[Chart]) -> Section:
    shown = shown_of(report)
    return Section(
        name=name,
        report=shown.report,
        run=tuple(_run(report)),
        charts=(*charts(shown.report), *beside),
        table=report_rows(shown.report),
        downloads=downloads(name, report) if shown.complete else (),
        provenance=_cut(json.dumps({"config": dict(report.config), "provenance": dict(report.provenance)}, indent=1)),
        left_out=shown.left_out,
    )


def _cut(text: str) -> str:
    """Return a text that a browser can show, with a word about what is left out."""
    more = len(text) - MOST_TEXT
    return text if more <= 0 else f"{text[:MOST_TEXT]}\n... and {more:,} characters more, in the report file"


def _run(report: Report) -> Iterator[tuple[str, str]]:
    """Yield what was run; a name without a value is left out."""
    run = {
        "Protocol": report.protocol,
        "Backbones": _distinct(row.backbone for row in report.rows),
        "Heads": _distinct(row.head for row in report.rows),
        "Selection": _distinct(row.selection for row in report.rows),
        "Trials": _distinct(str(len(row.values)) for row in report.rows),
        "Made": str(report.provenance.get("created", "")),
        "Command": " ".join(map(str, report.provenance.get("command", []))),
    }
    yield from ((name, value) for name, value in run.items() if value)


def _distinct(values: Iterable[str]) -> str:
    found = list(dict.fromkeys(values))
    more = f", and {len(found) - MOST_NAMES:,} more" if len(found) > MOST_NAMES else ""
    return ", ".join(found[:MOST_NAMES]) + more
