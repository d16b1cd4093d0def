"""Shells complete commands and options."""

import os
import subprocess
import sys

import pytest
from click.testing import CliRunner

from fewshot.cli import group


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_script_of_shell_calls_fewshot_back(shell: str) -> None:
    done = CliRunner().invoke(group, ["completion", shell])
    assert done.exit_code == 0
    assert f"_FEWSHOT_COMPLETE={shell}_complete" in done.stdout


def complete(words: str) -> set[str]:
    environment = {**os.environ, "_FEWSHOT_COMPLETE": "bash_complete", "COMP_WORDS": words}
    environment["COMP_CWORD"] = str(len(words.split(" ")) - 1)
    code = "from fewshot.cli import group; group.main(prog_name='fewshot', complete_var='_FEWSHOT_COMPLETE')"
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    return {line.split(",", 1)[1] for line in done.stdout.splitlines()}


def test_bash_completes_commands_and_options() -> None:
    assert complete("fewshot comp") >= {"completion"}
    assert complete("fewshot report --ti") == {"--title"}
