"""Heads, losses, steps and networks of the few-shot competitors against recordings of the authors' code."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from benchmarks.parity_peers import ANSWERS, LEFT_OUT, RECORDED, compare, compare_file, main
from benchmarks.parity_peers_golden import Golden
from fewshot.core.errors import InputError
from fewshot.heads.euclid import Euclid

FOLDER = Path(__file__).parent / "peers"
RECIPE = json.loads((FOLDER / "recipe.json").read_text())
# networks of 25 to 100 million weights, which alone take seconds to draw
HEAVY = {"fsd_network", "omnidfa", "fleet_xception", "fleet_model", "fleet_adapt_tiny"}
CASES = [
    pytest.param(path, id=path.stem, marks=[pytest.mark.slow] if path.stem in HEAVY else [])
    for path in sorted(FOLDER.glob("*.npz"))
    if path.stem in ANSWERS
]


@pytest.mark.parametrize("path", CASES)
def test_what_we_compute_equals_the_recording(path: Path) -> None:
    found = list(compare_file(path, RECIPE))

    assert [str(one) for one in found if one.differs] == []
    with np.load(path) as golden:
        assert {one.name.split()[-1] for one in found} == set(golden.files) - {"__meta__"}
    left_out = {one.name for one in found if one.left_out}
    assert left_out == {f"{file} {name}" for file, name in LEFT_OUT if file == path.stem}


def test_the_head_euclid_gives_the_differences_of_the_recorded_scores() -> None:
    with np.load(FOLDER / "fsd_scores.npz") as golden:
        for name, shots in (("eval", 5), ("eval10", 10)):
            (episode,), scores = golden[f"{name}_inputs"], golden[f"{name}_scores"]
            support, query = (part.reshape(-1, part.shape[-1]) for part in (episode[:shots], episode[shots:]))

            head = Euclid().fit(support, np.tile([0, 1], shots))

            found = head.decision_function(query)
            np.testing.assert_allclose(found, scores[:, 1] - scores[:, 0], rtol=0, atol=1e-5 * np.abs(scores).max())
            assert np.mean(head.predict(query) == np.tile([0, 1], len(query) // 2)) == pytest.approx(
                golden[f"{name}_acc"]
            )


def test_every_recorded_backbone_names_a_file() -> None:
    assert set(RECORDED.values()) <= set(RECIPE["files"])


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[[Path], tuple[int, str]]:
    """What ``make parity PEERS=FOLDER`` runs: exit status and standard output."""

    def run(folder: Path) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["parity_peers", str(folder)])
        return main(), capsys.readouterr().out

    return run


def folder_of(folder: Path, *, prefix: str = "", change: Callable[[dict[str, np.ndarray]], None] | None = None) -> Path:
    """A folder of one file, fsd_scores, whose arrays are drawn and computed here from the recipe of a prefix."""
    files = {"fsd_scores": RECIPE["files"]["fsd_scores"]}
    (folder / "recipe.json").write_text(json.dumps({"fill_key_prefix": prefix, "files": files}))
    golden = Golden("fsd_scores", {}, {}, prefix, 1e-5)
    inputs = golden.normal("fsd/eval", (1, 20, 2, 16)).numpy()
    inputs[:, :, 1] += 0.5
    (episode,) = inputs.astype(np.float64)
    distances = ((episode[5:].reshape(-1, 1, 16) - episode[:5].mean(0)) ** 2).sum(-1)
    arrays = {"eval_inputs": inputs, "eval_scores": -distances, "eval_labels": np.tile([0, 1], 15)}
    if change is not None:
        change(arrays)
    np.savez(folder / "fsd_scores.npz", **arrays)
    return folder


def test_a_folder_of_another_prefix_agrees(tmp_path: Path, program: Callable[[Path], tuple[int, str]]) -> None:
    status, printed = program(folder_of(tmp_path, prefix="other/"))

    *lines, last = printed.splitlines()
    assert [line.split()[1:3] for line in lines] == [
        [f"eval_{name}", "agrees"] for name in ("inputs", "scores", "labels")
    ]
    assert (status, last) == (0, "parity: 3 arrays, 0 differing")


def test_inputs_of_another_prefix_than_the_recipes_differ(
    tmp_path: Path, program: Callable[[Path], tuple[int, str]]
) -> None:
    folder = folder_of(tmp_path, prefix="other/")
    recipe = json.loads((folder / "recipe.json").read_text())
    (folder / "recipe.json").write_text(json.dumps({**recipe, "fill_key_prefix": ""}))

    status, printed = program(folder)

    assert (status, printed.splitlines()[-1]) == (1, "parity: 3 arrays, 2 differing")


def _shift(arrays: dict[str, np.ndarray]) -> None:
    arrays["eval_scores"][7, 1] += 1e-2


def _not_a_number(arrays: dict[str, np.ndarray]) -> None:
    arrays["eval_scores"][0, 0] = np.nan


def _cut(arrays: dict[str, np.ndarray]) -> None:
    arrays["eval_labels"] = arrays["eval_labels"][:-1]


def _add(arrays: dict[str, np.ndarray]) -> None:
    arrays["secret"] = np.zeros(3)


@pytest.mark.parametrize("change", [_shift, _not_a_number, _cut, _add])
def test_one_wrong_or_unknown_array_differs(
    change: Callable[[dict[str, np.ndarray]], None], tmp_path: Path, program: Callable[[Path], tuple[int, str]]
) -> None:
    status, printed = program(folder_of(tmp_path, change=change))

    assert status == 1
    assert printed.splitlines()[-1].endswith(" arrays, 1 differing")
    assert printed.count("DIFFERS") == 1


def test_a_file_that_is_missing_broken_or_unknown_differs(
    tmp_path: Path, program: Callable[[Path], tuple[int, str]]
) -> None:
    folder = folder_of(tmp_path)
    recipe = json.loads((folder / "recipe.json").read_text())
    recipe["files"] |= {"gone": {"tolerance": 1e-5}, "fsd_adapt": {"tolerance": 1e-5}, "nobodys": {"tolerance": 1e-5}}
    (folder / "recipe.json").write_text(json.dumps(recipe))
    (folder / "fsd_adapt.npz").write_bytes(b"PK\x03\x04 cut short")
    for name in ("unnamed", "nobodys"):
        np.savez(folder / f"{name}.npz", scores=np.zeros(2))

    status, printed = program(folder)

    bad = {line.split()[0]: line for line in printed.splitlines() if "DIFFERS" in line}
    assert status == 1
    assert set(bad) == {"gone", "fsd_adapt", "nobodys", "unnamed"}
    assert "cannot be read" in bad["gone"]
    assert "nothing of ours answers for 'nobodys'" in bad["nobodys"]
    assert "recipe.json does not name 'unnamed'" in bad["unnamed"]
    assert printed.splitlines()[-1] == "parity: 7 arrays, 4 differing"


def test_what_is_left_out_on_purpose_is_named_and_not_counted(
    tmp_path: Path, program: Callable[[Path], tuple[int, str]]
) -> None:
    status, printed = program(folder_of(tmp_path, change=lambda arrays: arrays.update(eval_ap10=np.zeros(()))))

    (line,) = [line for line in printed.splitlines() if "eval_ap10" in line]
    assert "left out" in line
    assert "ten thresholds" in line
    assert (status, printed.splitlines()[-1]) == (0, "parity: 3 arrays, 0 differing")


def test_a_folder_without_a_recipe_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="give PEERS a folder of golden outputs"):
        list(compare(tmp_path))


def test_filled_weights_of_another_sum_are_refused() -> None:
    import torch

    network = torch.nn.Linear(3, 2)
    golden = Golden("x", {}, {"fill_sum": 0.0}, "", 1e-5)

    golden.fill(network)
    with pytest.raises(InputError, match="the filled weights sum to"):
        golden.fill(network, checked="fill_sum")
