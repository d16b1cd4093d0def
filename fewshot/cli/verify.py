"""``fewshot verify``: reread a store and check every checksum."""

from pathlib import Path

import click

from fewshot.cli.options import STORE, json_option
from fewshot.cli.reporting import print_json, print_line, print_note


@click.command()
@click.argument("stores", nargs=-1, required=True, type=STORE, metavar="STORE...")
@json_option
def command(stores: tuple[Path, ...], as_json: bool) -> None:
    """Reread everything in STORE... and check every checksum and digest; exit status 1 when something is wrong."""
    from fewshot.embeddings.verify import require_sound, verify

    found = [verify(store) for store in stores]
    if as_json:
        print_json([{**vars(each), "path": str(each.path), "sound": each.sound} for each in found])
    for each in found:
        require_sound(each)
        if not as_json:
            size = f"{each.bytes_read / 1e6:.1f} MB of features"
            print_line(f"{each.path}: sound, {each.images} images, {each.layers} layers, {size} reread")
        for note in each.notes:
            print_note(f"note: {each.path}: {note}")
