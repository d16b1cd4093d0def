"""``fewshot export``: a store as ``.npy`` and Parquet files."""

from pathlib import Path

import click

from fewshot.cli.grouped_help import Command
from fewshot.cli.options import STORE, backbones_option, json_option, out_option
from fewshot.cli.reporting import print_json, print_line


@click.command(
    cls=Command,
    short_help="Write a store as .npy and Parquet files.",
    examples=("fewshot export images.h5 -o images", "fewshot export images.h5 -b spectrum -o spectrum"),
)
@click.argument("store", type=STORE, metavar="STORE")
@out_option(metavar="FOLDER", required=True, text="The folder to make.")
@backbones_option
@json_option
def command(store: Path, out: Path, backbone: tuple[str, ...], as_json: bool) -> None:
    """Write STORE as samples.parquet, one .npy matrix per backbone and layer, and store.json."""
    from fewshot.embeddings.store.export import export
    from fewshot.embeddings.store.reader import FeatureStore

    with FeatureStore(store) as opened:
        done = export(opened, out, backbones=backbone)
    listing = {"folder": str(done.folder), "files": done.files}
    if as_json:
        print_json(listing)
    else:
        print_line(f"{done.folder}: {len(done.files)} files")
