"""How commands print a report: a table, the leaderboard of backbones and the warnings, or one JSON document."""

import json

import click

from fewshot.results.leaderboard import leaderboard, leaderboard_table, paper_comparison
from fewshot.results.report import Report


def print_report(report: Report, *, as_json: bool) -> None:
    """Print the report on stdout, as JSON when asked; warnings of a table go to stderr."""
    if as_json:
        click.echo(json.dumps(report.to_json(), allow_nan=False))
        return
    click.echo(report.table(["auroc", "average_precision", "tpr_at_5_fpr"]))
    found = leaderboard(report)
    if len(found) > 1:
        click.echo(f"\n{leaderboard_table(found)}")
        click.echo("\n".join(paper_comparison(found)))
    for note in report.warnings:
        click.echo(f"warning: {note}", err=True)
