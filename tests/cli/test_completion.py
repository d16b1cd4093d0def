"""Shells complete commands, options, and the names that stand behind them."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner

from fewshot.cli import group
from fewshot.embeddings.store.writer import LayerData, write_store


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


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of two backbones: ``net`` with two layers, ``other`` with one."""
    path = tmp_path_factory.mktemp("completion") / "a.h5"
    samples = pd.DataFrame(
        {"key": ["a", "b"], "source": ["camera", "gan"], "synthetic": [False, True], "prompt": ["x", "y"]}
    )
    features = np.zeros((2, 3), np.float32)
    write_store(
        path,
        samples,
        [
            LayerData("net", "early", features),
            LayerData("net", "late", features, default=True),
            LayerData("other", "pooled", features, default=True),
        ],
    )
    return path


def offered(words: str, incomplete: str) -> list[str]:
    """Return what a shell is offered behind some words."""
    completion = ShellComplete(group, {}, "fewshot", "_FEWSHOT_COMPLETE")
    return [item.value for item in completion.get_completions(shlex.split(words), incomplete)]


@pytest.mark.parametrize("words", ["adapt STORE -b", "adapt --shots 5 STORE --backbone", "nearest STORE x.png -b"])
def test_backbones_of_the_store_on_the_line_are_completed(store: Path, words: str) -> None:
    assert offered(words.replace("STORE", str(store)), "") == ["net", "other"]


def test_the_last_of_a_list_is_completed_without_what_is_in_it(store: Path) -> None:
    assert offered(f"adapt {store} -b", "net,") == ["net,other"]
    assert offered("adapt missing.h5 --head", "svm,log") == ["svm,logistic"]


def test_all_backbones_are_completed_where_no_store_is_on_the_line() -> None:
    assert offered("embed photos -b", "spec") == ["spectrum"]
    assert offered("embed photos -b", "npr,unif") == ["npr,unifd"]
    assert "all" in offered("embed photos -b", "")
    assert offered("weights fetch", "npr,unif") == ["npr,unifd"]
    assert offered("list heads", "mahal") == ["mahalanobis"]


def test_layers_are_those_of_the_backbone_and_store_on_the_line(store: Path) -> None:
    assert offered(f"adapt {store} -b net --layer", "") == ["fixed", "all", "support-cv", "oracle", "early", "late"]
    assert offered(f"nearest evaluate {store} -b other --layer", "") == ["pooled"]
    assert offered("embed photos -b npr --layer", "n") == ["npr="]
    assert offered("embed photos -b npr --layer", "npr=fea") == ["npr=feature"]


def test_columns_and_their_values_are_those_of_the_store_on_the_line(store: Path) -> None:
    assert offered(f"adapt {store} --group", "pro") == ["prompt"]
    assert offered(f"adapt {store} --where", "sou") == ["source="]
    assert offered(f"adapt {store} --where", "source=camera,g") == ["source=camera,gan"]


def test_what_is_no_store_completes_nothing_and_does_not_fail(tmp_path: Path) -> None:
    (tmp_path / "a.h5").write_text("no store")

    assert offered(f"adapt {tmp_path / 'a.h5'} --group", "") == []
    assert offered(f"nearest {tmp_path / 'a.h5'} --layer", "") == []


def test_the_command_that_may_be_left_out_is_offered_beside_files() -> None:
    completion = ShellComplete(group, {}, "fewshot", "_FEWSHOT_COMPLETE")

    found = {(item.value, item.type) for item in completion.get_completions(["nearest"], "")}

    assert found >= {("evaluate", "plain"), ("lookup", "plain"), ("", "file")}
    assert "--per-source" in offered("nearest images.h5", "--per")


def test_completion_loads_no_large_package(store: Path) -> None:
    code = f"""
import sys
from click.shell_completion import ShellComplete
from fewshot.cli import group
completion = ShellComplete(group, {{}}, "fewshot", "_FEWSHOT_COMPLETE")
for words in (["embed", "-b"], ["adapt", {str(store)!r}, "--layer"], ["adapt", {str(store)!r}, "--where"]):
    assert completion.get_completions(words, ""), words
print(sorted(set(sys.modules) & {{"torch", "sklearn", "faiss", "pandas", "scipy", "matplotlib"}}))
"""

    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "[]\n"
