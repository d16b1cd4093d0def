"""``fewshot attribute``: single-class attribution with data curves."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fewshot.cli.grouped_help import Command
from fewshot.cli.options import (
    STORE,
    backbone_option,
    counts_option,
    device_option,
    group_option,
    json_option,
    keep_scores_option,
    layers_option,
    pairs_option,
    quiet_option,
    refuse_given,
    report_option,
    seed_option,
    share_of,
    split_commas,
    trials_option,
    where_option,
)
from fewshot.cli.reporting import print_answer, print_full, print_note, require_report_file
from fewshot.core.outputs import FIGURES, Output, require_outputs

_HINT = "--full shows every measure, and the paper's table beside it"
_FIGURES = ("data_curve", "deviations", "fisher_ratio")  # and scores_HEAD, see ``figures.attribution.draw_all``

if TYPE_CHECKING:
    from fewshot.protocols.attribution import Attribution
    from fewshot.protocols.base import Result
    from fewshot.results.report import Report


def fractions_option(_: click.Context, parameter: click.Parameter, value: str | None) -> tuple[float, ...] | None:
    """Read ``0.05%,1%,0.5`` as shares; None stays None."""
    return None if value is None else tuple(share_of(text, parameter) for text in value.split(","))


@click.command(
    cls=Command,
    short_help="Attribute images to one class, with data curves.",
    examples=(
        "fewshot attribute images.h5 -b spectrum --fractions 10%,100% -o curves.json",
        "fewshot attribute images.h5 -b spectrum --fit-on natural --figures figures/",
    ),
)
@click.argument("store", type=STORE, metavar="STORE")
@report_option()
@click.option(
    "--fit-on",
    multiple=True,
    default=("natural", "synthetic"),
    show_default="natural,synthetic",
    callback=split_commas,
    metavar="NAME[,NAME...]",
    help="The attributed classes: natural, synthetic, or a source of the training set.",
)
@click.option(
    "--fractions",
    callback=fractions_option,
    metavar="SHARE[,SHARE...]",
    help="Shares of the training set.  [default: 0.05%,0.1%,1%,10%,100%, less those that the set is too small for]",
)
@backbone_option()
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
    help="Which images are queried.  [default: split=test beside split=train, else all that do not train]",
)
@click.option(
    "--train-share",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.5,
    show_default=True,
    metavar="SHARE",
    help="Share drawn for training where no column names the training images.",
)
@group_option(default="group", text="Images that share this column's value never stand on both sides of a drawn split.")
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
    show_default="linear-probe,rbf-svm",
    callback=split_commas,
    metavar="NAME[,NAME...]|none",
    help="Heads on the same subsets; none for no reference.",
)
@trials_option(default=None, text="Random draws of each share.  [default: 5 below 10 %, 3 from there, 1 at 100 %]")
@click.option(
    "--steps",
    type=click.IntRange(1),
    metavar="N",
    help="Steps of the optimiser.  [default: 2,000, or 20 epochs if more]",
)
@click.option(
    "--latent", type=click.IntRange(1), metavar="N", help="Width of the bottleneck.  [default: 256, at most D/3]"
)
@click.option(
    "--widths", metavar="N[,N...]", callback=counts_option, help="Hidden widths of the encoder.  [default: 1024,1024]"
)
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
@device_option(default="cpu")
@click.option(
    "--side-by-side",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    metavar="N",
    help="Trials that train at once.",
)
@keep_scores_option
@click.option(
    "--figures",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="FOLDER",
    help="Draw the figures into this folder.",
)
@click.option(
    "--format",
    "formats",
    default="png,svg,pdf",
    show_default=True,
    callback=split_commas,
    metavar="NAME[,NAME...]",
    help="File formats of the figures.",
)
@where_option
@seed_option
@click.option("--full", is_flag=True, help="Print all measures of the curve, and the paper's table beside it.")
@quiet_option
@json_option
def command(store: Path, out: Path | None, as_json: bool, full: bool, **options: Any) -> None:
    """Fit an encoder-decoder on one class of STORE at growing shares of its training images.

    The answer comes first, in a sentence, and the ranking behind it.
    Beside it stand a linear probe and an RBF SVM on the same images. Interrupted, the same command resumes at the
    last finished point (kept in the folder OUT.points until the report is written).
    """
    if options["figures"] is None:
        refuse_given(("formats",), why="it is of --figures")
    keep_scores, figures = options["keep_scores"], options["figures"]
    require_report_file(out, keep_scores=keep_scores, inputs=[store])
    require_outputs(_figures_there(figures, options["formats"]))
    from fewshot.embeddings.store.reader import FeatureStore
    from fewshot.protocols.base import RunContext
    from fewshot.protocols.curve.finished_points import clear_points

    folder = None if out is None else out.with_name(out.name + ".points")
    context = RunContext(quiet=options["quiet"], keep_scores=keep_scores or figures is not None, cache=folder)
    result = _protocol(options).run(FeatureStore(store), context)
    if out is not None:
        _save(result, out, keep_scores=keep_scores)
    if figures:
        _draw(result, store, figures, options["formats"])
    if folder is not None:
        clear_points(folder)
    if as_json or full:
        print_full(result.report, lambda: _tables(result.report), as_json=as_json)
    else:
        print_answer(result.report, hint=_HINT, kept=out is not None)


def _protocol(options: dict[str, Any]) -> "Attribution":
    from fewshot.protocols.attribution import Attribution

    training = {name: options[name] for name in ("steps", "latent", "widths", "classifier", "schedule", "stop")}
    same = ("fit_on", "fractions", "backbone", "layer", "where", "train", "query", "train_share", "group", "validation")
    return Attribution(
        **{name: options[name] for name in (*same, "trials", "seed", "device", "side_by_side")},
        references=tuple(name for name in options["reference"] if name != "none"),
        recipe={name: value for name, value in training.items() if value is not None},
        families=options["family"],
    )


def _figures_there(folder: Path | None, formats: tuple[str, ...]) -> list[Output]:
    """Return the figures that may be written over: those in the folder whose names are of figures."""
    found = [] if folder is None else [path for kind in formats for path in sorted(folder.glob(f"*.{kind}"))]
    named = [path for path in found if path.stem in _FIGURES or path.stem.startswith("scores_")]
    return [Output(path, FIGURES[path.suffix[1:]], "--figures") for path in named if path.suffix[1:] in FIGURES]


def _draw(result: "Result", store: Path, folder: Path, formats: tuple[str, ...]) -> None:
    from fewshot.embeddings.store.reader import FeatureStore
    from fewshot.figures.attribution import draw_all
    from fewshot.protocols.curve.layers import main_layer

    for path in draw_all(main_layer(result.report), result.scores or {}, FeatureStore(store), folder, formats):
        print_note(f"figure {path}")


def _save(result: "Result", out: Path, *, keep_scores: bool) -> None:
    if keep_scores:
        result.save(out)
    else:
        result.report.save(out)


def _tables(report: "Report") -> list[str]:
    from fewshot.protocols.curve.generator_families import MACRO
    from fewshot.protocols.curve.layers import main_layer
    from fewshot.protocols.curve.measurement import METRICS
    from fewshot.protocols.published import beside, in_layout_of_table_3
    from fewshot.results.tables import report_table

    main = main_layer(report)
    return [report_table(report.where(source=MACRO), METRICS), in_layout_of_table_3(main), beside(main)]
