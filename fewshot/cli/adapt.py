"""``fewshot adapt``: fit small heads on a few images of a store and measure them on the rest."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fewshot.cli import completers
from fewshot.cli.grouped_help import Command
from fewshot.cli.options import (
    STORE,
    backbone_sets_option,
    counts_option,
    device_option,
    fuse_options,
    group_option,
    heads_option,
    json_option,
    keep_scores_option,
    layers_option,
    pairs_option,
    per_option,
    quiet_option,
    report_option,
    scale_option,
    seed_option,
    trials_option,
    where_option,
)
from fewshot.cli.reporting import print_answer, print_full, require_report_file

if TYPE_CHECKING:
    from fewshot.results.report import Report

_METRICS = ("auroc", "average_precision", "tpr_at_5_fpr")
_HINT = "--full shows every row and measure, --paper what the paper claims"


def _neighbours(_: click.Context, parameter: click.Parameter, value: str) -> int | str:
    if value == "oracle":
        return value
    try:
        return int(value)
    except ValueError as error:
        raise click.BadParameter(f"{value!r} is neither a number nor 'oracle'", param=parameter) from error


@click.command(
    cls=Command,
    short_help="Fit a head on a few labelled images, measure the rest.",
    examples=(
        "fewshot adapt images.h5 --shots 1,5,10 --head svm,logistic -o report.json",
        "fewshot adapt images.h5 --fuse -o report.json",
        "fewshot adapt images.h5 --query others.h5 --group group -o report.json",
    ),
)
@click.argument("stores", nargs=-1, required=True, type=STORE, metavar="STORE...")
@click.option(
    "--shots",
    callback=counts_option,
    metavar="N[,N...]",
    help="Labelled images per class (or source); all counts of a trial share one query set.  [default: 10; with "
    "--support every image listed]",
)
@heads_option
@scale_option
@fuse_options
@trials_option(default=100)
@seed_option
@where_option
@backbone_sets_option
@layers_option
@group_option()
@per_option
@click.option("--stratified", is_flag=True, help="Spread each class's shots evenly over its sources.")
@click.option("--query", type=click.Path(), metavar="STORE", help="Query all images of another store.")
@click.option("--cross", is_flag=True, help="Also take every store as support against every other as query.")
@click.option(
    "--support",
    type=click.Path(path_type=Path),
    metavar="KEYS.txt|KEYS.json|REPORT.json",
    help="Supports to use: one sample key a line, JSON lists of keys, or a report.",
)
@click.option(
    "--draw",
    type=click.Choice(["nested", "fiser", "herding", "kcenter"]),
    default="nested",
    show_default=True,
    help="How supports are drawn; fiser is the published draw and arithmetic.",
)
@click.option(
    "--tpr",
    type=click.Choice(["at-most", "nearest"]),
    default="at-most",
    show_default=True,
    help="TPR at the largest FPR of at most 5 %, or at the ROC point nearest to it.",
)
@click.option(
    "--solver",
    type=click.Choice(["batched", "sklearn"]),
    help="All trials at once, or one after another, to the same optimum; with --draw fiser one after another stops "
    "where scikit-learn does, as published.  [default: batched; sklearn with --draw fiser]",
)
@click.option(
    "-k", default="5", show_default=True, callback=_neighbours, metavar="N|oracle", help="Neighbours of the head knn."
)
@click.option(
    "--rule",
    type=click.Choice(["legacy", "exponential"]),
    default="legacy",
    show_default=True,
    help="Vote of the head knn.",
)
@click.option(
    "--replay-where",
    multiple=True,
    metavar="COLUMN=VALUE",
    callback=pairs_option,
    shell_complete=completers.columns_and_values,
    help="Images of the old domain that the head route replays while it adapts; neither drawn nor queried. --where "
    "holds for other columns.",
)
@click.option(
    "--start",
    type=click.Path(exists=True, dir_okay=False),
    metavar="WEIGHTS",
    help="Weights from which the head route begins: Fleet's checkpoint, or a saved head.",
)
@device_option(default="cpu")
@click.option(
    "--interval",
    type=click.Choice(["auto", "trials", "two-way", "delong"]),
    default="auto",
    show_default=True,
    help="The 95 % interval spans draws (trials), draws and query images (two-way), or the query images of one draw "
    "(delong); auto: two-way where fewer than 30 images of a class are queried, else trials.",
)
@click.option("--full", is_flag=True, help="Print every row and measure, generators and all, however wide.")
@click.option("--paper", is_flag=True, help="Print what the report says of FiSeR's claims beside the pretrained heads.")
@keep_scores_option
@report_option()
@json_option
@quiet_option
def command(stores: tuple[Path, ...], as_json: bool, full: bool, paper: bool, **options: Any) -> None:
    """Fit a small head on a few labelled images and measure it on all others, many times over.

    The answer comes first, in a sentence; the ranking behind it leads with the range in which a single draw lands
    nine times of ten.
    """
    inputs = [*stores, options["query"], options["support"]]
    require_report_file(options["out"], keep_scores=options["keep_scores"], inputs=inputs)
    from fewshot.protocols.across_stores import adapt_and_save

    report = adapt_and_save(stores, **options)
    if as_json or full or paper:
        print_full(report, lambda: _tables(report, full=full, paper=paper), as_json=as_json)
    else:
        print_answer(report, hint=_HINT, kept=options["out"] is not None)


def _tables(report: "Report", *, full: bool, paper: bool) -> list[str]:
    from fewshot.results.ranked_table import ranked_table
    from fewshot.results.tables import report_table

    ddof = int(report.config.get("ddof", 1))
    table = report_table(report.rows, _METRICS, ddof=ddof) if full else ranked_table(report).text()
    return [table, *(_paper(report) if paper else ())]


def _paper(report: "Report") -> list[str]:
    from fewshot.results.leaderboard import leaderboard, leaderboard_table, paper_comparison

    entries = leaderboard(report)
    return [leaderboard_table(entries), "\n".join(paper_comparison(entries))]
