"""Put reports together into one page: the answer first, then what could mislead, then everything behind it."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fewshot.audit import Audit
from fewshot.core.files import write_text
from fewshot.core.outputs import PAGE
from fewshot.page.charts import CURVES, Chart, charts
from fewshot.page.downloads import Download, downloads
from fewshot.page.names import explained, protocol_meaning
from fewshot.page.ranked import ranked_charts
from fewshot.page.render import render
from fewshot.page.shown import MOST_WARNINGS, shown_of
from fewshot.page.table import Table, confound_rows, duplicate_rows, report_tables
from fewshot.results.answer import answer
from fewshot.results.members import backbone_title
from fewshot.results.report import Report
from fewshot.results.row import spread_in_words
from fewshot.results.weights import weight_lines

MOST_NAMES = 50  # of what was run
MOST_TEXT = 200_000  # characters of configuration and provenance


@dataclass(frozen=True)
class Section:
    """What the page says of one report.

    Args:
        name: the heading.
        report: with the rows and warnings that are shown.
        verdict: its answer, in one sentence.
        meaning: what its protocol does; empty where that is not known.
        weights: what fused heads take of each backbone, a sentence each.
        ranked: the dots of what it ranks, a figure each for the first five and for those after them.
        parts: further figures, below the heading of each part.
        tables: its rows, by measure.
        downloads: files to take away.
        run: what was run: (name, value) each.
        provenance: configuration and provenance, as JSON text.
        left_out: sentences about what the page does not show.
    """

    name: str
    report: Report
    verdict: str
    meaning: str
    weights: tuple[str, ...]
    ranked: tuple[Chart, ...]
    parts: Mapping[str, Sequence[Chart]]
    tables: tuple[Table, ...]
    downloads: tuple[Download, ...]
    run: tuple[tuple[str, str], ...]
    provenance: str
    left_out: tuple[str, ...] = ()

    @property
    def landed(self) -> str:
        """How many draws lie between the ends that tables give."""
        return spread_in_words(self.report.rows)


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
        audit: of the store that the reports are about; its warnings stand beside the answer.
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
        script="page.js",
        note=note,
        audit=audit,
        audited=[confound_rows(audit), duplicate_rows(audit)] if audit else [],
        warnings=_warnings(reports, audit),
        sections=[_section(name, report, (beside or {}).get(name, ())) for name, report in reports.items()],
        names=explained(reports.values()),
        features=tuple(more),
    )


def _section(name: str, report: Report, beside: Iterable[Chart]) -> Section:
    shown = shown_of(report)
    parts: dict[str, list[Chart]] = {}
    for chart in (*charts(shown.report), *beside):
        parts.setdefault(chart.part or CURVES, []).append(chart)
    return Section(
        name=name,
        report=shown.report,
        verdict=answer(report),
        meaning=protocol_meaning(report),
        weights=weight_lines(report),
        ranked=tuple(ranked_charts(report)),
        parts=parts,
        tables=report_tables(shown.report),
        downloads=downloads(name, report) if shown.complete else (),
        run=tuple(_run(report)),
        provenance=_cut(json.dumps({"config": dict(report.config), "provenance": dict(report.provenance)}, indent=1)),
        left_out=shown.left_out,
    )


def _warnings(reports: Mapping[str, Report], audit: Audit | None) -> list[str]:
    """Return the warnings of the audit and of the reports, each once; of some of several reports with their names."""
    found = list(dict.fromkeys(audit.warnings if audit else ()))
    raised: dict[str, list[str]] = {}
    for name, report in reports.items():
        for warning in dict.fromkeys(report.warnings[:MOST_WARNINGS]):
            raised.setdefault(warning, []).append(name)
    for warning, names in raised.items():
        if warning not in found:
            found.append(warning if len(names) == len(reports) else f"{', '.join(names)}: {warning}")
    return found


def _cut(text: str) -> str:
    """Return a text that a browser can show, with a word about what is left out."""
    more = len(text) - MOST_TEXT
    return text if more <= 0 else f"{text[:MOST_TEXT]}\n... and {more:,} characters more, in the report file"


def _run(report: Report) -> Iterator[tuple[str, str]]:
    """Yield what was run; a name without a value is left out."""
    run = {
        "Protocol": report.protocol,
        "Backbones": _distinct(backbone_title(row) for row in report.rows),
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
