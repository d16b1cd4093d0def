"""``fewshot list``: what there is of every family."""

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from fewshot.cli import completers
from fewshot.cli.grouped_help import Command
from fewshot.cli.options import json_option, refuse_given, split_commas
from fewshot.cli.reporting import print_json, print_text
from fewshot.results.paragraph import WIDTH

FAMILIES = ("backbones", "engines", "heads", "layouts", "protocols", "views")
_USABLE = ("backbone", "for", "year", "cost", "weights")
_RECOMMENDED = ("backbone", "for", "year", "cost", "to get")
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
@click.option(
    "--all", "show_all", is_flag=True, help="Every backbone and variant, not only the usable and recommended."
)
@click.option(
    "--weights",
    multiple=True,
    metavar="FOLDER",
    type=click.Path(path_type=Path),
    help="Look for weight files here too, as `fewshot embed --weights FOLDER` does; repeatable.",
)
@json_option
def command(family: str, names: tuple[str, ...], show_all: bool, weights: tuple[Path, ...], as_json: bool) -> None:
    """List the available backbones, engines, heads, layouts, protocols or views.

    Backbones that can be used here stand first, then those to look at first. NAMES choose some of them, each shown with
    its layers, input rule, licence, paper, and how its equality with the authors' code is known; generic adapters are
    shown for one model when it is named, for example timm:resnet50.a1_in1k. --json holds all of it.
    """
    if family != "backbones":
        refuse_given(("show_all", "weights"), why="it is of backbones")
    rows = _rows(family, names, weights)
    if as_json:
        print_json(rows, indent=1)
    elif not rows:
        print_text("none is installed")
    elif family != "backbones":
        print_text(_described(rows))
    elif names:
        refuse_given(("show_all",), why="the backbones are named")
        print_text("\n".join(map(_card, rows)))
    else:
        print_text(_everything(rows) if show_all else _overview(rows))


def _rows(family: str, names: tuple[str, ...], weights: tuple[Path, ...]) -> Rows:
    if family == "backbones":
        from fewshot.core.errors import OptionError
        from fewshot.embeddings.backbones.catalogue import backbones

        if absent := [folder for folder in weights if not folder.is_dir()]:
            raise OptionError(f"--weights {absent[0]}: there is no such folder; check the path")
        return backbones(names, searched=weights)
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
    from fewshot.embeddings.backbones.catalogue import CHEAP_GFLOPS, MEDIUM_GFLOPS, USABLE
    from fewshot.embeddings.backbones.purposes import RECOMMENDED

    usable = _one_of_each([row for row in rows if row["weights"] in USABLE])
    shown = {row["name"] for row in usable}
    first = [row for row in rows if row["recommended"] and row["name"] not in shown]
    first.sort(key=lambda row: RECOMMENDED.index(row["name"].partition(":")[0]))
    more = f"""\
Cost is of one image: cheap under {CHEAP_GFLOPS} GFLOPs, medium under {MEDIUM_GFLOPS}, heavy wants a GPU.
To get weights: `fewshot weights fetch NAME`; by hand, as `fewshot list backbones NAME` says.
Files you have already: --weights FOLDER, here and for `fewshot embed`, or export FEWSHOT_WEIGHTS.
All {len(rows)}, with licences: --all. Everything known of them: --json."""
    parts = ["Usable here", _table(_USABLE, [[*_brief(row), row["weights"]] for row in usable]), ""]
    if first:
        parts += ["Recommended beside them", _table(_RECOMMENDED, [[*_brief(row), _way(row)] for row in first]), ""]
    return "\n".join([*parts, more])


def _one_of_each(rows: Rows) -> Rows:
    """Return the first variant of every backbone."""
    return list({row["name"].partition(":")[0]: row for row in reversed(rows)}.values())[::-1]


def _brief(row: Mapping[str, Any]) -> list[str]:
    from fewshot.embeddings.backbones.purposes import LONGEST

    purpose = textwrap.shorten(row["purpose"], LONGEST, placeholder=" ...")
    return [row["name"], purpose, "" if row["year"] is None else str(row["year"]), row["cost"]]


def _way(row: Mapping[str, Any]) -> str:
    """Return how a backbone's weights are had, where they are not here."""
    if row["name"].endswith(":NAME"):
        return "by model"
    return "fetch" if row["fetchable"] else "by hand"


def _everything(rows: Rows) -> str:
    header = ["backbone", "features", "GFLOPs", "year", "weights", "licence"]
    return _table(header, [_line(row) for row in rows])


def _line(row: Mapping[str, Any]) -> list[str]:
    return [
        row["name"],
        _number(row["layers"].get(row["layer"])),
        "" if row["gflops"] is None else f"{row['gflops']:,.4g}" if row["gflops"] < 1e4 else f"{row['gflops']:,.0f}",
        "" if row["year"] is None else str(row["year"]),
        row["weights"],
        row["licence"],
    ]


def _described(rows: Rows) -> str:
    """Return names and what they are, the last column folded within the width."""
    keys = list(rows[0])
    fixed = [[str(row[key]) for key in keys[:-1]] for row in rows]
    taken = sum(max(map(len, column)) + 2 for column in zip(keys[:-1], *fixed, strict=True))
    lines = []
    for cells, row in zip(fixed, rows, strict=True):
        first, *rest = textwrap.wrap(str(row[keys[-1]]), WIDTH - taken) or [""]
        lines += [[*cells, first], *([*([""] * len(cells)), more] for more in rest)]
    return _table(keys, lines)


def _card(row: Mapping[str, Any]) -> str:
    layers = ", ".join(f"{name} ({dimension})" for name, dimension in row["layers"].items()) or "any"
    files = "; ".join(f"{file['part']}: {file['file']} from {file['source']}" for file in row["files"]) or "none"
    fields = {
        "for": row["purpose"],
        "year": "unknown" if row["year"] is None else str(row["year"]),
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
