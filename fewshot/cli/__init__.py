"""The command line: one thin click command per file; results on stdout, everything else on stderr.

May import everything, inside the functions that need it; the only place that imports click.
"""

import importlib
import io
import os
import pkgutil
import sys
from collections.abc import Sequence
from typing import Any

import click

from fewshot import __version__
from fewshot.core.errors import FewshotError

INTERRUPTED = 130
_NOT_COMMANDS = {"options", "reporting"}


class CommandFolder(click.Group):
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

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Name the nearest command when there is none of this name."""
        if args and not args[0].startswith("-") and args[0] not in self.list_commands(ctx):
            from fewshot.core.errors import unknown_name

            raise click.UsageError(str(unknown_name("command", args[0], self.list_commands(ctx))), ctx)
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; an error of ours becomes one sentence and exit status 1."""
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="backslashreplace")  # a file's name may not be UTF-8
        try:
            return super().invoke(ctx)
        except FewshotError as error:
            if ctx.params.get("debug"):
                raise
            click.echo(f"fewshot: {error}", err=True)
            ctx.exit(1)
        except KeyboardInterrupt:
            click.echo("fewshot: interrupted; what was done is kept, run the same command again to resume", err=True)
            ctx.exit(INTERRUPTED)
        except BrokenPipeError:
            sys.stderr.close()
            ctx.exit(1)


def _print_version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if not wanted or ctx.resilient_parsing:
        return
    from fewshot.embeddings.stack import stack

    click.echo(f"fewshot {__version__}")
    for name, description in stack().items():
        click.echo(f"  {name:<16} {description}")
    ctx.exit()


@click.group(cls=CommandFolder, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
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
    group.main(args=None if arguments is None else list(arguments), prog_name="fewshot")
