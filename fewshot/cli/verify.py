"""``fewshot verify``: reread a store or detector and check every checksum."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from fewshot.cli.grouped_help import Command
from fewshot.cli.options import STORE, json_option
from fewshot.cli.reporting import print_json, print_line, print_note


@click.command(
    cls=Command,
    short_help="Reread a store or detector, check every checksum.",
    examples=("fewshot verify images.h5", "fewshot verify images.h5 mine.detector --json"),
)
@click.argument("files", nargs=-1, required=True, type=STORE, metavar="FILE...")
@json_option
def command(files: tuple[Path, ...], as_json: bool) -> None:
    """Reread everything in stores (STORE.h5) or detectors (NAME.detector) and check every checksum and digest.

    Of a detector, scores are computed again from the features that it holds, and thresholds and what they promise from
    the scores. Exit status 1 when something is wrong.
    """
    from fewshot.detector.archive import is_detector

    found = [_detector(file) if is_detector(file) else _store(file) for file in files]
    if as_json:
        print_json([document for document, *_ in found])
    for document, size, _ in found:
        if document["sound"] and not as_json:
            print_line(f"{document['path']}: sound, {size}")
        for note in document["notes"]:
            print_note(f"note: {document['path']}: {note}")
    for *_, require_sound in found:
        require_sound()


_Verified = tuple[dict[str, Any], str, Callable[[], None]]  # as JSON, what was reread, and what raises on a problem


def _store(file: Path) -> _Verified:
    from fewshot.embeddings.verify import require_sound, verify

    found = verify(file)
    document = {**vars(found), "path": str(found.path), "sound": found.sound}
    size = f"{found.images} images, {found.layers} layers, {found.bytes_read / 1e6:.1f} MB of features reread"
    return document, size, lambda: require_sound(found)


def _detector(file: Path) -> _Verified:
    from fewshot.detector.verification import verify_detector

    found = verify_detector(file)
    heads = "1 head" if found.members == 1 else f"{found.members} heads"
    size = f"{found.images} images, {heads}, {found.bytes_read / 1e6:.1f} MB reread, scores computed again"
    return found.to_json(), size, found.require_sound
