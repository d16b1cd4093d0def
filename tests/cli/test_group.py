"""The command line as a whole: exit statuses, one sentence per error, nearest names, light help."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

import fewshot.cli
from fewshot.cli import group
from fewshot.core.errors import StoreError


def test_every_command_has_help_with_a_first_sentence() -> None:
    context = click.Context(group)

    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        assert command.help, name
        assert CliRunner().invoke(group, [name, "--help"]).exit_code == 0, name


def test_a_required_option_that_is_missing_is_wrong_usage_in_every_command() -> None:
    required = [
        (name, command, option)
        for name, command in _commands(group, click.Context(group))
        for option in command.params
        if isinstance(option, click.Option) and option.required
    ]

    assert {"fit", "suggest", "embed", "export"} <= {name for name, _, option in required if option.name == "out"}
    for _, command, option in required:
        with pytest.raises(click.MissingParameter):
            option.handle_parse_result(click.Context(command), {}, [])


def test_fit_without_a_file_to_write_stops_before_any_work(tmp_path: Path) -> None:
    result = CliRunner().invoke(group, ["fit", str(tmp_path)])

    assert result.exit_code == 2
    assert "Missing option '-o' / '--out'" in result.output


def _commands(folder: click.Group, context: click.Context) -> Iterator[tuple[str, click.Command]]:
    for name in folder.list_commands(context):
        command = folder.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from _commands(command, context)
        else:
            yield name, command


def test_an_unknown_command_is_wrong_usage_and_names_the_nearest() -> None:
    result = CliRunner().invoke(group, ["reprot"])

    assert result.exit_code == 2
    assert "there is no command 'reprot'; did you mean 'report'?" in result.output


def test_an_error_of_ours_is_one_sentence_on_stderr_and_status_one(monkeypatch: pytest.MonkeyPatch) -> None:
    result = _run_command_that_raises(StoreError("x.h5 is not sealed; run again"), [], monkeypatch)

    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "fewshot: x.h5 is not sealed; run again\n"


def test_debug_lets_the_traceback_through(monkeypatch: pytest.MonkeyPatch) -> None:
    result = _run_command_that_raises(StoreError("x"), ["--debug"], monkeypatch)

    assert isinstance(result.exception, StoreError)


def test_an_interrupt_is_status_130_and_says_how_to_resume(monkeypatch: pytest.MonkeyPatch) -> None:
    result = _run_command_that_raises(KeyboardInterrupt(), [], monkeypatch)

    assert result.exit_code == 130
    assert "run the same command again to resume" in result.stderr


def test_python_dash_m_is_the_same_command(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "fewshot", "--help"], cwd=tmp_path, capture_output=True, text=True, check=True
    )

    assert done.stdout.startswith("Usage: fewshot [OPTIONS] COMMAND")


@pytest.mark.parametrize(("given", "kept"), [({}, "PASSIVE"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE")])
def test_threads_sleep_while_they_wait_unless_told_otherwise(given: dict[str, str], kept: str) -> None:
    code = (
        "import os\nfrom fewshot.cli import main\ntry: main(['--help'])\nfinally: print(os.environ['OMP_WAIT_POLICY'])"
    )
    clean = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}

    done = subprocess.run(
        [sys.executable, "-c", code], env={**clean, **given}, capture_output=True, text=True, check=True
    )

    assert done.stdout.splitlines()[-1] == kept


def _run_command_that_raises(error: BaseException, options: list[str], monkeypatch: pytest.MonkeyPatch) -> Result:
    @click.command()
    def failing() -> None:
        raise error

    def get_command(_: object, __: click.Context, ___: str) -> click.Command:
        return failing

    monkeypatch.setattr(fewshot.cli.CommandFolder, "get_command", get_command)
    return CliRunner().invoke(group, [*options, "report"])
