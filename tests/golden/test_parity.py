"""The comparison itself: it sees other seeds, sizes and prefixes, and cannot agree with what is wrong."""

import json
import re
import runpy
import sys
import zlib
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import models, transforms

from fewshot.core.errors import InputError
from fewshot.embeddings.backbones.base import BACKBONES
from fewshot.embeddings.backbones.parity import FileResult, compare_file, read_recipe

ROOT = Path(__file__).resolve().parents[2]


def compared(folder: Path) -> list[FileResult]:
    """Every golden file of a folder against today's code."""
    return [compare_file(path, read_recipe(folder)) for path in sorted(folder.glob("*.npz"))]


IMAGES = {
    "P": {"kind": "noise", "seed": 11, "height": 251, "width": 333},
    "Q": {"kind": "blocks", "seed": 4, "rows": 9, "columns": 8, "block": 25, "noise_seed": 5, "noise": [-3, 4]},
}


def another_folder(folder: Path, *, prefix: str, backbone: str = "cnndetection") -> Path:
    """A golden folder of the same form, made with torchvision alone: other images, other prefix, other gains."""
    torch.manual_seed(0)
    network: Any = models.resnet50(weights=None, num_classes=1).eval()
    state = network.state_dict()
    for key, tensor in state.items():
        if tensor.is_floating_point():
            noise = np.random.RandomState(zlib.crc32(f"{prefix}{key}".encode())).standard_normal(tuple(tensor.shape))
            if key.endswith("running_var"):
                noise = 1 + 0.1 * abs(noise)
            elif key.endswith("running_mean"):
                noise = 0.1 * noise
            elif tensor.ndim >= 2:
                noise = 1.5 * noise / np.sqrt(np.prod(tensor.shape[1:]))
            else:
                noise = 1 + 0.1 * noise if key.endswith("weight") else 0.5 * 0.05 * noise
            tensor.copy_(torch.from_numpy(np.asarray(noise, np.float32)))
    steps = [
        transforms.CenterCrop(224),
        transforms.ToTensor(),
        transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    ]
    generator = np.random.RandomState(11)
    pictures = {"P": generator.randint(0, 256, size=(251, 333, 3)).astype(np.uint8)}
    coarse = np.random.RandomState(4).randint(0, 256, size=(9, 8, 3)).repeat(25, axis=0).repeat(25, axis=1)
    pictures["Q"] = (coarse + np.random.RandomState(5).randint(-3, 4, size=coarse.shape)).clip(0, 255).astype(np.uint8)
    arrays = {}
    with torch.inference_mode():
        for name, pixels in pictures.items():
            prepared: Any = transforms.Compose(steps)(Image.fromarray(pixels))
            images = prepared[None]
            arrays[f"logit_{name}"] = network(images)[0].numpy()
            arrays[f"input_sub_{name}"] = images[0, :, ::9, ::5].numpy()
    np.savez(folder / "mine.npz", **arrays)
    facts = {"backbone": backbone, "variant": "crop224", "tolerance": 1e-5}
    files = {"mine": {**facts, "weight_gain": 1.5, "bias_gain": 0.5, "weights": "filled"}}
    (folder / "recipe.json").write_text(json.dumps({"images": IMAGES, "fill_key_prefix": prefix, "files": files}))
    return folder


def test_another_folder_with_other_seeds_and_prefix_agrees(tmp_path: Path) -> None:
    (result,) = compared(another_folder(tmp_path, prefix="other/"))

    assert {array.name for array in result.arrays} == {"logit_P", "input_sub_P", "logit_Q", "input_sub_Q"}
    assert result.agrees, result


def test_another_prefix_than_the_recipes_disagrees(tmp_path: Path) -> None:
    folder = another_folder(tmp_path, prefix="other/")
    recipe = json.loads((folder / "recipe.json").read_text())
    (folder / "recipe.json").write_text(json.dumps({**recipe, "fill_key_prefix": ""}))

    (result,) = compared(folder)

    assert {array.name for array in result.arrays if not array.agrees} == {"logit_P", "logit_Q"}


def changed(folder: Path, name: str, change: Any) -> Path:
    """One golden file with its array ``name`` changed."""
    source = Path(__file__).parent / "npr_crop224.npz"
    with np.load(source) as golden:
        arrays = {key: golden[key] for key in golden.files}
    arrays[name] = change(arrays.get(name))
    np.savez(folder / source.name, **arrays)
    return folder / source.name


