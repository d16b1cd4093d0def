"""``fewshot import``: a feature archive in FiSeR's form becomes a store."""

from pathlib import Path

import click

from fewshot.cli.grouped_help import Command
from fewshot.cli.options import json_option, out_option
from fewshot.cli.reporting import print_json, print_line


@click.command(
    cls=Command,
    short_help="Turn FiSeR's .pt archive into a store; no code is run.",
    examples=(
        "fewshot import features.pt -o features.h5",
        "fewshot import features.pt --backbone fiser --dataset tests -o features.h5",
    ),
)
@click.argument("archive", type=click.Path(path_type=Path), metavar="ARCHIVE.pt")
@out_option(metavar="STORE.h5", required=True, text="The store to make.")
@click.option("--backbone", metavar="NAME", help="Name of the backbone.  [default: the archive's model_name]")
@click.option("--layer", metavar="NAME", help="The layer used when none is chosen.  [default: the last]")
@click.option("--dataset", metavar="NAME", help="Name of the data set.  [default: the file's stem]")
@json_option
def command(
    archive: Path, out: Path, backbone: str | None, layer: str | None, dataset: str | None, as_json: bool
) -> None:
    """Read a feature archive in FiSeR's form and write it as a store.

    Features that the archive marks as normalised are marked so in the store and are not normalised again.
    """
    from fewshot.embeddings.store.fiser_archive import import_archive
    from fewshot.embeddings.store.reader import FeatureStore

    digest = import_archive(archive, out, backbone=backbone, layer=layer, dataset=dataset)
    store = FeatureStore(out)
    if as_json:
        layers = [f"{info.backbone}/{info.layer}" for info in store.layers]
        print_json({"store": str(out), "digest": digest, "images": len(store), "layers": layers})
    else:
        print_line(f"{out}: {len(store)} images of {len(store.sources)} sources, {len(store.layers)} layers")
