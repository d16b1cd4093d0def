"""``fewshot weights`` and ``fewshot list`` as users meet them."""

import argparse
import json
from importlib.metadata import entry_points
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result

from fewshot.cli import group
from fewshot.embeddings.backbones.base import BACKBONES
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


def test_list_backbones_of_a_model_shows_its_layers() -> None:
    shown = run("list", "backbones", "timm:test_vit.r160_in1k").stdout

    assert "blocks.5.cls (64)" in shown
    assert "shorter-side(168,bicubic)" in shown


@pytest.mark.parametrize("family", ["engines", "heads", "layouts", "protocols", "views"])
def test_list_shows_the_other_families(family: str) -> None:
    result = run("list", family)

    assert result.exit_code == 0, result.stderr
    assert result.stdout.startswith(("name", "none is installed"))


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
