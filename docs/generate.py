"""Write the reference pages that follow from the code: the command line and the backbones."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from fewshot.cli import group
from fewshot.embeddings.backbones import catalogue

REFERENCE = Path(__file__).resolve().parent / "reference"
WIDTH = 100
ABOUT_COMMANDS = """\
Made from `--help` by `make docs`. Results go to stdout, everything else to stderr. Exit status: 0 done; 1 an error,
told in one sentence; 2 wrong usage; 130 interrupted, with what was done kept.
"""
ABOUT_BACKBONES = """\
Made from the cards by `make docs`. *Equality*: how the features are known to equal those of the authors' code.
`golden`: compared with stored outputs of it, in the tests; `code-equivalent`: compared with an independent second
writing, in the tests; `unverified`: neither. The licence is that of code and weights; read it before use.
"""


def command_line() -> str:
    """Return the page of all commands: the text of every ``--help``."""
    parts = [
        "# Command line\n",
        f"{ABOUT_COMMANDS}\n",
        _help("fewshot", group, None),
    ]
    context = click.Context(group, info_name="fewshot")
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        parts += [f"## fewshot {name}\n", _help(name, command, context)]
        if isinstance(command, click.Group):
            inner = click.Context(command, info_name=name, parent=context)
            for sub in command.list_commands(inner):
                part = command.get_command(inner, sub)
                assert part is not None
                parts += [f"### fewshot {name} {sub}\n", _help(sub, part, inner)]
    return "\n".join(parts)


def _help(name: str, command: click.Command, parent: click.Context | None) -> str:
    context = click.Context(command, info_name=name, parent=parent, terminal_width=WIDTH, max_content_width=WIDTH)
    return f"```text\n{command.get_help(context)}\n```\n"


def backbones() -> str:
    """Return the page of all backbones: what their cards say."""
    rows = catalogue.backbones()
    lines = [
        "# Backbones\n",
        f"{ABOUT_BACKBONES}\n",
        "| backbone | layers (dimension), the default in bold | input | equality | parameters | licence |",
        "|---|---|---|---|---:|---|",
        *(_row(row) for row in rows),
        "\n## Papers and notes\n",
        *(_note(row) for row in rows),
    ]
    return "\n".join(lines) + "\n"


def _row(row: Mapping[str, Any]) -> str:
    named = [
        f"**{name}** ({size})" if name == row["layer"] else f"{name} ({size})" for name, size in row["layers"].items()
    ]
    layers = ", ".join([*named, *(["logit (1)"] if row["logit"] else [])]) or "any, by name"
    millions = "–" if row["parameters"] is None else f"{row['parameters'] / 1e6:.2f} M"
    return f"| `{row['name']}` | {layers} | {row['input']} | {row['equality']} | {millions} | {row['licence'] or '–'} |"


def _note(row: Mapping[str, Any]) -> str:
    said = [text.rstrip(".") + "." for text in (row["paper"], row["reference"], row["note"]) if text]
    return f"- `{row['name']}`: {' '.join(said)}"


def main() -> None:
    """Write the pages."""
    for name, text in {"cli.md": command_line(), "backbones.md": backbones()}.items():
        (REFERENCE / name).write_text(text, encoding="utf-8")
        sys.stdout.write(f"docs/reference/{name}\n")


if __name__ == "__main__":
    main()
