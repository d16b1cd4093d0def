"""``fewshot suggest``: which images to label next."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fewshot.cli.grouped_help import Command
from fewshot.cli.options import (
    device_option,
    gallery_option,
    json_option,
    out_option,
    quiet_option,
    root_option,
    weights_option,
)
from fewshot.cli.reporting import print_json, print_labelled, print_line, print_note, print_warning
from fewshot.core.outputs import Output, require_outputs

if TYPE_CHECKING:
    from fewshot.detector.detector import Detector
    from fewshot.detector.suggestion import Suggestions

_FILE = click.Path(path_type=Path)


@click.command(
    cls=Command,
    short_help="Which images to label next.",
    examples=(
        "fewshot suggest mine.detector inbox/ -o label-me.csv",
        "fewshot suggest mine.detector inbox/ -n 50 --gallery near.html -o label-me.csv",
    ),
)
@click.argument("detector", type=_FILE, metavar="DETECTOR")
@click.argument("inbox", type=_FILE, nargs=-1, required=True, metavar="INBOX...")
@click.option(
    "--count", "-n", type=click.IntRange(1), default=20, show_default=True, metavar="N", help="How many images."
)
@out_option(metavar="LABEL-ME.csv", required=True, text="The list to fill in.")
@gallery_option
@root_option
@weights_option
@device_option(default="auto")
@quiet_option
@json_option
def command(detector: Path, inbox: tuple[Path, ...], gallery: Path | None, as_json: bool, **options: Any) -> None:
    """Write a list of the images of INBOX whose labels help DETECTOR most: near its thresholds, and unlike each other.

    INBOX are folders, images, tables with a column path, or stores. Write natural or synthetic into the column label of
    the list, leave out what you cannot tell, and give it to `fewshot fit --from DETECTOR --add`. Images whose pixels
    the detector holds already are not suggested.
    """
    from fewshot.core.signals import terminate_as_interrupt
    from fewshot.detector.detector import Detector
    from fewshot.detector.label_list import LABEL_LIST, write_list
    from fewshot.detector.suggestion import suggest

    out: Path = options["out"]
    _require_outputs([Output(out, LABEL_LIST)], gallery, inputs=(detector, *inbox))
    loaded = Detector.load(detector)
    with terminate_as_interrupt():
        found = suggest(loaded, inbox, **options)
    write_list(found.chosen, out)
    if gallery is not None:
        _draw(loaded, found, gallery)
    for image, reason in found.failed:
        print_note(f"left out: {image}: {reason}")
    if as_json:
        print_json({**found.to_json(), "list": str(out)})
    else:
        print_labelled(found.lines())
        print_line(
            f"fill in the column label of {out}, then: fewshot fit --from {detector} --add {out} -o NEW.detector"
        )


def _require_outputs(outputs: list[Output], gallery: Path | None, *, inputs: tuple[Path, ...]) -> None:
    if gallery is not None:
        from fewshot.page.gallery import gallery_kind

        outputs.append(Output(gallery, gallery_kind(gallery), "--gallery"))
    require_outputs(outputs, inputs=inputs)


def _draw(detector: "Detector", found: "Suggestions", path: Path) -> None:
    from fewshot.embeddings.search.lookup import Finding
    from fewshot.page.gallery import Shown, write_gallery

    shown = []
    for each in found.chosen:
        said = each.judgement
        near = said.neighbours
        shown.append(
            Shown(
                Finding(str(each.file), said.sources, near, said.p_value, said.unknown),
                each.file,
                [None] * len(near),
                said=(f"{said.verdict}, score {said.score:.3g}",),
                pictures=[detector.thumbnails.get(known.row, b"") for known in near],
            )
        )
    natural_below, synthetic_above = detector.description.bounds
    note = (
        f"Images to label for the detector {detector.name!r}, each beside the nearest images that it knows: synthetic "
        f"above {synthetic_above:.3g}, natural below {natural_below:.3g}."
    )
    kept = bool(detector.thumbnails)

    def say_missing(said: str) -> None:
        remedy = "--root FOLDER says where the images of a store lie now"
        print_warning(f"{said} {remedy if kept else '`fewshot fit --thumbnails` keeps small ones of the known images'}")

    drawn = write_gallery(shown, path, title="Images to label", note=note, warn=say_missing)
    print_note(f"gallery: {drawn}")
