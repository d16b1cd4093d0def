"""Exported files stay in their folder, whatever a store or an archive calls its backbones, layers and columns."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner

from fewshot.cli import group
from fewshot.core.errors import OutputError
from fewshot.embeddings.store.export import export
from fewshot.embeddings.store.reader import FeatureStore
from fewshot.embeddings.store.writer import LayerData, write_store

ESCAPING = ["..", "/", "../x", "../../x", "/tmp/x", "..\\x", "C:\\x", "C:", "CON", "nul.txt", "COM1", "a."]
ESCAPING += ["a ", "a:b"]
RESERVED = ["samples.parquet", "STORE.JSON", "failed.csv"]


def files_below(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def a_store(path: Path, *layers: LayerData, **columns: object) -> FeatureStore:
    frame = pd.DataFrame({"key": ["a", "b"], "source": ["cam", "gen"], "synthetic": [False, True], **columns})
    write_store(path, frame, layers)
    return FeatureStore(path)


@pytest.mark.parametrize("name", [*ESCAPING, *RESERVED, "x" * 220, "\u202egnp", "new\nline"], ids=ascii)
@pytest.mark.parametrize("view", ["clean", "jpeg:50"])
def test_a_backbone_or_layer_of_any_name_is_exported_into_the_folder_and_found_again(
    tmp_path: Path, name: str, view: str
) -> None:
    features = np.arange(6, dtype=np.float32).reshape(2, 3)
    store = a_store(tmp_path / "s.h5", LayerData(name, name, features, view=view, default=True))

    done = export(store, tmp_path / "below" / "out")

    assert sorted(path.name for path in tmp_path.iterdir()) == ["below", "s.h5"]
    assert files_below(tmp_path / "below/out") == sorted(done.files)
    (file,), (key,) = zip(*json.loads((done.folder / "store.json").read_text())["files"].items(), strict=True)
    assert key == {"backbone": name, "layer": name, "view": view}
    assert np.array_equal(np.load(done.folder / file), features)
    assert len(Path(file).parts) == 2


def test_an_archive_whose_model_is_called_dot_dot_writes_nothing_beside_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = {
        "embeddings": {"x": torch.eye(2)}, "ids": torch.arange(2), "labels": torch.tensor([0, 1]),
        "binary_labels": torch.tensor([0, 1]), "classes": ["cam", "gen"], "metadata": {"model_name": ".."},
    }  # fmt: skip
    torch.save(content, tmp_path / "a.pt")
    (tmp_path / "x.npy").write_text("precious")

    monkeypatch.chdir(tmp_path)
    for command in (["import", "a.pt", "-o", "s.h5"], ["export", "s.h5", "-o", "out"]):
        CliRunner().invoke(group, command)

    assert (tmp_path / "x.npy").read_text() == "precious"
    assert {path.name for path in tmp_path.iterdir()} <= {"a.pt", "s.h5", "x.npy", "out"}


def test_names_that_differ_in_case_alone_become_two_files(tmp_path: Path) -> None:
    first, second = np.zeros((2, 1), np.float32), np.ones((2, 1), np.float32)
    store = a_store(tmp_path / "s.h5", LayerData("net", "A", first, default=True), LayerData("net", "a", second))

    done = export(store, tmp_path / "out")

    assert done.files[:2] == ("net/A.npy", "net/a%2.npy")
    assert np.array_equal(np.load(tmp_path / "out/net/a%2.npy"), second)


def test_a_link_at_the_folder_is_not_followed(tmp_path: Path) -> None:
    store = a_store(tmp_path / "s.h5", LayerData("net", "a", np.zeros((2, 1), np.float32), default=True))
    (tmp_path / "out").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(OutputError, match="out exists already"):
        export(store, tmp_path / "out")

    assert not (tmp_path / "elsewhere").exists()
