"""``fewshot compare``: is A better than B, paired on the same draws."""

import json
from pathlib import Path

import click

from fewshot.cli.options import json_option


@click.command(short_help="Is A better than B: differences on the same draws, with intervals and p-values.")
@click.argument("reports", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--metric", default="auroc", show_default=True, help="The measure compared.")
@click.option("--source", default="all", show_default=True, help="all, macro, or one generator.")
@json_option
def command(reports: tuple[Path, ...], metric: str, source: str, as_json: bool) -> None:
    """Compare all backbones and heads of one REPORT, or one REPORT with another.

    p-values are corrected for overlapping draws (Nadeau and Bengio) and for the number of comparisons (Holm).
    """
    from fewshot.comparison import compare_across, compare_within, comparison_table
    from fewshot.core.errors import ReportError
    from fewshot.report import Report

    if len(reports) > 2:
        raise click.UsageError(f"one or two reports are compared, and here are {len(reports)}")
    loaded = [Report.load(path) for path in reports]
    if len(loaded) == 1:
        found = compare_within(loaded[0], metric=metric, source=source)
    else:
        found = compare_across(loaded[0], loaded[1], metric=metric, source=source)
    if not found:
        raise ReportError(f"nothing to compare: no two rows have the metric {metric!r} and the source {source!r}")
    if as_json:
        click.echo(json.dumps([one.to_json() for one in found]))
    else:
        click.echo(comparison_table(found))
