"""How commands print a report: a table, the standing of each backbone and the warnings, or one JSON document."""

import json

import click

from fewshot.results.leaderboard import claims, standings, standings_table
from fewshot.results.report import Report


def print_report(report: Report, *, as_json: bool) -> None:
    """Print the report on stdout, as JSON when asked; warnings of a table go to stderr."""
    if as_json:
        click.echo(json.dumps(report.to_json(), allow_nan=False))
        return
    click.echo(report.table(["auroc", "average_precision", "tpr_at_5_fpr"]))
    found = standings(report)
    if len(found) > 1:
        click.echo(f"\n{standings_table(found)}")
        click.echo("\n".join(claims(found)))
    for note in report.warnings:
        click.echo(f"warning: {note}", err=True)
