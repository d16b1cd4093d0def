"""``fewshot robustness``: heads and pretrained detectors over the views of a store."""

import json
from pathlib import Path
from typing import Any

import click

from fewshot.cli.options import (
    STORE,
    backbones_option,
    group_option,
    heads_device_option,
    json_option,
    layers_option,
    per_option,
    quiet_option,
    seed_option,
    split_commas,
    where_option,
)


@click.command(short_help="Any head over the store's views, metric and flip rate.")
@click.argument("store", type=STORE)
@click.option("--output", "-o", "out", type=click.Path(path_type=Path), help="The report to write, as JSON.")
@click.option(
    "--head",
    default="svm",
    show_default=True,
    callback=split_commas,
    metavar="NAME[,NAME...]",
    help="Heads to fit on clean images; `fewshot list heads` names them.",
)
@click.option(
    "--view",
    multiple=True,
    callback=split_commas,
    metavar="VIEW[,VIEW...]",
    help="Perturbations to measure.  [default: all of the store that act on pixels]",
)
@click.option("--shots", type=click.IntRange(1), default=10, show_default=True, help="Labelled images per class.")
@click.option("--trials", type=click.IntRange(1), default=100, show_default=True, help="Random draws of the support.")
@per_option
@backbones_option
@layers_option
@group_option
@heads_device_option
@where_option
@seed_option
@quiet_option
@json_option
def command(store: Path, out: Path | None, as_json: bool, quiet: bool, **options: Any) -> None:
    """Fit heads on clean images of STORE and ask them about the same queries under every view.

    The flip rate is the share of verdicts that differ from those on the clean image. Add views to a store with
    `fewshot embed ... --view clean,jpeg:90,jpeg:50,blur:1`.
    """
    from fewshot.embeddings.store.reader import FeatureStore
    from fewshot.protocols.robustness import FLIP_RATE, Robustness
    from fewshot.results.tables import report_table

    report = Robustness(**options).run(FeatureStore(store), quiet=quiet)
    if out is not None:
        report.save(out)
    if as_json:
        click.echo(json.dumps(report.to_json(), allow_nan=False))
        return
    click.echo(report_table(report.where(source="all"), ("auroc", "average_precision", "accuracy", FLIP_RATE)))
    for note in report.warnings:
        click.echo(f"warning: {note}", err=True)
