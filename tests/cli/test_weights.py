"""``fewshot weights`` and ``fewshot list`` as users meet them."""

import argparse
import json
from importlib.metadata import entry_points
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result

from fewshot.cli import group
from fewshot.cli.list_ import FAMILIES
from fewshot.embeddings.backbones.base import BACKBONES
from fewshot.embeddings.backbones.purposes import LONGEST, PURPOSES, RECOMMENDED
from fewshot.embeddings.pipeline.choice import choose_backbones
from fewshot.embeddings.weights.checkpoint import read_checkpoint


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(group, [str(argument) for argument in arguments])


def test_weights_list_names_every_file_with_source_and_licence() -> None:
    result = run("weights", "list", "--json")

    rows = json.loads(result.stdout)
    assert {row["backbone"].partition(":")[0] for row in rows} >= {"npr", "unifd", "ferretnet", "lgrad"}
    assert all(row["licence"] and row["source"] for row in rows)
    restricted = {row["backbone"] for row in rows if row["non_commercial"]}
    assert "cnndetection" in restricted
    assert "ferretnet" not in restricted


def test_weights_list_shows_where_a_file_is(tmp_path: Path) -> None:
    (tmp_path / "NPR.pth").write_bytes(b"x")

    assert f"npr.net  NPR.pth  [{tmp_path / 'NPR.pth'}]" in run("weights", "list", "npr", "--cache", tmp_path).stdout
    assert "npr.net  NPR.pth  [not here]" in run("weights", "list", "npr", "--cache", tmp_path / "none").stdout


def test_weights_list_shows_what_is_present_first(tmp_path: Path) -> None:
    (tmp_path / "vibnet.pth").write_bytes(b"x")  # the last of the alphabet

    shown = run("weights", "list", "--cache", tmp_path).stdout.splitlines()
    rows = json.loads(run("weights", "list", "--cache", tmp_path, "--json").stdout)

    present = [row["path"] is not None for row in rows]
    assert present == sorted(present, reverse=True)
    assert shown[0].startswith(f"On this machine: {sum(present)} of {len(rows)} files, which stand first")
    assert "vibnet.pth" in [row["file"] for row in rows[: sum(present)]]


def test_weights_verify_reports_a_changed_file_with_status_one(tmp_path: Path) -> None:
    (tmp_path / "NPR.pth").write_bytes(b"first")
    assert run("weights", "verify", "npr", "--cache", tmp_path).exit_code == 0

    (tmp_path / "NPR.pth").write_bytes(b"second")
    result = run("weights", "verify", "npr", "--cache", tmp_path)

    assert result.exit_code == 1
    assert "the one pinned at first use" in result.stdout
    assert "1 of 1 weight files are not the expected ones" in result.stderr


def test_weights_fetch_without_names_is_wrong_usage() -> None:
    assert run("weights", "fetch").exit_code == 2


def test_weights_fetch_of_a_manual_file_says_the_steps(tmp_path: Path) -> None:
    result = run("weights", "fetch", "lasted", "--cache", tmp_path)

    assert result.exit_code == 1
    assert "Google Drive" in result.stderr


class Arguments:
    """Something a checkpoint should not hold."""


def test_a_checkpoint_that_needs_unpickling_is_converted_only_on_purpose(tmp_path: Path) -> None:
    source, target = tmp_path / "old.pth", tmp_path / "new.safetensors"
    torch.save({"model": {"module.weight": torch.ones(2, 3)}, "args": Arguments(), "epoch": 3}, source)

    assert run("weights", "convert", source, target).exit_code == 2
    result = run("weights", "convert", source, target, "--unsafe-pickle")

    assert result.exit_code == 0, result.stderr
    assert torch.equal(read_checkpoint(target)["weight"], torch.ones(2, 3))
    assert run("weights", "convert", source, target, "--unsafe-pickle").exit_code == 1  # never overwritten


def test_training_arguments_beside_the_tensors_need_no_unpickling(tmp_path: Path) -> None:
    path = tmp_path / "safe.pth"
    torch.save({"model": {"weight": torch.ones(2)}, "args": argparse.Namespace(lr=1e-3, out=Path("x"))}, path)

    assert torch.equal(read_checkpoint(path)["weight"], torch.ones(2))


def test_list_backbones_shows_every_registered_backbone() -> None:
    result = run("list", "backbones", "--json")

    rows = json.loads(result.stdout)
    registered = {entry.name for entry in entry_points(group=BACKBONES.group)}
    assert {row["name"].partition(":")[0] for row in rows} == registered
    assert {row["equality"] for row in rows} <= {"golden", "code-equivalent", "unverified"}
    for row in rows:
        assert set(row) >= {"layers", "input", "parameters", "gflops", "licence", "paper", "weights"}


