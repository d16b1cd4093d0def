"""How commands print a report: a table and its warnings, or one JSON document."""

import json

import click

from fewshot.report import Report


def print_report(report: Report, *, as_json: bool) -> None:
    """Print the report on stdout, as JSON when asked; warnings of a table go to stderr."""
    if as_json:
        click.echo(json.dumps(report.to_json(), allow_nan=False))
        return
    click.echo(report.table(["auroc", "average_precision", "tpr_at_5_fpr"]))
    for note in report.warnings:
        click.echo(f"warning: {note}", err=True)
