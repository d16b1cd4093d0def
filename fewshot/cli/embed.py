"""``fewshot embed``: images to features of every named backbone in one pass."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from fewshot.cli.options import STORE, device_options, json_option, quiet_option, split_commas
from fewshot.cli.reporting import print_json, print_text
from fewshot.core.control_characters import escape_control


def _layers(_: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, list[str]]:
    """Read ``BACKBONE=LAYER[,LAYER]``, repeatable."""
    wanted: dict[str, list[str]] = {}
    for value in values:
        backbone, equals, layers = value.rpartition("=")
        if not equals or not backbone or not layers:
            raise click.BadParameter(f"{value!r} is not BACKBONE=LAYER[,LAYER]", param=parameter)
        wanted.setdefault(backbone, []).extend(layer.strip() for layer in layers.split(","))
    return wanted


def _shard(_: click.Context, parameter: click.Parameter, value: str | None) -> tuple[int, int] | None:
    """Read ``i/n``, else what torchrun or a Slurm array says of this process."""
    if value is not None:
        number, slash, count = value.partition("/")
        if not (slash and number.isdecimal() and count.isdecimal()):
            raise click.BadParameter(f"{value!r} is not i/n, for example 1/4", param=parameter)
        return None if count == "1" else (int(number), int(count))
    for rank, world, first in (
        ("RANK", "WORLD_SIZE", "0"),
        ("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_COUNT", os.environ.get("SLURM_ARRAY_TASK_MIN", "0")),
    ):
        if os.environ.get(rank, "").isdecimal() and os.environ.get(world, "").isdecimal():
            processes = int(os.environ[world])
            return None if processes == 1 else (int(os.environ[rank]) - int(first) + 1, processes)
    return None


def _input_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Which images: layout and checks."""
    for option in (
        click.option(
            "--skip-unlabelled",
            is_flag=True,
            help="Leave out rows of a table or archive whose label is of neither class, counted, instead of refusing "
            "them.",
        ),
        click.option(
            "--unlabelled",
            type=click.Choice(["natural", "synthetic"]),
            help="The class of images in folders that nothing labels; needs --one-class where that is all of them.",
        ),
        click.option("--one-class", is_flag=True, help="Accept images of one class only."),
        click.option("--limit", type=int, help="At most so many images, spread evenly over the list."),
        click.option(
            "--expect-sources",
            multiple=True,
            callback=split_commas,
            metavar="NAME[,NAME]",
            help="Refuse other sources than these.",
        ),
        click.option("--expect-count", type=int, help="Refuse another number of images."),
        click.option("--layout", default="auto", show_default=True, help="How the images lie on disk."),
    ):
        command = option(command)
    return command


def _feature_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Which features: backbones, layers, views, weights and what is done to the pixels."""
    for option in (
        click.option("--fiser-compat", is_flag=True, help="Re-encode every image to JPEG 75, as FiSeR does."),
        click.option(
            "--match-format",
            metavar="VIEW",
            help="Re-encode every image of both classes alike first, for example jpeg:90.",
        ),
        click.option(
            "--store-dtype",
            type=click.Choice(["float32", "float16"]),
            default="float32",
            show_default=True,
            help="Type of stored features; float16 refuses overflow.",
        ),
        click.option(
            "--weights",
            multiple=True,
            metavar="NAME=PATH|NAME=random|FOLDER",
            help="A backbone's weight file, random weights for a trial, or a folder to look in for all of them before "
            "$FEWSHOT_WEIGHTS (when that is unset, the user's cache); repeatable.",
        ),
        click.option(
            "--view",
            "views",
            multiple=True,
            callback=split_commas,
            metavar="VIEW[,VIEW]",
            help="Perturbations to embed as well, for example clean,jpeg:75.  [default: clean]",
        ),
        click.option(
            "--layer",
            "layers",
            multiple=True,
            callback=_layers,
            metavar="BACKBONE=LAYER[,LAYER]",
            help="Keep only these layers of a backbone; repeatable.",
        ),
        click.option(
            "--backbone",
            "-b",
            "backbones",
            multiple=True,
            required=True,
            callback=split_commas,
            metavar="NAME[,NAME]",
            help="What to embed with; `all` = every detector whose weights are here. See `fewshot list backbones`.",
        ),
    ):
        command = option(command)
    return command


def _work_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """How the work is done."""
    for option in (
        click.option("--strict", is_flag=True, help="Stop at the first image that cannot be used."),
        click.option(
            "--shard",
            callback=_shard,
            metavar="i/n",
            help="Do only this share; the last to end seals the store. Read from torchrun's or Slurm's variables when "
            "it is not given.",
        ),
        click.option(
            "--engine",
            default="auto",
            show_default=True,
            metavar="NAME",
            help="Who runs the work: local, this process; processes, one per device; auto, the second for several.",
        ),
        click.option(
            "--decode-seconds",
            type=click.FloatRange(min=0, min_open=True),
            default=120.0,
            show_default=True,
            metavar="SECONDS",
            help="What one image may take to be read and decoded, before its decoding process is replaced.",
        ),
        click.option(
            "--workers", default="auto", show_default=True, metavar="N", help="Decoding processes; 0 for none."
        ),
        click.option(
            "--compile", is_flag=True, help="Compile the networks by torch.compile: slower to start, then faster."
        ),
        click.option(
            "--batch-size",
            default="auto",
            show_default=True,
            metavar="N",
            help="Images per batch; auto looks at the free memory.",
        ),
        click.option(
            "--decoder",
            default="pillow",
            show_default=True,
            metavar="NAME",
            help="What decodes image files: pillow, the reference; torchvision, faster; nvjpeg, on the GPU.",
        ),
    ):
        command = option(command)
    return command


@click.command()
@click.argument("roots", nargs=-1, required=True, metavar="ROOT...")
@click.option("--out", "-o", required=True, type=STORE, metavar="STORE.h5", help="The feature store to make or add to.")
@_feature_options
@_input_options
@_work_options
@device_options
@quiet_option
@json_option
def command(roots: tuple[str, ...], out: Path, as_json: bool, **options: Any) -> None:
    """Turn the images of ROOT... (folders or tables) into one store of features.

    Run it again after a kill and it resumes; run it again with another backbone or view and that is added. With
    several GPUs, or devices named with commas, one process runs on each.
    """
    from fewshot.core.signals import terminate_as_interrupt
    from fewshot.embeddings.extract import extract

    options["views"] = options["views"] or ("clean",)
    with terminate_as_interrupt():
        done = extract(roots, out=out, **options)
    if as_json:
        print_json(done.to_json())
    else:
        print_text("\n".join(map(escape_control, done.summary())))