def _sections(shown: str) -> dict[str, list[str]]:
    """Return {title: names in the first column} of the overview."""
    parts = [part.splitlines() for part in shown.strip().split("\n\n")]
    return {title: [line.split()[0] for line in lines[1:]] for title, *lines in parts}


def test_list_backbones_shows_the_usable_first_and_then_the_recommended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FEWSHOT_WEIGHTS", str(tmp_path / "none"))
    (tmp_path / "ForenSynth_Tiny_LaDeDa.pth").write_bytes(b"x")

    without = _sections(run("list", "backbones").stdout)
    found = _sections(run("list", "backbones", "--weights", tmp_path).stdout)

    assert list(without)[:2] == ["Usable here", "Recommended beside them"]
    assert "spectrum" in without["Usable here"]
    assert "tiny-ladeda:forensynth" not in without["Usable here"]
    assert "tiny-ladeda:forensynth" in found["Usable here"]  # though the files of the first variant are not
    named = [name.partition(":")[0] for name in found["Usable here"] + found["Recommended beside them"]]
    assert set(RECOMMENDED) <= set(named)
    assert len(named) == len(set(named))


def test_what_was_put_where_the_variable_says_is_usable_with_everything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FEWSHOT_WEIGHTS", str(tmp_path))
    (tmp_path / "NPR.pth").write_bytes(b"x")

    assert _sections(run("list", "backbones").stdout)["Usable here"].count("npr") == 1  # one of its two variants


def test_no_list_is_wider_than_a_hundred_columns() -> None:
    shown = [run("list", family).stdout for family in FAMILIES]
    shown.append(run("list", "backbones", "--all").stdout)

    assert [line for text in shown for line in text.splitlines() if len(line) > 100] == []
    assert len(shown[-1].splitlines()) == 1 + len(json.loads(run("list", "backbones", "--json").stdout))


def test_every_backbone_of_ours_says_in_a_few_words_what_it_is_for() -> None:
    rows = json.loads(run("list", "backbones", "--json").stdout)

    ours = {name for name in PURPOSES if len(PURPOSES[name]) <= LONGEST}
    assert {entry.name for entry in entry_points(group=BACKBONES.group)} == ours == set(PURPOSES)
    assert [row["name"] for row in rows if row["purpose"] != PURPOSES[row["name"].partition(":")[0]]] == []
    years = {row["name"]: (row["year"], row["cost"]) for row in rows}
    assert years["fiser"] == (2026, "heavy")
    assert years["tiny-ladeda"] == (2024, "cheap")
    assert years["commfor"] == (2025, "medium")


@pytest.mark.parametrize("words", ["heads --all", "heads --weights .", "backbones npr --all"])
def test_options_of_the_list_of_backbones_are_refused_elsewhere(words: str) -> None:
    result = run("list", *words.split())

    assert result.exit_code == 2
    assert "cannot be used here" in result.stderr


def test_list_backbones_of_a_model_shows_its_layers() -> None:
    shown = run("list", "backbones", "timm:test_vit.r160_in1k").stdout

    assert "blocks.5.cls (64)" in shown
    assert "shorter-side(168,bicubic)" in shown


@pytest.mark.parametrize("family", ["engines", "heads", "layouts", "protocols", "views"])
def test_list_shows_the_other_families(family: str) -> None:
    result = run("list", family)

    assert result.exit_code == 0, result.stderr
    assert result.stdout.startswith(("name", "none is installed"))


def test_a_folder_of_weights_that_is_not_there_is_refused(tmp_path: Path) -> None:
    result = run("list", "backbones", "--weights", tmp_path / "none")

    assert result.exit_code == 1
    assert "there is no such folder; check the path" in result.stderr


def test_list_of_an_unknown_name_gives_the_nearest_and_all() -> None:
    result = run("list", "backbones", "unifdd")

    assert result.exit_code == 1
    assert "did you mean 'unifd'? Known: aide" in result.stderr


def test_all_backbones_are_those_whose_files_lie_in_the_folder_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FEWSHOT_WEIGHTS", str(tmp_path / "none"))
    (tmp_path / "NPR.pth").write_bytes(b"x")

    chosen = choose_backbones("all", weights=[str(tmp_path)], layers={})

    assert {each.backbone.name for each in chosen} >= {"npr", "spectrum"}
    assert "npr" not in {each.backbone.name for each in choose_backbones("all", weights=[], layers={})}
