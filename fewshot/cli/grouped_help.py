"""Help texts: options under headings, commands in the order of their use, two examples at the end.

An option's heading follows from its name, by one table for all commands, so that the same option stands under the same
heading everywhere.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import click

OTHER = "Other options"
_COLUMN = 30  # characters of the names of options, where all of them are aligned
_FLAT = 6  # so few options need no headings

# In the order in which they are shown. Where one command means something else by a name, its own stands before it.
HEADINGS: Mapping[str, str] = {
    "Input": """
        --where --replay-where --query --query-where --per-source --train --train-share --validation --support --cross
        --store --report --root --naturals --naturals-where --synthetics --sources --from --add --check
        --layout --limit --one-class --unlabelled --skip-unlabelled --expect-count --expect-sources""",
    "Backbones": "--backbone --layer --view --weights --match-format --combine --cache",
    "Draw": "--shots --fractions --per --trials --ways --episodes --seed --group --draw --stratified --count --tiles",
    "Heads": "--head --scale --fuse --fuse-weights --start --fit-on --reference",
    "Measures": "compare.--metric --source --tpr --interval --tolerance",
    "Search": "--k --metric --index --recall --index-file --unknown-rate --radius --score",
    "Thresholds": "--max-false-alarms --max-misses --accept-weaker fit.--unknown-rate --level --synthetic-share",
    "Service": "--host --port --allow-host --shadow --feedback serve.--limit",
    "Output": """
        --out --name --title --keep-scores --figures --format --gallery --confusion --thumbnails --log
        --stability --c2pa --trust-list --full --paper --all --json --quiet --help""",
    "Running": "--device --precision --workers --batch-size --offline --strict --unsafe-pickle",
    "Advanced": """
        adapt.--k --rule --solver --steps --latent --widths --classifier --schedule --stop --family --side-by-side
        --store-dtype --fiser-compat --dataset --decoder --decode-seconds --compile --engine --shard""",
}


class Command(click.Command):
    """A command whose help has headings and ends in examples.

    Args:
        examples: command lines that work as they stand, given the files they name.
    """

    def __init__(self, *args: Any, examples: Sequence[str] = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.examples = tuple(examples)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the arguments; an option of a command beside this one is refused with that command's name."""
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            _refuse_option_of_another(error.option_name, ctx)
            raise

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options under their headings; few of them under one."""
        found: dict[str, list[tuple[str, str]]] = {heading: [] for heading in (*HEADINGS, OTHER)}
        for option in self.get_params(ctx):
            record = option.get_help_record(ctx) if isinstance(option, click.Option) else None
            if record is not None:
                found[heading_of(option, command=ctx.info_name)].append(record)
        records = [record for under in found.values() for record in under]
        width = min(_COLUMN, max(len(names) for names, _ in records))
        for heading, under in {"Options": records}.items() if len(records) <= _FLAT else found.items():
            if under:
                with formatter.section(heading):
                    formatter.write_dl([(f"{names:<{width}}", text) for names, text in under], col_max=_COLUMN)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples."""
        super().format_epilog(ctx, formatter)
        write_examples(self.examples, formatter)


class Group(click.Group):
    """A group of commands whose help ends in examples, and which names the nearest of its commands.

    Args:
        examples: command lines that work as they stand, given the files they name.
    """

    command_class = Command

    def __init__(self, *args: Any, examples: Sequence[str] = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.examples = tuple(examples)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Name the nearest command when there is none of this name."""
        known = self.list_commands(ctx)
        if args and not args[0].startswith("-") and args[0] not in known and not ctx.resilient_parsing:
            from fewshot.core.errors import unknown_name

            raise click.UsageError(str(unknown_name("command", args[0], known)), ctx)
        return super().resolve_command(ctx, args)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples."""
        super().format_epilog(ctx, formatter)
        write_examples(self.examples, formatter)


def heading_of(option: click.Parameter, *, command: str | None) -> str:
    """Return the heading of an option of a command; of one that the table does not know, ``OTHER``."""
    name = f"--{max(option.opts, key=len).lstrip('-')}"
    for heading, names in HEADINGS.items():
        if f"{command}.{name}" in names.split():
            return heading
    return next((heading for heading, names in HEADINGS.items() if name in names.split()), OTHER)


def _refuse_option_of_another(option: str, ctx: click.Context) -> None:
    """Raise for an option that another command of the same small group has."""
    group = None if ctx.parent is None else ctx.parent.command
    for name, command in group.commands.items() if isinstance(group, click.Group) else ():
        if any(option in parameter.opts for parameter in command.params):
            assert ctx.parent is not None  # it is the group's
            raise click.UsageError(
                f"{option} cannot be used here: it is an option of `{ctx.parent.command_path} {name}`", ctx
            )


def write_examples(examples: Sequence[str], formatter: click.HelpFormatter) -> None:
    """Write command lines as they are typed, unwrapped."""
    if examples:
        with formatter.section("Examples"):
            for example in examples:
                formatter.write(f"{'':{formatter.current_indent}}{example}\n")
