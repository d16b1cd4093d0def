"""``fewshot attribute``: single-class attribution with data curves."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fewshot.cli.options import (
    STORE,
    json_option,
    layers_option,
    pairs_option,
    quiet_option,
    seed_option,
    split_commas,
    where_option,
)

if TYPE_CHECKING:
    from fewshot.embeddings.store.reader import FeatureStore
    from fewshot.protocols.attribution import Attribution
    from fewshot.protocols.curve.finished_points import ResultCache
    from fewshot.results.report import Report


def fractions_option(_: click.Context, parameter: click.Parameter, value: str | None) -> tuple[float, ...] | None:
    """Read ``0.05%,1%,0.5`` as shares; None stays None."""
    if value is None:
        return None
    found = []
    for text in value.split(","):
        try:
            number = float(text.strip().removesuffix("%"))
        except ValueError as error:
            raise click.BadParameter(f"{text!r} is no share; write for example 0.05% or 1%", param=parameter) from error
        found.append(number / 100 if text.strip().endswith("%") else number)
    return tuple(found)


@click.command()
@click.argument("store", type=STORE)
@click.option("--output", "-o", "out", type=click.Path(path_type=Path), help="The report to write, as JSON.")
@click.option(
    "--fit-on",
    multiple=True,
    default=("natural", "synthetic"),
    show_default=True,
    callback=split_commas,
    help="The attributed classes: natural, synthetic, or a source of the training set; commas for several.",
)
@click.option(
    "--fractions",
    callback=fractions_option,
    metavar="LIST",
    help="Shares of the training set.  [default: 0.05%,0.1%,1%,10%,100%, less those that the set is too small for]",
)
@click.option("--backbone", "-b", help="Whose features; may be left out when the store has one backbone.")
@layers_option
@click.option(
    "--train",
    multiple=True,
    metavar="COLUMN=VALUE",
    callback=pairs_option,
    help="Which images train.  [default: split=train, else a drawn share]",
)
@click.option(
    "--query",
    multiple=True,
    metavar="COLUMN=VALUE",
    callback=pairs_option,
    help="Which images are asked.  [default: split=test beside split=train, else all that do not train]",
)
@click.option(
    "--train-share",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.5,
    show_default=True,
    help="Share drawn for training where no column says it.",
)
@click.option(
    "--group",
    default="group",
    show_default=True,
    metavar="COLUMN",
    help="Images that share this column's value never stand on both sides of a drawn split.",
)
@click.option(
    "--validation",
    default="held-out",
    show_default=True,
    metavar="held-out|none|COLUMN=VALUE",
    help="What chooses the step that is kept: a tenth of each subset, nothing, or images of a column.",
)
@click.option(
    "--reference",
    multiple=True,
    default=("linear-probe", "rbf-svm"),
    show_default=True,
    callback=split_commas,
    help="Heads on the same subsets; none for no reference.",
)
@click.option(
    "--trials", type=click.IntRange(1), help="Draws per share.  [default: 5 below 10 %, 3 from there, 1 at 100 %]"
)
@click.option("--steps", type=click.IntRange(1), help="Optimiser steps.  [default: 2,000, or 20 epochs if more]")
@click.option("--latent", type=click.IntRange(1), help="Width of the bottleneck.  [default: 256, at most D/3]")
@click.option("--widths", metavar="W,W", help="Hidden widths of the encoder.  [default: 1024,1024]")
@click.option("--classifier", type=click.Choice(["linear", "mlp"]), help="On the deviation.  [default: linear]")
@click.option(
    "--schedule",
    type=click.Choice(["batch", "epoch", "two-stage"]),
    help="When encoder-decoder and classifier take turns.  [default: batch]",
)
@click.option(
    "--stop",
    type=click.Choice(["steps", "plateau"]),
    help="All steps, or until validation accuracy no longer grows.  [default: steps]",
)
@click.option(
    "--family",
    multiple=True,
    metavar="SOURCE=gans|diffusion|others",
    callback=pairs_option,
    help="Family of a generator where it is unknown; repeatable.",
)
@click.option(
    "--device", default="cpu", show_default=True, metavar="auto|cpu|cuda|cuda:N", help="Where the networks train."
)
@click.option("--side-by-side", type=click.IntRange(1), default=1, show_default=True, help="Trials that train at once.")
@click.option("--keep-scores", is_flag=True, help="Write every image's scores beside the report, as .npz.")
@click.option("--figures", type=click.Path(path_type=Path, file_okay=False), help="Draw the figures into this folder.")
@click.option(
    "--format", "formats", default="png,svg,pdf", show_default=True, callback=split_commas, help="Of the figures."
)
@where_option
@seed_option
@quiet_option
@json_option
def command(store: Path, out: Path | None, **options: Any) -> None:
    """Fit an encoder-decoder on one class of STORE at growing shares of its training images.

    Beside it stand a linear probe and an RBF SVM on the same images. Interrupted, the same command resumes at the
    last finished point (kept in the folder OUT.points until the report is written).
    """
    from fewshot.embeddings.store.reader import FeatureStore
    from fewshot.protocols.curve.layers import result_cache

    protocol, opened = _protocol(options), FeatureStore(store)
    folder = None if out is None else out.with_name(out.name + ".points")
    points = result_cache(protocol, opened, folder)
    report = protocol.run(opened, points=points, quiet=options["quiet"])
    if options["figures"]:
        _draw(report, points, opened, options["figures"], options["formats"])
    if out is not None:
        _save(report, points, out, opened, keep_scores=options["keep_scores"])
    click.echo(json.dumps(report.to_json()) if options["as_json"] else _text(report))


def _protocol(options: dict[str, Any]) -> "Attribution":
    from fewshot.protocols.attribution import Attribution

    chosen = {name: options[name] for name in ("steps", "latent", "classifier", "schedule", "stop")}
    if options["widths"]:
        chosen["widths"] = tuple(int(width) for width in options["widths"].split(",") if width.strip().isdigit())
    references = tuple(name for name in options["reference"] if name != "none")
    same = ("fit_on", "fractions", "backbone", "layer", "where", "train", "query", "train_share", "group", "validation")
    return Attribution(
        **{name: options[name] for name in same},
        references=references,
        trials=options["trials"],
        recipe={name: value for name, value in chosen.items() if value is not None},
        families=options["family"],
        seed=options["seed"],
        device=options["device"],
        side_by_side=options["side_by_side"],
    )


def _draw(
    report: "Report", points: "ResultCache", store: "FeatureStore", folder: Path, formats: tuple[str, ...]
) -> None:
    from fewshot.figures.attribution import draw_all
    from fewshot.protocols.curve.layers import main_layer
    from fewshot.protocols.curve.run import largest_points

    main = main_layer(report)
    for path in draw_all(main, largest_points(main, points), store, folder, formats):
        click.echo(f"figure {path}", err=True)


def _save(report: "Report", points: "ResultCache", out: Path, store: "FeatureStore", *, keep_scores: bool) -> None:
    from fewshot.protocols.curve.layers import main_layer
    from fewshot.protocols.curve.run import kept_scores

    report.save(out)
    if keep_scores:
        kept_scores(main_layer(report), points, out.with_suffix(".npz"), synthetic=store.synthetic)
    points.clear()


def _text(report: "Report") -> str:
    from fewshot.protocols.curve.generator_families import MACRO
    from fewshot.protocols.curve.layers import main_layer
    from fewshot.protocols.curve.run import METRICS
    from fewshot.protocols.published import beside, in_layout_of_table_3
    from fewshot.results.tables import report_table

    curve = report_table(report.where(source=MACRO), METRICS)
    main = main_layer(report)
    parts = [curve, in_layout_of_table_3(main), beside(main), *(f"note: {text}" for text in report.warnings)]
    return "\n\n".join(part for part in parts if part)
