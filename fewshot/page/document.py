"""Put reports together into one page: what was run, what could mislead, tables, figures, files to take away."""

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

from fewshot.audit import Audit
from fewshot.core.files import write_text
from fewshot.page.charts import Chart, charts
from fewshot.page.confounds import audit_section, warning_list
from fewshot.page.table import csv_text, html_table
from fewshot.results.report import Report


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
    return write_text(path, page_html(reports, title=title, note=note, audit=audit, beside=beside, more=more))


def page_html(
    reports: Mapping[str, Report],
    *,
    title: str,
    note: str = "",
    audit: Audit | None = None,
    beside: Mapping[str, Sequence[Chart]] | None = None,
    more: Iterable[Chart] = (),
) -> str:
    """Return the page's HTML; the browser is told to load nothing and to run nothing but the page's own script."""
    style, script = (files("fewshot.page").joinpath(name).read_text("utf-8") for name in ("style.css", "sort.js"))
    script_hash = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{script_hash}'; img-src data:"
    sections = [
        _section(name, report, number, (beside or {}).get(name, ()))
        for number, (name, report) in enumerate(reports.items())
    ]
    drawn = "".join(chart.html() for chart in more)
    features = f'<section><h2>Features</h2><div class="figures">{drawn}</div></section>' if drawn else ""
    below = f'<p class="soft">{escape(note)}</p>' if note else ""
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        f"<title>{escape(title)}</title><style>\n{style}</style></head><body><main>"
        f"<header><h1>{escape(title)}</h1>{below}{_contents(list(reports))}</header>"
        f"{audit_section(audit) if audit else ''}{''.join(sections)}{features}</main>"
        f"<script>{script}</script></body></html>\n"
    )


def _contents(names: Sequence[str]) -> str:
    if len(names) < 2:
        return ""
    items = "".join(f'<li><a href="#report-{number}">{escape(name)}</a></li>' for number, name in enumerate(names))
    return f"<nav><ul>{items}</ul></nav>"


def _section(name: str, report: Report, number: int, beside: Iterable[Chart]) -> str:
    drawn = "".join(chart.html() for chart in (*charts(report), *beside))
    return (
        f'<section id="report-{number}"><h2>{escape(name)}: {escape(report.protocol)}</h2>'
        f"{_what_was_run(report)}{warning_list(report.warnings)}"
        f'<div class="figures">{drawn}</div><h3>All rows</h3>'
        '<p class="soft">5 % and 95 %: nine of ten single draws of the support land between them. '
        "The interval is that of the mean over draws from these images. Press a heading to sort.</p>"
        f"{html_table(report)}{_downloads(name, report)}{_provenance(report)}</section>"
    )


def _what_was_run(report: Report) -> str:
    facts = {
        "Protocol": report.protocol,
        "Backbones": _distinct(row.backbone for row in report.rows),
        "Heads": _distinct(row.head for row in report.rows),
        "Selection": _distinct(row.selection for row in report.rows),
        "Trials": _distinct(str(len(row.values)) for row in report.rows),
        "Made": str(report.provenance.get("created", "")),
        "Command": " ".join(map(str, report.provenance.get("command", []))),
    }
    items = "".join(f"<dt>{escape(key)}</dt><dd>{escape(value)}</dd>" for key, value in facts.items() if value)
    return f'<dl class="facts">{items}</dl>'


def _distinct(values: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(values))


def _downloads(name: str, report: Report) -> str:
    stem = Path(name).stem or "report"
    document = json.dumps(report.to_json(), indent=1)
    return (
        f'<p class="downloads">Take away: {_download(f"{stem}.json", "application/json", document, "JSON")}'
        f"{_download(f'{stem}.csv', 'text/csv', csv_text(report), 'CSV')}</p>"
    )


def _download(file_name: str, kind: str, text: str, label: str) -> str:
    encoded = base64.b64encode(text.encode()).decode()
    return f'<a download="{escape(file_name)}" href="data:{kind};base64,{encoded}">{label}</a>'


def _provenance(report: Report) -> str:
    parts: dict[str, Any] = {"config": dict(report.config), "provenance": dict(report.provenance)}
    text = json.dumps(parts, indent=1, default=str)
    return f"<details><summary>Configuration and provenance</summary><pre>{escape(text)}</pre></details>"
