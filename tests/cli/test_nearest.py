"""``fewshot nearest`` on stores made by hand."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result

from fewshot.cli import group
from fewshot.embeddings.writer import LayerData, write_store

SOURCES = {"camera": (0.0, 12), "model-a": (4.0, 12), "model-b": (8.0, 12)}


def fewshot(*arguments: str | Path) -> Result:
    return CliRunner().invoke(group, ["nearest", *map(str, arguments)])


def make_store(path: Path, *, seed: int = 0, weights: str = "abc", ids: str = "pixels") -> Path:
    """Three sources on three clusters of the plane, far apart, with a copy of the first image at the end."""
    generator = np.random.default_rng(seed)
    names = [name for name, (_, images) in SOURCES.items() for _ in range(images)]
    features = np.concatenate([generator.normal(at, 0.3, size=(images, 2)) for at, images in SOURCES.values()])
    features, names = np.concatenate([features, features[:1]]), [*names, names[0]]
    samples = pd.DataFrame(
        {
            "key": [f"{name}/{number}.png" for number, name in enumerate(names)],
            "path": [f"{name}/{number}.png" for number, name in enumerate(names)],
            "id": [f"{ids}-{number % 36}" for number in range(len(names))],
            "source": names,
            "synthetic": [name != "camera" for name in names],
            "prompt": [str(number // 2) for number in range(len(names))],
        }
    )
    facts = {"weights_sha256": {"net": weights}, "input": "native"}
    write_store(path, samples, [LayerData("net", "pooled", features.astype(np.float32), default=True, facts=facts)])
    return path


def document(result: Result) -> dict[str, Any]:
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_the_own_pixels_are_no_answer_and_the_accuracy_is_stated(tmp_path: Path) -> None:
    store = make_store(tmp_path / "a.h5")
    found = document(fewshot(store, "--query", store, "--metric", "l2", "--json"))
    by_name = {entry["image"]: entry for entry in found["images"]}
    assert len(by_name) == 37
    copies = {"camera/0.png", "camera/36.png"}
    for name in copies:
        assert not copies & {near["key"] for near in by_name[name]["neighbours"]}
    assert found["leave_one_out"]["accuracy"] == 1.0
    assert found["leave_one_out"]["queries"] == 37
    assert by_name["model-b/30.png"]["sources"][0]["source"] == "model-b"


def test_the_table_names_sources_scores_and_nearest_images(tmp_path: Path) -> None:
    store = make_store(tmp_path / "a.h5")
    result = fewshot(store, "--query", store, "--metric", "l2", "--per-source", "1", "-k", "3")
    assert result.exit_code == 0, result.output
    assert "model-a (share 1.00, p-value" in result.stdout
    assert "Source accuracy, own pixels left out: 1.000 of 3 images" in result.stdout
    assert result.stdout.count("nearest images") == 3


def test_images_of_one_group_are_no_answer_to_each_other(tmp_path: Path) -> None:
    store = make_store(tmp_path / "a.h5")
    found = document(fewshot(store, "--query", store, "--group", "prompt", "-k", "34", "--metric", "l2", "--json"))
    answers = {entry["image"]: {near["key"] for near in entry["neighbours"]} for entry in found["images"]}
    assert "camera/5.png" not in answers["camera/4.png"]
    assert "camera/6.png" in answers["camera/4.png"]


def test_a_new_cluster_is_unknown_and_a_known_one_is_not(tmp_path: Path) -> None:
    store, stranger = make_store(tmp_path / "a.h5"), tmp_path / "b.h5"
    samples = pd.DataFrame(
        {"key": ["x", "y"], "id": ["1", "2"], "source": ["new", "camera"], "synthetic": [True, False]}
    )
    features = np.array([[30.0, -30.0], [0.1, 0.0]], np.float32)
    write_store(stranger, samples, [LayerData("net", "pooled", features, default=True)])
    found = document(fewshot(store, "--query", stranger, "--metric", "l2", "--json"))
    assert [entry["unknown"] for entry in found["images"]] == [True, False]
    assert found["images"][0]["p_value"] == pytest.approx(1 / 38)
    assert found["leave_one_out"]["queries"] == 1


def test_a_store_made_with_other_weights_is_refused(tmp_path: Path) -> None:
    mine, other = make_store(tmp_path / "a.h5"), make_store(tmp_path / "b.h5", weights="xyz")
    result = fewshot(mine, "--query", other)
    assert result.exit_code == 1
    assert "weights_sha256 = {'net': 'abc'}" in result.stderr
    assert "xyz" in result.stderr


def test_neither_images_nor_a_store_is_wrong_usage(tmp_path: Path) -> None:
    result = fewshot(make_store(tmp_path / "a.h5"))
    assert result.exit_code == 2
    assert "give IMAGE... or --query STORE" in result.stderr
