"""``fewshot list``: what there is of every family."""

from collections.abc import Mapping, Sequence
from typing import Any

import click

from fewshot.cli import completers
from fewshot.cli.grouped_help import Command
from fewshot.cli.options import json_option, split_commas
from fewshot.cli.reporting import print_json, print_text

FAMILIES = ("backbones", "engines", "heads", "layouts", "protocols", "views")
_SHOWN_LAYERS = 3
Rows = Sequence[Mapping[str, Any]]


@click.command(
    cls=Command,
    short_help="What there is: backbones, heads, layouts ...",
    examples=("fewshot list backbones", "fewshot list backbones npr,unifd"),
)
@click.argument("family", type=click.Choice(FAMILIES))
@click.argument(
    "names", nargs=-1, callback=split_commas, metavar="[NAME[,NAME...]]", shell_complete=completers.family_members
)
@json_option
def command(family: str, names: tuple[str, ...], as_json: bool) -> None:
    """List the available backbones, engines, heads, layouts, protocols or views.

    Backbones are shown with the dimension of each layer, input rule, parameters, licence, paper, how their equality
    with the authors' code is known, and whether their weights are on this machine. NAMES choose some of them; generic
    adapters are shown for one model when it is named, for example timm:resnet50.a1_in1k.
    """
    rows = _rows(family, names)
    if as_json:
        print_json(rows, indent=1)
    elif not rows:
        print_text("none is installed")
    elif family == "backbones" and names:
        print_text("\n".join(map(_card, rows)))
    elif family == "backbones":
        print_text(_overview(rows))
    else:
        print_text(_table(list(rows[0]), [[str(row[key]) for key in row] for row in rows]))


def _rows(family: str, names: tuple[str, ...]) -> Rows:
    if family == "backbones":
        from fewshot.embeddings.backbones.catalogue import backbones

        return backbones(names)
    return _chosen(family, _views() if family == "views" else _members(family), names)


def _views() -> Rows:
    from fewshot.embeddings.inputs.views import KINDS

    return [{"name": kind.name, "argument": kind.argument, "what": kind.what} for kind in KINDS]


def _members(plural: str) -> Rows:
    from fewshot.core.registry import family

    registry = family(plural)
    return [{"name": name, "what": registry.summary(name)} for name in registry.names()]


def _chosen(family: str, rows: Rows, names: tuple[str, ...]) -> Rows:
    from fewshot.core.errors import unknown_name

    known = [str(row["name"]) for row in rows]
    for name in names:
        if name not in known:
            raise unknown_name(family.removesuffix("s"), name, known)
    return [row for row in rows if not names or row["name"] in names]


def _overview(rows: Rows) -> str:
    header = ["backbone", "layers", "parameters", "GFLOPs", "equality", "weights here", "licence"]
    more = "`fewshot list backbones NAME` shows input rule, paper, files and notes of one; --json shows all."
    return f"{_table(header, [_line(row) for row in rows])}\n\n{more}"


def _line(row: Mapping[str, Any]) -> list[str]:
    named = [f"{name} {dimension}" for name, dimension in row["layers"].items()]
    layers = ", ".join(named[:_SHOWN_LAYERS]) or "any"
    more = f" and {len(named) - _SHOWN_LAYERS} more" if len(named) > _SHOWN_LAYERS else ""
    return [
        row["name"],
        layers + more + (", logit" if row["logit"] else ""),
        _number(row["parameters"]),
        "" if row["gflops"] is None else f"{row['gflops']:.4g}",
        row["equality"],
        row["weights"],
        row["licence"],
    ]


def _card(row: Mapping[str, Any]) -> str:
    layers = ", ".join(f"{name} ({dimension})" for name, dimension in row["layers"].items()) or "any"
    files = "; ".join(f"{file['part']}: {file['file']} from {file['source']}" for file in row["files"]) or "none"
    fields = {
        "layers": layers + (", logit (1)" if row["logit"] else ""),
        "default layer": row["layer"],
        "input": row["input"],
        "size": f"{_number(row['parameters']) or 'unknown'} parameters, {row['gflops'] or 'unknown'} GFLOPs per image",
        "equality": row["equality"],
        "weights here": row["weights"],
        "files": files,
        "licence": row["licence"],
        "paper": row["paper"],
        "reference": row["reference"],
        "note": row["note"],
    }
    return "\n".join([row["name"], *(f"  {name:<13} {value}" for name, value in fields.items())])


def _number(value: int | None) -> str:
    return "" if value is None else f"{value:,}"


def _table(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    from fewshot.results.tables import text_table

    return text_table(header, lines)
