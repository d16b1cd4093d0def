"""``fewshot fit``: a support and naturals become one certified detector file."""

from pathlib import Path
from typing import Any

import click

from fewshot.cli import completers
from fewshot.cli.grouped_help import Command
from fewshot.cli.options import (
    device_options,
    given_of,
    heads_option,
    json_option,
    out_option,
    pairs_option,
    quiet_option,
    refuse_given,
    seed_option,
    share_option,
    split_commas,
    weights_option,
    where_option,
)
from fewshot.cli.reporting import print_json, print_labelled

_PATH = click.Path(path_type=Path)
_CHOSEN_BEFORE = ("backbone", "layers", "combine", "shots", "where", "naturals_where", "precision")
_SETTINGS = ("max_false_alarms", "max_misses", "accept_weaker", "unknown_rate", "seed")
_OF_BOTH = (
    "add",
    "check",
    "naturals",
    "synthetics",
    "sources",
    "out",
    "weights",
    "device",
    "thumbnails",
    "name",
    "quiet",
)


@click.command(
    cls=Command,
    short_help="A detector with a certified false-alarm rate, as one file.",
    examples=(
        "fewshot fit images.h5 -b spectrum --naturals my-photos/ -o mine.detector",
        "fewshot fit images.h5 -b npr+ferretnet --naturals my-photos/ -o mine.detector",
        "fewshot fit --from mine.detector --add label-me.csv -o better.detector",
    ),
)
@click.argument("support", type=_PATH, required=False, metavar="[SUPPORT]")
@click.option(
    "--backbone",
    "-b",
    multiple=True,
    callback=split_commas,
    metavar="NAME[,NAME...]|NAME+NAME...",
    shell_complete=completers.backbones,
    help="Backbones; those joined by + are fused in one head, weighed inside the support.  [default: all of a store]",
)
@click.option(
    "--naturals", type=_PATH, metavar="FOLDER|STORE", help="Natural images of your own traffic, for the certificate."
)
@click.option(
    "--synthetics",
    type=_PATH,
    metavar="FOLDER|STORE",
    help="Synthetic images that are not in SUPPORT, to bound the rate of misses.",
)
@click.option("--sources", type=_PATH, metavar="FOLDER|STORE", help="Further known images that answers may point to.")
@click.option(
    "--from", "parent", type=_PATH, metavar="DETECTOR", help="Fit a successor of this detector, without SUPPORT."
)
@click.option(
    "--add",
    type=_PATH,
    metavar="TABLE|FOLDER|STORE",
    help="With --from: labelled images for the support; a label that it has otherwise is corrected.",
)
@click.option(
    "--check",
    type=_PATH,
    metavar="TABLE|FOLDER|STORE",
    help="With --from: labelled images that neither has seen, on which the old and the new one are compared.",
)
@out_option(metavar="NAME.detector", required=True, text="The detector to write.")
@click.option(
    "--max-false-alarms",
    callback=share_option,
    default="5%",
    show_default=True,
    metavar="SHARE",
    help="Share of natural images that may be flagged; certified on --naturals: 10% needs 29, 5% 59, 1% 299.",
)
@click.option(
    "--max-misses",
    callback=share_option,
    default="10%",
    show_default=True,
    metavar="SHARE",
    help="Share of synthetic images like --synthetics that may be called natural.",
)
@click.option("--accept-weaker", is_flag=True, help="Certify the best share that --naturals are enough for.")
@heads_option
@click.option(
    "--layer",
    "layers",
    default="fixed",
    show_default=True,
    callback=split_commas,
    metavar="NAME[,NAME...]|fixed|all",
    shell_complete=completers.layers,
    help="fixed: each backbone's default; of several, one is chosen inside the support, or all are fused.",
)
@click.option(
    "--combine",
    type=click.Choice(["choose", "mean", "fuse"]),
    default="choose",
    show_default=True,
    help="Of several backbones, choose one inside the support, take the mean of their scores, or fuse all in one head.",
)
@click.option(
    "--shots",
    type=click.IntRange(1),
    metavar="N",
    help="Draw so many images of each class from SUPPORT.  [default: all]",
)
@where_option
@click.option(
    "--naturals-where", multiple=True, metavar="COLUMN=VALUE", callback=pairs_option, help="As --where, for --naturals."
)
@click.option(
    "--unknown-rate",
    callback=share_option,
    default="5%",
    show_default=True,
    metavar="SHARE",
    help="Share of images like the known ones that may be called unknown.",
)
@click.option("--thumbnails", is_flag=True, help="Keep small pictures of the known images in the file, as evidence.")
@click.option("--name", metavar="NAME", help="What the detector is called.  [default: the file's name]")
@weights_option
@device_options
@seed_option
@quiet_option
@json_option
def command(support: Path | None, parent: Path | None, as_json: bool, **options: Any) -> None:
    """Fit a head on SUPPORT, labelled images of both classes, and write a detector with a certified false-alarm rate.

    SUPPORT, --naturals, --synthetics and --sources are folders or tables of images, or stores. The threshold comes from
    --naturals, which took no part in fitting; the promise is for traffic that resembles them. Without them it is an
    estimate, and nothing is guaranteed.

    Backbones that + joins, and all with --combine fuse, are fused: one support vector machine on the sum of their
    kernels, each weighed by what it shows inside the support. One that shows nothing there is left out.

    --from OLD.detector --add LABELLED writes a successor instead: the old support with the added images, the old
    backbone, layer and head, thresholds set anew. The old file stays as it is, so that rolling back is using it.
    Options that are not given are the old detector's; --naturals and --synthetics replace the images that certified it.
    """
    from fewshot.core.signals import terminate_as_interrupt

    with terminate_as_interrupt():
        document, lines = _fitted(support, options) if parent is None else _refitted(support, parent, options)
    if as_json:
        print_json(document)
    else:
        print_labelled(lines)


def _fitted(support: Path | None, options: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Fit a detector; return what is printed, as JSON and in lines."""
    from fewshot.detector import summary
    from fewshot.detector.fit import fit

    refuse_given(("add", "check"), why="they are of a successor, which --from OLD.detector fits")
    if support is None:
        raise click.UsageError("give SUPPORT, labelled images of both classes, or --from OLD.detector with --add")
    own = {name: value for name, value in options.items() if name not in ("add", "check")}
    renamed = {"backbones": "backbone", "heads": "head"}
    given = {name: own.pop(old) for name, old in renamed.items()}
    embed_options = {name: own.pop(name) for name in ("device", "precision")}
    detector = fit(support, **given, **own, embed_options=embed_options)
    return summary.to_json(detector), summary.lines(detector)


def _refitted(support: Path | None, parent: Path, options: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Fit a successor; return what is printed, as JSON and in lines."""
    from fewshot.detector.refit import refit

    refuse_given(("support", *_CHOSEN_BEFORE), why="--from keeps the support, backbone and layer of the old detector")
    changed = {name: options[name] for name in given_of(_SETTINGS)}
    same = {name: options[name] for name in _OF_BOTH}
    heads = options["head"] if given_of(("head",)) else ()
    refitted = refit(parent, heads=heads, **same, **changed)
    return refitted.to_json(), refitted.lines()
