"""``fewshot compare``: is A better than B, paired on the same draws."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from fewshot.cli.grouped_help import Command
from fewshot.cli.options import json_option
from fewshot.cli.reporting import print_json, print_text, print_warnings, terminal_width

if TYPE_CHECKING:
    from fewshot.results.comparison import Comparison


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
@click.option("--all", "every", is_flag=True, help="Compare every pair and not only the best with those next to it.")
@json_option
def command(reports: tuple[Path, ...], metric: str, source: str, interval: str, every: bool, as_json: bool) -> None:
    """Compare the best of one REPORT with those next to it at equal shots, or one REPORT with another.

    Every backbone stands with its best head and layer; a head fused of several is compared with each of them and with
    the one chosen in the support. p-values are corrected for the number of pairs shown (Holm) and,
    unless the interval is two-way, for overlapping draws (Nadeau and Bengio).
    """
    if len(reports) > 2:
        raise click.UsageError(f"give one or two reports to compare, not {len(reports)}")
    from fewshot.results.comparison_table import comparison_notes, largest_first

    found = _compared(reports, metric=metric, source=source, two_way=interval == "two-way", every=every)
    shown = largest_first(found) if every else found
    if as_json:
        print_json([one.to_json() for one in shown])
    else:
        print_text(_text(found, shown, every=every))
    print_warnings(comparison_notes(found, scores_kept=all(path.with_suffix(".npz").exists() for path in reports)))


def _compared(reports: tuple[Path, ...], *, metric: str, source: str, two_way: bool, every: bool) -> "list[Comparison]":
    from fewshot.core.errors import ReportError
    from fewshot.results.comparison import best_across, compare_across, compare_best, compare_within
    from fewshot.results.report import Report
    from fewshot.results.scores import scores_beside

    loaded = [Report.load(path) for path in reports]
    kept = [scores_beside(path) for path in reports] if two_way else []
    if len(loaded) == 1:
        within = compare_within if every else compare_best
        found = within(loaded[0], metric=metric, source=source, scores=kept[0] if kept else None)
    else:
        across = compare_across if every else best_across
        scores = (kept[0], kept[1]) if kept else None
        found = across(loaded[0], loaded[1], metric=metric, source=source, scores=scores)
    if not found:
        raise ReportError(
            f"nothing to compare: no two rows have the metric {metric!r} and the source {source!r}; choose others with "
            f"--metric and --source"
        )
    return found


def _text(found: "list[Comparison]", shown: "list[Comparison]", *, every: bool) -> str:
    from fewshot.results.comparison_table import comparison_sentence, comparison_table
    from fewshot.results.paragraph import wrapped

    width, pairs = terminal_width(), "1 pair" if len(shown) == 1 else f"the {len(shown)} pairs"
    hint = f"p is corrected (Holm) for {pairs} shown"
    if not every:
        fused = all(one.rows[0].members for one in shown)
        against = (
            "what was fused, against every other"
            if fused
            else "the best, chosen on these queries, against those next to it"
        )
        hint += f": {against}; --all compares every pair"
    sentence = "\n".join(wrapped(comparison_sentence(found), width=width))
    return "\n\n".join([sentence, comparison_table(shown, width=width), "\n".join(wrapped(hint, width=width))])
