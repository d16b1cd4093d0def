"""Write the reference pages that follow from the code: the command line and the backbones."""

import sys
from collections.abc import Iterator
from pathlib import Path

import click

from fewshot.cli import group
from fewshot.embeddings.backbones.base import BACKBONES, Backbone, BackboneCard

REFERENCE = Path(__file__).resolve().parent / "reference"
WIDTH = 100
ABOUT_COMMANDS = """\
Made from `--help` by `make docs`. Results go to stdout, everything else to stderr. Exit status: 0 done; 1 an error, told in
one sentence; 2 wrong usage; 130 interrupted, with what was done kept.
"""
ABOUT_BACKBONES = """\
Made from the cards by `make docs`. *Equality*: how the features are known to equal those of the authors' code. `golden`:
compared with stored outputs of it, in the tests; `code-equivalent`: every operation compared by reading; `unverified`:
neither. The licence is that of code and weights; read it before use.
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
    lines = [
        "# Backbones\n",
        f"{ABOUT_BACKBONES}\n",
        "| backbone | layers (dimension), the default in bold | input | equality | parameters | licence |",
        "|---|---|---|---|---:|---|",
    ]
    cards = list(_cards())
    lines += [_row(card) for card in cards]
    lines += ["\n## Papers and notes\n"]
    lines += [
        f"- **{card.name}**: {_sentence(card.paper)} {_sentence(card.reference)} {card.note}".rstrip() for card in cards
    ]
    return "\n".join(lines) + "\n"


def _cards() -> Iterator[BackboneCard]:
    for name in BACKBONES.names():
        member: type[Backbone] = BACKBONES.load(name)
        for variant in member.variants or (None,):
            yield member(variant).card


def _row(card: BackboneCard) -> str:
    layers = ", ".join(
        f"**{name}** ({size})" if name == card.layer else f"{name} ({size})" for name, size in card.layers.items()
    )
    millions = f"{card.parameters / 1e6:.2f} M" if card.parameters else "–"
    return f"| `{card.name}` | {layers} | {card.input} | {card.equality} | {millions} | {card.licence or '–'} |"


def _note(card: BackboneCard) -> str:
    return " ".join(part for part in (f"- **{card.name}**:", _sentence(card.paper), _sentence(card.reference), card.note) if part)


def _sentence(text: str) -> str:
    return f"{text.rstrip('.')}." if text else ""


def main() -> None:
    """Write the pages."""
    for name, text in {"cli.md": command_line(), "backbones.md": backbones()}.items():
        (REFERENCE / name).write_text(text, encoding="utf-8")
        sys.stdout.write(f"docs/reference/{name}\n")


if __name__ == "__main__":
    main()
