"""``fewshot fit``: a support and naturals become one certified detector file."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fewshot.cli.options import (
    backbones_option,
    device_options,
    heads_option,
    json_option,
    pairs_option,
    quiet_option,
    seed_option,
    share_option,
    split_commas,
    where_option,
)
from fewshot.cli.reporting import print_json, print_text
from fewshot.core.control_characters import escape_control

if TYPE_CHECKING:
    from fewshot.detector.detector import Detector

_PATH = click.Path(path_type=Path)


@click.command(short_help="A detector with a certified false-alarm rate, as one file.")
@click.argument("support", type=_PATH)
@backbones_option
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
    "--out", "-o", "--output", required=True, type=_PATH, metavar="NAME.detector", help="The detector to write."
)
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
    metavar="NAME|fixed|all",
    help="fixed: each backbone's default; of several, one is chosen inside the support.",
)
@click.option(
    "--combine",
    type=click.Choice(["choose", "mean"]),
    default="choose",
    show_default=True,
    help="Of several backbones, choose one inside the support, or take the mean of their scores.",
)
@click.option("--shots", type=click.IntRange(1), help="Draw so many images of each class from SUPPORT.  [default: all]")
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
@click.option("--name", help="What the detector is called.  [default: the file's name]")
@click.option("--weights", multiple=True, metavar="NAME=PATH", help="Weight files, as for `fewshot embed`.")
@device_options
@seed_option
@quiet_option
@json_option
def command(support: Path, as_json: bool, **options: Any) -> None:
    """Fit a head on SUPPORT, labelled images of both classes, and write a detector with a certified false-alarm rate.

    SUPPORT, --naturals, --synthetics and --sources are folders or tables of images, or stores. The threshold comes from
    --naturals, which took no part in fitting; the promise is for traffic that resembles them. Without them it is an
    estimate, and nothing is guaranteed.
    """
    from fewshot.core.signals import terminate_as_interrupt
    from fewshot.detector.fit import fit

    renamed = {"backbones": "backbone", "heads": "head"}
    given = {name: options.pop(old) for name, old in renamed.items()}
    embed_options = {name: options.pop(name) for name in ("device", "precision")}
    with terminate_as_interrupt():
        detector = fit(support, **given, **options, embed_options=embed_options)
    _show(detector, as_json)


def _show(detector: "Detector", as_json: bool) -> None:
    from fewshot.detector.summary import lines, to_json

    if as_json:
        print_json(to_json(detector))
    else:
        print_text("\n".join(map(escape_control, lines(detector))))
