"""``fewshot adapt`` as users meet it: table on stdout, warnings on stderr, one sentence and status 1 on bad input."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from fewshot.cli import group
from tests.protocols.toy_store import toy_store


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_store(tmp_path_factory.mktemp("stores") / "toy.h5")


def _run(*arguments: object) -> Result:
    return CliRunner().invoke(group, ["adapt", *map(str, arguments)])


def test_table_leads_with_the_range_of_a_single_draw(path: Path) -> None:
    result = _run(path, "--trials", 3, "-b", "net", "--shots", "1,5", "--full")
    assert result.exit_code == 0, result.output
    header = next(line for line in result.stdout.splitlines() if line.startswith("backbone"))
    assert header.index("AUROC 5-95 %") < header.index("mean")
    assert "pretrained" in result.stdout
    assert "TPR@5%FPR" in header


def test_json_is_one_document_and_equals_the_saved_report(path: Path, tmp_path: Path) -> None:
    result = _run(path, "--trials", 2, "--json", "-o", tmp_path / "r.json")
    assert result.exit_code == 0, result.output
    printed, saved = json.loads(result.stdout), json.loads((tmp_path / "r.json").read_text())
    assert printed == saved
    assert printed["schema"] == 1
    assert {row["selection"] for row in printed["rows"]} == {"fixed"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--shots", "500"], "class 'natural' has 120 images"),
        (["--head", "swm"], "did you mean 'svm'"),
        (["--where", "source=photos"], "there is no synthetic image"),
        (["--where", "source=nobody"], "has source=nobody"),
        (["--group", "colour"], "there is no column 'colour'"),
        (["-o", "/no/such/folder/r.json"], "there is no folder"),
        (["--support", "/no/such/file"], "cannot be read"),
        (["--device", "gpu"], "--device 'gpu' is not a device; give auto, cpu, cuda or cuda:N"),
        (["--device", "cuda:99"], "--device cuda:99: "),
    ],
)
def test_bad_input_gets_its_sentence_and_status_1(path: Path, arguments: list[str], message: str) -> None:
    result = _run(path, "--trials", 2, *arguments)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert message in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_missing_and_unsealed_stores_get_their_sentence(tmp_path: Path) -> None:
    import h5py

    result = _run(tmp_path / "none.h5")
    assert result.exit_code == 1
    assert "make it with `fewshot embed" in result.stderr
    for name, attributes, message in (
        ("open.h5", {"format": "fewshot-store", "version": 1, "sealed": False}, "is not sealed"),
        ("new.h5", {"format": "fewshot-store", "version": 99, "sealed": True}, "store version 99"),
    ):
        with h5py.File(tmp_path / name, "w") as file:
            file.attrs.update(attributes)
        result = _run(tmp_path / name)
        assert result.exit_code == 1
        assert message in result.stderr


@pytest.mark.parametrize("arguments", [["--shots", "ten"], ["-k", "few"], ["--draw", "straw"]])
def test_wrong_usage_is_status_2(path: Path, arguments: list[str]) -> None:
    assert _run(path, *arguments).exit_code == 2
