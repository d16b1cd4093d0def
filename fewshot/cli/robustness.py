"""``fewshot robustness``: heads and pretrained detectors over the views of a store."""

from pathlib import Path
from typing import Any

import click

from fewshot.cli.grouped_help import Command
from fewshot.cli.options import (
    STORE,
    backbone_sets_option,
    device_option,
    fuse_options,
    group_option,
    heads_option,
    json_option,
    keep_scores_option,
    layers_option,
    per_option,
    quiet_option,
    report_option,
    scale_option,
    seed_option,
    split_commas,
    trials_option,
    where_option,
)
from fewshot.cli.reporting import print_answer, print_full, require_report_file

_HINT = "--full shows every generator and further measures"


@click.command(
    cls=Command,
    short_help="Does JPEG, blur or noise change the verdicts?",
    examples=(
        "fewshot robustness images.h5 --head svm,logistic -o robustness.json",
        "fewshot robustness images.h5 --view jpeg:50 --trials 20 -o robustness.json",
    ),
)
@click.argument("store", type=STORE, metavar="STORE")
@report_option()
@heads_option
@scale_option
@fuse_options
@click.option(
    "--view",
    multiple=True,
    callback=split_commas,
    metavar="VIEW[,VIEW...]",
    help="Perturbations to measure.  [default: all of the store that act on pixels]",
)
@click.option(
    "--shots",
    type=click.IntRange(1),
    default=10,
    show_default=True,
    metavar="N",
    help="Labelled clean images per class (or source).",
)
@trials_option(default=100)
@per_option
@backbone_sets_option
@layers_option
@group_option()
@device_option(default="cpu")
@keep_scores_option
@where_option
@seed_option
@click.option("--full", is_flag=True, help="Print every row, generators and all, with further measures.")
@quiet_option
@json_option
def command(
    store: Path, out: Path | None, as_json: bool, full: bool, quiet: bool, keep_scores: bool, **options: Any
) -> None:
    """Fit heads on clean images of STORE and measure them on the same queries under every view.

    The answer comes first, in a sentence: what does best on clean images, and which view costs it most.

    The flip rate is the share of verdicts that differ from those on the clean image. Add views to a store with
    `fewshot embed ... --view clean,jpeg:90,jpeg:50,blur:1`.
    """
    require_report_file(out, keep_scores=keep_scores, inputs=[store])
    from fewshot.embeddings.store.reader import FeatureStore
    from fewshot.protocols.base import RunContext
    from fewshot.protocols.robustness import Robustness
    from fewshot.results.row import FLIP_RATE
    from fewshot.results.tables import report_table

    result = Robustness(**options).run(FeatureStore(store), RunContext(quiet=quiet, keep_scores=keep_scores))
    if out is not None:
        result.save(out)
    if as_json or full:
        metrics = ("auroc", "average_precision", "accuracy", FLIP_RATE)
        print_full(result.report, lambda: [report_table(result.report.rows, metrics)], as_json=as_json)
    else:
        print_answer(result.report, hint=_HINT, kept=out is not None)
