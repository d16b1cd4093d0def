"""Help texts: headings, examples that work, one name and one text per option."""

import shlex
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from fewshot.cli import SECTIONS, group
from fewshot.cli.grouped_help import HEADINGS, OTHER, Command, Group, heading_of

# Options whose texts differ by command, since what they write, read or count does.
OF_ITS_COMMAND = {
    "--out", "--group", "--shots", "--trials", "--query", "--store", "--layer", "--view", "--limit", "--name",
    "--strict", "--backbone", "--unknown-rate", "--metric", "--source", "--interval", "-k", "--all", "--report",
    "--workers", "--full", "--weights",
}  # fmt: skip
CLICKS_OWN_NAMES = {"TEXT", "INTEGER", "INTEGER RANGE", "FLOAT", "FLOAT RANGE", "PATH", "FILE", "DIRECTORY"}


def commands() -> Iterator[tuple[tuple[str, ...], click.Command, click.Context]]:
    """Yield every command with its names and a context for its help."""
    top = click.Context(group, info_name="fewshot")
    for name in group.list_commands(top):
        command = group.get_command(top, name)
        assert command is not None
        context = click.Context(command, info_name=name, parent=top)
        yield (name,), command, context
        for sub, inner in command.commands.items() if isinstance(command, click.Group) else ():
            yield (name, sub), inner, click.Context(inner, info_name=sub, parent=context)


COMMANDS = list(commands())
NAMED = [pytest.param(*found, id=" ".join(found[0])) for found in COMMANDS]


@pytest.mark.parametrize(("names", "command", "context"), NAMED)
def test_every_option_stands_under_a_heading(
    names: tuple[str, ...], command: click.Command, context: click.Context
) -> None:
    options = [each for each in command.get_params(context) if isinstance(each, click.Option)]

    without = [each.opts for each in options if heading_of(each, command=names[-1]) == OTHER]

    assert without == [], "give them a heading in fewshot/cli/grouped_help.py"


def test_no_heading_names_an_option_that_no_command_has() -> None:
    known = {
        f"--{opt.lstrip('-')}"
        for _, command, context in COMMANDS
        for each in command.get_params(context)
        for opt in each.opts
    }
    named = {name.rpartition(".")[2] for names in HEADINGS.values() for name in names.split()}

    assert named - known <= {"--full", "--paper", "--all"}


def test_every_command_stands_once_under_a_heading_of_the_whole() -> None:
    listed = [name for names in SECTIONS.values() for name in names]

    assert sorted(listed) == group.list_commands(click.Context(group))


def examples() -> list[str]:
    found = [
        example for _, command, _ in COMMANDS if isinstance(command, Command | Group) for example in command.examples
    ]
    return [*group.examples, *found]


@pytest.mark.parametrize(("names", "command", "context"), NAMED)
def test_every_command_shows_two_examples_of_itself(
    names: tuple[str, ...], command: click.Command, context: click.Context
) -> None:
    assert isinstance(command, Command | Group)
    assert len(command.examples) >= 2
    assert command.get_help(context).endswith("\n".join(f"  {example}" for example in command.examples))
    assert all(example.split()[1] == names[0] for example in command.examples)


@pytest.mark.parametrize("example", examples())
def test_an_example_is_taken_by_its_command(example: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    words = shlex.split(example.partition(" >")[0])[1:]
    for file in ("npr.pth", "mine.ckpt"):  # of ``weights convert``, which looks for them while it reads its options
        Path(file).touch()

    context = group.make_context("fewshot", words)
    while isinstance(context.command, click.Group):
        name, command, rest = context.command.resolve_command(context, [*context._protected_args, *context.args])
        assert command is not None
        context = command.make_context(name, rest, parent=context)

    assert len(example) <= 78


@pytest.mark.parametrize("width", [80, 100])
@pytest.mark.parametrize(("names", "command", "context"), NAMED)
def test_help_fits_the_terminal_and_speaks_of_names_and_files(
    names: tuple[str, ...], command: click.Command, context: click.Context, width: int
) -> None:
    context.terminal_width = width

    lines = command.get_help(context).splitlines()

    assert [line for line in lines if len(line) > width] == []
    options = [each for each in command.params if isinstance(each, click.Option) and not each.is_flag]
    assert [each.opts for each in options if each.make_metavar(context) in CLICKS_OWN_NAMES] == []


def test_the_same_option_is_explained_by_the_same_words_everywhere() -> None:
    texts: dict[str, set[str]] = defaultdict(set)
    for _, command, _ in COMMANDS:
        for each in command.params:
            if isinstance(each, click.Option):
                texts[max(each.opts, key=len)].add(each.help or "")

    assert {name: said for name, said in texts.items() if len(said) > 1 and name not in OF_ITS_COMMAND} == {}


def test_whatever_is_written_is_named_by_one_option() -> None:
    for names, command, _ in COMMANDS:
        for each in command.params:
            if each.name == "out":
                assert each.opts == ["-o", "--out"], names
                assert "--output" not in each.opts


def test_the_earlier_name_of_out_is_taken_and_not_shown() -> None:
    for names, command, context in COMMANDS:
        out = next((each for each in command.params if each.name == "out"), None)
        if out is not None:
            parser = command.make_parser(context)
            assert parser._long_opt["--output"].obj is out, names
            assert "--output" not in command.get_help(context)


def test_an_option_that_the_table_does_not_know_is_shown_last() -> None:
    option = click.Option(["--new"], help="New.")
    known = [click.Option([f"--{name}"]) for name in ("out", "seed", "json", "device", "query", "where")]
    command = Command("adapt", params=[option, *known])

    text = command.get_help(click.Context(command, info_name="adapt"))

    assert text.index("Running:") < text.index(f"{OTHER}:") < text.index("--new")
