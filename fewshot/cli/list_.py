"""``fewshot list``: what there is of every family."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import click

from fewshot.cli.options import json_option, split_commas

FAMILIES = ("backbones", "heads", "layouts", "protocols", "views")
Rows = Sequence[Mapping[str, Any]]


@click.command()
@click.argument("family", type=click.Choice(FAMILIES))
@click.argument("names", nargs=-1, callback=split_commas)
@json_option
def command(family: str, names: tuple[str, ...], as_json: bool) -> None:
    """List the backbones, heads, layouts, protocols or views there are.

    Backbones are shown with the dimension of each layer, input rule, parameters, licence, paper, how their equality
    with the authors' code is known, and whether their weights are on this machine. NAMES choose some of them; generic
    adapters are shown for one model when it is named, for example timm:resnet50.a1_in1k.
    """
    rows = _rows(family, names)
    if as_json:
        click.echo(json.dumps(rows, indent=1))
    elif family == "backbones":
        _print_backbones(rows, full=bool(names))
    elif not rows:
        click.echo("none is installed")
    else:
        _print_table([[str(row[key]) for key in row] for row in rows], list(rows[0]))


def _rows(family: str, names: tuple[str, ...]) -> Rows:
    if family == "backbones":
        from fewshot.embeddings.backbones.catalogue import backbones

        return backbones(names)
    if family == "views":
        from fewshot.embeddings.inputs.views import KINDS

        rows: Rows = [{"name": kind.name, "argument": kind.argument, "what": kind.what} for kind in KINDS]
    else:
        rows = _members(family)
    return _chosen(family, rows, names)


def _members(family: str) -> Rows:
    from fewshot.embeddings.backbones.catalogue import members
    from fewshot.embeddings.layouts.base import LAYOUTS
    from fewshot.heads.base import HEADS
    from fewshot.protocols.base import PROTOCOLS

    return members({"heads": HEADS, "layouts": LAYOUTS, "protocols": PROTOCOLS}[family])


def _chosen(family: str, rows: Rows, names: tuple[str, ...]) -> Rows:
    from fewshot.core.errors import unknown_name

    known = [str(row["name"]) for row in rows]
    for name in names:
        if name not in known:
            raise unknown_name(family.removesuffix("s"), name, known)
    return [row for row in rows if not names or row["name"] in names]


def _print_backbones(rows: Rows, *, full: bool) -> None:
    if full:
        for row in rows:
            _print_card(row)
        return
    header = ["backbone", "layers", "parameters", "GFLOPs", "equality", "weights here", "licence"]
    _print_table([_line(row) for row in rows], header)
    click.echo("\n`fewshot list backbones NAME` shows input rule, paper, files and notes of one; --json shows all.")


def _line(row: Mapping[str, Any]) -> list[str]:
    layers = ", ".join(f"{name} {dimension}" for name, dimension in list(row["layers"].items())[:3]) or "any"
    more = f" and {len(row['layers']) - 3} more" if len(row["layers"]) > 3 else ""
    return [
        row["name"],
        layers + more + (", logit" if row["logit"] else ""),
        _number(row["parameters"]),
        "" if row["gflops"] is None else f"{row['gflops']:.4g}",
        row["equality"],
        row["weights"],
        row["licence"],
    ]


def _print_card(row: Mapping[str, Any]) -> None:
    click.echo(row["name"])
    layers = ", ".join(f"{name} ({dimension})" for name, dimension in row["layers"].items())
    facts = {
        "layers": f"{layers or 'any module by name'}{', logit (1)' if row['logit'] else ''}; default {row['layer']}",
        "input": row["input"],
        "size": f"{_number(row['parameters'])} parameters, {row['gflops']} GFLOPs an image",
        "equality": row["equality"],
        "weights here": row["weights"],
        "files": "; ".join(f"{file['part']}: {file['file']} from {file['source']}" for file in row["files"]) or "none",
        "licence": row["licence"],
        "paper": row["paper"],
        "reference": row["reference"],
        "note": row["note"],
    }
    for name, value in facts.items():
        click.echo(f"  {name:<13} {value}")


def _number(value: int | None) -> str:
    return "" if value is None else f"{value:,}"


def _print_table(rows: Sequence[Sequence[str]], header: Sequence[str]) -> None:
    widths = [max(len(str(line[column])) for line in (header, *rows)) for column in range(len(header))]
    for line in (header, *rows):
        click.echo("  ".join(str(cell).ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