@pytest.mark.parametrize(
    ("name", "change", "reason"),
    [
        ("feature_A", lambda array: array + np.float32(1e-3), ""),
        ("feature_A", lambda array: np.full_like(array, np.nan), ""),
        ("feature_A", lambda array: array[:511], "shape (512,), theirs (511,)"),
        ("secret_A", lambda array: np.zeros(3), "backbone 'npr:crop224' has no such array"),
        ("constant", lambda array: np.zeros(3), "backbone 'npr:crop224' has no such array"),
    ],
)
def test_a_changed_or_unanswered_array_disagrees(name: str, change: Any, reason: str, tmp_path: Path) -> None:
    result = compare_file(changed(tmp_path, name, change), read_recipe(Path(__file__).parent))

    (bad,) = [array for array in result.arrays if not array.agrees]
    assert not result.agrees
    assert (bad.name, bad.reason) == (name, reason)


@pytest.fixture
def parity(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[[Path], tuple[int, str]]:
    """What ``make parity GOLDEN=FOLDER`` runs: exit status and standard output."""
    program = runpy.run_path(str(ROOT / "benchmarks" / "parity.py"))

    def run(folder: Path) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["parity.py", str(folder)])
        return program["main"](), capsys.readouterr().out

    return run


def test_the_program_agrees_with_any_folder_of_the_same_form(
    tmp_path: Path, parity: Callable[[Path], tuple[int, str]]
) -> None:
    status, output = parity(another_folder(tmp_path, prefix="other/"))

    row, summary = output.splitlines()
    assert status == 0, output
    assert re.match(r"mine +cnndetection:crop224 +agrees +\d+ s  ", row)
    assert re.search(r"input_sub 0\.0e\+00 \(<= 1e-05\)", row)
    assert re.search(r"logit \d\.\de[+-]\d\d \(<= 1e-05\)", row)
    assert summary == "parity: 1 of 1 files agree, 4 arrays compared"


def test_the_program_prints_a_row_per_file_and_fails_on_a_wrong_array_or_one_nobody_answers_for(
    tmp_path: Path, parity: Callable[[Path], tuple[int, str]]
) -> None:
    another_folder(tmp_path, prefix="")
    recipe = json.loads((tmp_path / "recipe.json").read_text())
    facts = recipe["files"]["mine"]
    recipe["files"] |= {"nobodys": {**facts, "backbone": "nobody"}, "wrong": facts, "broken": facts}
    (tmp_path / "recipe.json").write_text(json.dumps(recipe))
    with np.load(tmp_path / "mine.npz") as golden:
        np.savez(tmp_path / "wrong.npz", **{**golden, "logit_Q": golden["logit_Q"] + 1})
        np.savez(tmp_path / "nobodys.npz", **golden)
        np.savez(tmp_path / "unnamed.npz", **golden)
    (tmp_path / "broken.npz").write_bytes(b"PK\x03\x04 cut short")

    status, output = parity(tmp_path)

    *rows, summary = output.splitlines()
    assert status == 1
    assert [row.split()[0] for row in rows] == ["broken", "mine", "nobodys", "unnamed", "wrong"]
    assert ["DISAGREES" in row for row in rows] == [True, False, True, True, True]
    assert "cannot be read" in rows[0]
    assert rows[2].endswith("no backbone 'nobody'")
    assert rows[3].endswith("recipe.json does not name it")
    assert re.search(r"logit \d\.\de-0[1-3] \(<= 1e-05\), input_sub 0\.0e\+00 \(<= 1e-05\)$", rows[4])
    assert summary == "parity: 1 of 5 files agree, 8 arrays compared; disagree: broken, nobodys, unnamed, wrong"


def test_the_docs_name_every_backbone_and_every_golden_file() -> None:
    text = (ROOT / "docs" / "backbones.md").read_text()

    installed = {entry.name for entry in entry_points(group=BACKBONES.group)}  # without those that tests have added
    missing = [name for name in sorted(installed) if f"| `{name}" not in text]
    assert not missing, f"run `python benchmarks/parity.py --docs docs/backbones.md --cards-only` for {missing}"
    compared = [path.stem for path in (ROOT / "tests" / "golden").glob("*.npz") if f"| {path.stem} |" not in text]
    assert not compared, f"run `make parity` for {compared}"


def test_every_golden_file_names_a_registered_backbone() -> None:
    recipe = read_recipe(ROOT / "tests" / "golden")

    assert {facts["backbone"] for facts in recipe.files.values()} <= set(BACKBONES.names())


def test_a_folder_without_a_recipe_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds no recipe\.json"):
        read_recipe(tmp_path)
