"""``fewshot export``: a store as ``.npy`` and Parquet files."""

from pathlib import Path

import click

from fewshot.cli.options import STORE, json_option, split_commas
from fewshot.cli.reporting import print_json, print_line


@click.command()
@click.argument("store", type=STORE, metavar="STORE")
@click.option("--out", "-o", required=True, type=click.Path(path_type=Path), metavar="FOLDER", help="A new folder.")
@click.option(
    "--backbone", "-b", "backbones", multiple=True, callback=split_commas, metavar="NAME[,NAME]", help="Only these."
)
@json_option
def command(store: Path, out: Path, backbones: tuple[str, ...], as_json: bool) -> None:
    """Write STORE as samples.parquet, one .npy matrix per backbone and layer, and store.json."""
    from fewshot.embeddings.store.export import export
    from fewshot.embeddings.store.reader import FeatureStore

    with FeatureStore(store) as opened:
        done = export(opened, out, backbones=backbones)
    listing = {"folder": str(done.folder), "files": done.files}
    if as_json:
        print_json(listing)
    else:
        print_line(f"{done.folder}: {len(done.files)} files")
