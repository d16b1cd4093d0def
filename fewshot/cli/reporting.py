"""How commands print a report: tables on stdout and warnings on stderr, or one JSON document."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from fewshot.results.report import Report


def print_report(report: "Report", text: str, *, as_json: bool) -> None:
    """Print a report on stdout, as ``text`` or as JSON; the warnings beside a text go to stderr."""
    if as_json:
        click.echo(json.dumps(report.to_file_json(), allow_nan=False))
        return
    click.echo(text)
    print_warnings(report.warnings)


def print_warnings(warnings: Sequence[str]) -> None:
    """Print warnings on stderr, one a line."""
    for warning in warnings:
        click.echo(f"warning: {warning}", err=True)


def require_report_file(out: object, *, keep_scores: bool) -> None:
    """Refuse to keep scores beside no report.

    Raises:
        OptionError: there is no report file.
    """
    from fewshot.core.errors import OptionError

    if keep_scores and out is None:
        raise OptionError("--keep-scores saves beside the report, and there is none; give -o REPORT.json")
