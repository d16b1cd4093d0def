"""The command line: one thin click command per file; results on stdout, everything else on stderr.

May import everything, inside the functions that need it; the only place that imports click.
"""

import importlib
import os
import pkgutil
import sys
from collections.abc import Sequence
from typing import Any

import click

from fewshot import __version__
from fewshot.cli.grouped_help import Group
from fewshot.cli.reporting import abandon, flush_notes, print_note, print_text
from fewshot.cli.streams import prepare_streams, restart_in_utf8
from fewshot.core.control_characters import escape_control
from fewshot.core.errors import FewshotError

INTERRUPTED = 130
_NOT_COMMANDS = {
    "completers",
    "grouped_help",
    "nearest_evaluate",
    "nearest_lookup",
    "options",
    "reporting",
    "streams",
}
# In the order in which a new user needs them; a command that is named nowhere stands under the last heading.
SECTIONS = {
    "The first hour": ("demo", "embed", "adapt", "report"),
    "Trust the numbers": ("audit", "compare", "replay"),
    "More experiments": ("nearest", "robustness", "attribute"),
    "A detector": ("fit", "predict", "suggest", "drift", "serve", "card"),
    "Look inside": ("list", "inspect", "verify", "weights"),
    "In and out": ("import", "export"),
    "Other commands": ("completion",),
}


class CommandFolder(Group):
    """A group whose commands are the modules of this package: ``adapt.py`` holds the command ``adapt``.

    A module whose name is a Python word or a library's ends in an underscore (``list_.py`` holds ``list``).
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the command names, sorted."""
        names = {module.name for module in pkgutil.iter_modules(__path__)} - _NOT_COMMANDS
        return sorted(name.rstrip("_").replace("_", "-") for name in names)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return one command, importing only its own module."""
        if cmd_name not in self.list_commands(ctx):
            return None
        stem = cmd_name.replace("-", "_")
        names = {module.name for module in pkgutil.iter_modules(__path__)}
        module = importlib.import_module(f"{__name__}.{stem if stem in names else stem + '_'}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands under their headings, aligned across all of them."""
        left = set(self.list_commands(ctx)).difference(*SECTIONS.values())
        last = list(SECTIONS)[-1]
        width = max(map(len, self.list_commands(ctx)))
        for heading, names in SECTIONS.items():
            commands = [
                (name, self.get_command(ctx, name)) for name in (*names, *(sorted(left) if heading is last else ()))
            ]
            with formatter.section(heading):
                formatter.write_dl(
                    [
                        (f"{name:<{width}}", one.get_short_help_str(limit=100))
                        for name, one in commands
                        if one is not None
                    ]
                )

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Read the group's own options; what is wrong with them is said without control characters."""
        try:
            return super().make_context(info_name, args, parent, **extra)
        except click.ClickException as error:
            _make_printable(error)
            raise

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; an error of ours becomes one sentence and exit status 1."""
        try:
            return super().invoke(ctx)
        except FewshotError as error:
            if ctx.params.get("debug"):
                raise
            print_note(f"fewshot: {error}")
            ctx.exit(1)
        except KeyboardInterrupt as interrupt:  # a command that cannot resume says itself how to go on
            said = str(interrupt) or "interrupted; what was done is kept, run the same command again to resume"
            print_note(f"fewshot: {said}")
            ctx.exit(INTERRUPTED)
        except click.ClickException as error:
            _make_printable(error)
            raise


def _make_printable(error: click.ClickException) -> None:
    """Give an error of click a message that a terminal can show."""
    vars(error).update(message=escape_control(error.message))  # which its type calls final


def _print_version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if not wanted or ctx.resilient_parsing:
        return
    from fewshot.embeddings.stack import stack

    lines = [f"fewshot {__version__}", *(f"  {name:<16} {description}" for name, description in stack().items())]
    print_text("\n".join(lines))
    ctx.exit()


@click.group(
    cls=CommandFolder,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    examples=(
        "fewshot demo",
        "fewshot embed demo/images -b spectrum -o images.h5",
        "fewshot adapt images.h5 --shots 1,5,10 -o report.json",
    ),
)
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.option(
    "--version",
    is_flag=True,
    callback=_print_version,
    expose_value=False,
    is_eager=True,
    help="Show devices, FAISS and library versions, and exit.",
)
def group(debug: bool) -> None:
    """Adapt detectors of AI-generated images to a new generator with a few labelled images."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; exit status 0 done, 1 an error of ours, 2 wrong usage, 130 interrupted.

    OpenMP's threads are told to sleep while they wait, unless the environment says otherwise: where other work wants
    the processor they otherwise burn it in waiting.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    given = sys.argv[1:] if arguments is None else list(arguments)
    if arguments is None:
        restart_in_utf8()
    prepare_streams()
    try:
        group.main(args=given, prog_name="fewshot")
    except OSError as error:  # of a help text that cannot be printed, say; what commands do is mapped where it is done
        abandon(sys.stdout)
        if "--debug" in given:
            raise
        print_note(f"fewshot: {error.strerror or error}{f': {error.filename}' if error.filename else ''}")
        sys.exit(1)
    finally:
        flush_notes()
