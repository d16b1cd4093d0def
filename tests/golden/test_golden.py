"""Our features equal those of the authors' code, stage by stage, to the tolerance of each golden file."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fewshot.embeddings.parity import AUTHORS_PARTS, compare_file, read_recipe

FOLDER = Path(__file__).parent
RECIPE = read_recipe(FOLDER)
# seconds to minutes each: ViT-L, RN50x64, ConvNeXt-XXL, many tiles
HEAVY = {"aide", "c2pclip", "effort", "fiser", "lasted", "rine", "spai", "unifd"}


def cases() -> list[Any]:
    found = []
    for file in sorted(FOLDER.glob("*.npz")):
        facts = RECIPE.files[file.stem]
        marks = [pytest.mark.slow] if facts["backbone"] in HEAVY else []
        found.append(pytest.param(file, id=file.stem, marks=marks))
    return found


def needs_authors_weights(file: Path) -> bool:
    facts = RECIPE.files[file.stem]
    return facts["weights"] == "authors" or facts["backbone"] in AUTHORS_PARTS


@pytest.mark.parametrize("file", cases())
def test_features_equal_the_authors_code(file: Path, request: pytest.FixtureRequest) -> None:
    weights = request.getfixturevalue("shared") / "weights" if needs_authors_weights(file) else None

    result = compare_file(file, RECIPE, weights=weights)

    assert not result.reason, result.reason
    assert {array.name: (array.error, array.reason) for array in result.arrays if not array.agrees} == {}
    with np.load(file) as golden:
        assert {array.name for array in result.arrays} == set(golden.files) - {"__meta__"}


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("file", [param for param in sorted(FOLDER.glob("*.npz")) if not needs_authors_weights(param)])
def test_features_on_the_gpu_are_close_to_the_authors_code(file: Path) -> None:
    result = compare_file(file, RECIPE, device="cuda")

    assert not result.reason, result.reason
    features = [array for array in result.arrays if array.name.startswith(("feature", "cls", "ctx", "concat", "z_"))]
    assert {array.name: array.error for array in features if not array.error <= 100 * array.tolerance} == {}
