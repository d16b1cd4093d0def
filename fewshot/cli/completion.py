"""``fewshot completion``: what a shell needs to complete commands and options."""

import click
from click.shell_completion import get_completion_class

from fewshot.cli.reporting import print_text

VARIABLE = "_FEWSHOT_COMPLETE"


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> None:
    """Print the completion script of a shell.

    \b
    bash: fewshot completion bash >> ~/.bashrc
    zsh:  fewshot completion zsh >> ~/.zshrc
    fish: fewshot completion fish > ~/.config/fish/completions/fewshot.fish
    """
    from fewshot.cli import group

    completion = get_completion_class(shell)
    assert completion is not None  # the three choices are click's own
    print_text(completion(group, {}, "fewshot", VARIABLE).source())
