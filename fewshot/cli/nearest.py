"""``fewshot nearest``: look images up among the known sources, or evaluate how well that works on a store."""

import shlex
from pathlib import Path

import click
from click.shell_completion import CompletionItem

from fewshot.cli import nearest_evaluate, nearest_lookup
from fewshot.cli.grouped_help import Group
from fewshot.cli.reporting import print_note
from fewshot.core.errors import nearest_name

_A_SLIP = 0.8  # of difflib: ``evalute`` is a slip of ``evaluate``, the name of a store is not
_HELP = ("-h", "--help")


class _LookUpByDefault(Group):
    """A group whose command may be left out: what begins with no command's name is looked up."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put in the command where it was left out."""
        if args and args[0] not in (*self.commands, *_HELP):
            if not ctx.resilient_parsing:
                self._require_no_slip(args[0], ctx)
            args = [self._meant(args, ctx), *args]
        return super().parse_args(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete the commands, and the file of a store, since the command may be left out."""
        files = CompletionItem(incomplete, type="file")
        return [*super().shell_complete(ctx, incomplete), *([] if incomplete.startswith("-") else [files])]

    def _meant(self, args: list[str], ctx: click.Context) -> str:
        """Return the command that arguments without one mean: ``-o`` was once all that told the two apart."""
        if not any(each.startswith(("--out=", "--output=")) or _is_out(each) for each in args):
            return "lookup"
        if not ctx.resilient_parsing:
            print_note(f"note: evaluating a store is a command now: fewshot nearest evaluate {shlex.join(args)}")
        return "evaluate"

    def _require_no_slip(self, first: str, ctx: click.Context) -> None:
        near = nearest_name(first, self.commands, alike=_A_SLIP)
        if near is not None and not Path(first).exists():
            raise click.UsageError(f"there is no command and no store {first!r}; did you mean {near!r}?", ctx)


def _is_out(argument: str) -> bool:
    return argument in ("--out", "--output") or (argument.startswith("-o") and not argument.startswith("--"))


@click.group(
    cls=_LookUpByDefault,
    short_help="Which known source is an image most like?",
    options_metavar="",
    subcommand_metavar="[lookup] STORE IMAGE... | evaluate STORE",
    examples=(
        "fewshot nearest images.h5 suspicious.png",
        "fewshot nearest evaluate images.h5 --group group -o nearest.json",
    ),
)
def command() -> None:
    """Show which known sources images are most like, or measure how well that works on a store.

    `lookup` may be left out.
    """


command.add_command(nearest_lookup.command, "lookup")
command.add_command(nearest_evaluate.command, "evaluate")
