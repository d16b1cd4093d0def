"""``fewshot compare``: is A better than B, paired on the same draws."""

from pathlib import Path

import click

from fewshot.cli.grouped_help import Command
from fewshot.cli.options import json_option
from fewshot.cli.reporting import print_json, print_text, print_warnings


@click.command(
    cls=Command,
    short_help="Is A better than B, with intervals and p-values?",
    examples=("fewshot compare report.json", "fewshot compare before.json after.json --source macro"),
)
@click.argument("reports", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="REPORT [REPORT]")
@click.option("--metric", default="auroc", show_default=True, metavar="NAME", help="The measure compared.")
@click.option("--source", default="all", show_default=True, metavar="NAME", help="all, macro, or one generator.")
@click.option(
    "--interval",
    type=click.Choice(["draws", "two-way"]),
    default="draws",
    show_default=True,
    help="Over draws from these images, or over draws and images; two-way needs reports made with --keep-scores.",
)
@json_option
def command(reports: tuple[Path, ...], metric: str, source: str, interval: str, as_json: bool) -> None:
    """Compare all backbones and heads of one REPORT, or one REPORT with another.

    p-values are corrected for the number of comparisons (Holm) and, unless the interval is two-way, for overlapping
    draws (Nadeau and Bengio).
    """
    from fewshot.core.errors import ReportError
    from fewshot.results.comparison import compare_across, compare_within, comparison_notes, comparison_table
    from fewshot.results.report import Report
    from fewshot.results.scores import scores_beside

    if len(reports) > 2:
        raise click.UsageError(f"give one or two reports to compare, not {len(reports)}")
    loaded = [Report.load(path) for path in reports]
    kept = [scores_beside(path) for path in reports] if interval == "two-way" else []
    wanted = {"metric": metric, "source": source}
    if len(loaded) == 1:
        found = compare_within(loaded[0], **wanted, scores=kept[0] if kept else None)
    else:
        found = compare_across(loaded[0], loaded[1], **wanted, scores=(kept[0], kept[1]) if kept else None)
    if not found:
        raise ReportError(
            f"nothing to compare: no two rows have the metric {metric!r} and the source {source!r}; choose others with "
            f"--metric and --source"
        )
    if as_json:
        print_json([one.to_json() for one in found])
    else:
        print_text(comparison_table(found))
    print_warnings(comparison_notes(found))
