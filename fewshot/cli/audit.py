"""``fewshot audit``: what could fool a reader of the numbers on a store."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fewshot.cli.grouped_help import Command
from fewshot.cli.options import (
    STORE,
    backbone_option,
    json_option,
    layer_option,
    refuse_given,
    seed_option,
    where_option,
)
from fewshot.cli.reporting import print_json, print_text, terminal_width
from fewshot.core.control_characters import escape_control
from fewshot.draws.near_bits import NEAR_BITS

if TYPE_CHECKING:
    from fewshot.audit import Audit
    from fewshot.audit.file_metadata import SourceMetadata
    from fewshot.embeddings.search.index import SourceIndex
    from fewshot.embeddings.store.reader import FeatureStore

_PAIRS_SHOWN = 10
_SOURCES = ("source", "class", "images", "groups", "format", "JPEG quality", "tables", "size", "mode", "metadata")
_CONFOUNDS = ("against natural", "metadata", "AUROC", "95 % interval")
_DUPLICATES = ("likeness", "pairs", "classes", "sources", "splits", "not of one group")


@click.command(
    cls=Command,
    short_help="Find what could fool you: duplicates, leaks, file metadata.",
    examples=("fewshot audit images.h5", "fewshot audit images.h5 --report report.json --strict"),
)
@click.argument("store", type=STORE, metavar="STORE")
@click.option(
    "--report",
    type=click.Path(path_type=Path),
    metavar="REPORT.json",
    help="A report on STORE: also look for duplicates of its support images.",
)
@click.option(
    "--radius",
    type=click.IntRange(0, 7),
    default=NEAR_BITS,
    show_default=True,
    metavar="N",
    help="Bits of the 64-bit perceptual hash in which near-duplicates may differ.",
)
@backbone_option(text="Also look for near-duplicates by the features of this backbone.")
@layer_option()
@click.option(
    "--score",
    type=click.FloatRange(-1, 1),
    default=0.99,
    show_default=True,
    metavar="NUMBER",
    help="Least cosine of near-duplicates by --backbone.",
)
@click.option("--strict", is_flag=True, help="Exit with status 1 when there is a warning.")
@where_option
@seed_option
@json_option
def command(store: Path, strict: bool, as_json: bool, **options: Any) -> None:
    """Find what could mislead on STORE: file metadata that separates the classes, duplicates, leaks, imbalance."""
    from fewshot.audit import audit
    from fewshot.core.errors import InputError
    from fewshot.embeddings.store.reader import FeatureStore

    if options["backbone"] is None:
        refuse_given(("layer", "score"), why="they go with --backbone, whose features are searched")
    supports = _supports(options["report"])
    opened = FeatureStore(store)
    found = audit(
        opened,
        opened.select(options["where"]),
        radius=options["radius"],
        index=_index(opened, options),
        score=options["score"],
        supports=supports,
        seed=options["seed"],
    )
    if as_json:
        print_json(found.to_json(), indent=1)
    else:
        print_text(_text(opened, found))
    if strict and found.warnings:
        raise InputError(f"{len(found.warnings)} warnings about {store}, and --strict was given; see above")


def _index(store: "FeatureStore", options: dict[str, Any]) -> "SourceIndex | None":
    if options["backbone"] is None:
        return None
    from fewshot.embeddings.search.index import SourceIndex

    chosen = {name: options[name] for name in ("backbone", "layer", "where")}
    return SourceIndex(store, **chosen, device="cpu")


def _supports(report: Path | None) -> Mapping[str, Sequence[str]] | None:
    if report is None:
        return None
    from fewshot.core.errors import ReportError
    from fewshot.results.report import Report

    supports = Report.load(report).supports
    if not all(isinstance(keys, list) for keys in supports.values()):
        raise ReportError(f"{report} keeps digests of its training images and not their names; leave --report out")
    return supports


def _text(store: "FeatureStore", found: "Audit") -> str:
    from fewshot.results.presentation import warning_lines
    from fewshot.results.tables import text_table

    parts = [
        f"{found.images} images: {found.natural} natural, {found.synthetic} synthetic",
        text_table(_SOURCES, [_source_cells(one) for one in found.sources]),
    ]
    if found.left_out:
        parts.append("Images that hold more than the embedded pixels show (docs: Which pixels are embedded)")
        counts = [[one.what, str(one.natural), str(one.synthetic)] for one in found.left_out]
        parts.append(text_table(("left out", "natural", "synthetic"), counts))
    if found.confounds:
        parts.append("How well file metadata alone separates the classes (AUROC of a small tree; 0.5 = not at all)")
        parts.append(text_table(_CONFOUNDS, _confound_cells(found)))
    parts.append("Duplicates, and how many pairs span classes, sources, splits and groups")
    cells = [[one.likeness, one.pairs, one.classes, one.sources, one.splits, one.groups] for one in found.leaks]
    parts.append(text_table(_DUPLICATES, [[str(cell) for cell in line] for line in cells]))
    if found.pairs:
        parts.append(_pairs(store, found))
    lines = [line for one in found.warnings for line in warning_lines(one, width=terminal_width())]
    parts.append("\n".join(lines) or "no warning")
    return "\n\n".join(parts)


def _pairs(store: "FeatureStore", found: "Audit") -> str:
    keys = store.column("key")
    pairs = found.pairs[:_PAIRS_SHOWN]
    listed = [escape_control(f"  {pair.likeness:<5}  {keys[pair.first]}  {keys[pair.second]}") for pair in pairs]
    more = len(found.pairs) - _PAIRS_SHOWN
    return "\n".join([*listed, f"  ... and {more} more (--json lists all)"] if more > 0 else listed)


def _source_cells(one: "SourceMetadata") -> list[str]:
    kind = "synthetic" if one.synthetic else "natural"
    counts = [str(one.images), str(one.groups)]
    files = [one.format, one.jpeg_quality, str(one.quantisation), one.size, one.mode, one.metadata]
    return [one.source, kind, *counts, *files]


def _confound_cells(found: "Audit") -> list[list[str]]:
    together = max(len(one.fields) for one in found.confounds)
    return [
        [
            one.source,
            "format and sizes" if len(one.fields) == together else " + ".join(one.fields),
            f"{one.auroc:.3f}",
            f"{one.low:.3f}-{one.high:.3f}",
        ]
        for one in found.confounds
    ]
