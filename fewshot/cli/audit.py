"""``fewshot audit``: what could fool a reader of the numbers on a store."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fewshot.cli.options import STORE, json_option, seed_option, where_option
from fewshot.draws.near_bits import NEAR_BITS

if TYPE_CHECKING:
    from fewshot.audit import Audit
    from fewshot.embeddings.store.reader import FeatureStore

_PAIRS_SHOWN = 10


@click.command()
@click.argument("store", type=STORE)
@click.option("--report", type=click.Path(path_type=Path), help="Look for duplicates of its support images too.")
@click.option(
    "--radius",
    type=click.IntRange(0, 7),
    default=NEAR_BITS,
    show_default=True,
    help="Bits of the 64-bit perceptual hash in which near duplicates may differ.",
)
@click.option("--backbone", "-b", help="Look for near duplicates by these features as well.")
@click.option("--layer", help="Which layer of --backbone; its own choice by default.")
@click.option(
    "--score", type=float, default=0.99, show_default=True, help="Least cosine of near duplicates by --backbone."
)
@click.option("--strict", is_flag=True, help="Exit with status 1 when there is a warning.")
@where_option
@seed_option
@json_option
def command(store: Path, strict: bool, as_json: bool, **options: Any) -> None:
    """Find what could fool a reader of numbers on STORE: file facts that tell the classes, duplicates, imbalance."""
    import json

    from fewshot.audit import audit
    from fewshot.core.errors import InputError
    from fewshot.embeddings.search.index import SourceIndex
    from fewshot.embeddings.store.reader import FeatureStore
    from fewshot.results.report import Report

    opened = FeatureStore(store)
    index = None
    if options["backbone"]:
        index = SourceIndex(
            opened, backbone=options["backbone"], layer=options["layer"], where=options["where"], device="cpu"
        )
    found = audit(
        opened,
        opened.select(options["where"]),
        radius=options["radius"],
        index=index,
        score=options["score"],
        supports=Report.load(options["report"]).supports if options["report"] else None,
        seed=options["seed"],
    )
    click.echo(json.dumps(found.to_json(), indent=1) if as_json else _text(opened, found))
    if strict and found.warnings:
        raise InputError(f"{len(found.warnings)} warnings about {store}, and --strict was given; see above")


def _text(store: "FeatureStore", found: "Audit") -> str:
    from fewshot.results.tables import text_table

    parts = [f"{found.images} images: {found.natural} natural, {found.synthetic} synthetic"]
    header = ["source", "class", "images", "groups", "format", "JPEG quality", "tables", "size", "mode", "metadata"]
    parts.append(text_table(header, [_fact_cells(one) for one in found.facts]))
    if found.confounds:
        parts.append("What file facts alone tell (AUROC of a small cross-validated tree; 0.5 = nothing)")
        parts.append(text_table(["against natural", "facts", "AUROC", "95 % interval"], _confound_cells(found)))
    parts.append("Duplicates, and the borders that they cross")
    header = ["likeness", "pairs", "classes", "sources", "splits", "not of one group"]
    cells = [[one.likeness, one.pairs, one.classes, one.sources, one.splits, one.groups] for one in found.leaks]
    parts.append(text_table(header, [[str(cell) for cell in line] for line in cells]))
    if found.pairs:
        keys = store.column("key")
        listed = [
            f"  {pair.likeness:<5}  {keys[pair.first]}  {keys[pair.second]}" for pair in found.pairs[:_PAIRS_SHOWN]
        ]
        more = len(found.pairs) - _PAIRS_SHOWN
        parts.append("\n".join([*listed, f"  ... and {more} more (--json lists all)"] if more > 0 else listed))
    parts.append("\n".join(f"warning: {one}" for one in found.warnings) or "no warning")
    return "\n\n".join(parts)


def _fact_cells(one: Any) -> list[str]:
    kind = "synthetic" if one.synthetic else "natural"
    counts = [str(one.images), str(one.groups)]
    return [
        one.source,
        kind,
        *counts,
        one.format,
        one.jpeg_quality,
        str(one.quantisation),
        one.size,
        one.mode,
        one.metadata,
    ]


def _confound_cells(found: "Audit") -> list[list[str]]:
    together = max(len(one.facts) for one in found.confounds)
    return [
        [
            one.source,
            "format and sizes" if len(one.facts) == together else " + ".join(one.facts),
            f"{one.auroc:.3f}",
            f"{one.low:.3f}-{one.high:.3f}",
        ]
        for one in found.confounds
    ]
