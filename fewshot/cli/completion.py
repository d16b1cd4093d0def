"""``fewshot completion``: what a shell needs to complete commands and options."""

import click
from click.shell_completion import get_completion_class

from fewshot.cli.grouped_help import Command
from fewshot.cli.reporting import print_text

VARIABLE = "_FEWSHOT_COMPLETE"


@click.command(
    cls=Command,
    short_help="Complete names and options in your shell.",
    examples=(
        "fewshot completion bash >> ~/.bashrc",
        "fewshot completion zsh >> ~/.zshrc",
        "fewshot completion fish > ~/.config/fish/completions/fewshot.fish",
    ),
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> None:
    """Print the script by which a shell completes commands, options, backbones, heads, layers and columns.

    Layers and columns are those of the store on the line.
    """
    from fewshot.cli import group

    completion = get_completion_class(shell)
    assert completion is not None  # the three choices are click's own
    print_text(completion(group, {}, "fewshot", VARIABLE).source())
