"""FiSeR's archives: what is in them comes over bit by bit, and nothing in them is run."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from fewshot.cli import group
from fewshot.core.errors import InputError, UnknownNameError
from fewshot.embeddings.store.fiser_archive import import_archive
from fewshot.embeddings.store.reader import FeatureStore


def _content(**changes: Any) -> dict[str, Any]:
    content: dict[str, Any] = {
        "embeddings": {3: torch.eye(4, 6).to(torch.bfloat16), 7: torch.ones(4, 2) / 3},
        "ids": torch.arange(4),
        "labels": torch.tensor([2, 0, 1, 2]),
        "binary_labels": torch.tensor([1, 0, 1, 1]),
        "classes": ["nature", "b-net", "a-net"],
        "metadata": {"normalized": True, "model_name": "dinov3"},
    }
    content.update(changes)
    return content


def _archive(folder: Path, **changes: Any) -> Path:
    torch.save(_content(**changes), folder / "bench.pt")
    return folder / "bench.pt"


def test_everything_comes_over(tmp_path: Path) -> None:
    import_archive(_archive(tmp_path), tmp_path / "s.h5")
    store = FeatureStore(tmp_path / "s.h5")
    assert list(store.source) == ["a-net", "nature", "b-net", "a-net"]
    assert list(store.synthetic) == [True, False, True, True]
    assert list(store.column("source_id")) == ["2", "0", "1", "2"]
    assert list(store.column("key")) == ["bench/0", "bench/1", "bench/2", "bench/3"]
    assert store.default_layer("dinov3") == "7"
    assert store.info("dinov3", "3").normalised
    np.testing.assert_array_equal(store.read(None, "dinov3", "3"), np.eye(4, 6, dtype=np.float32))
    np.testing.assert_array_equal(store.read(None, "dinov3", "7"), np.full((4, 2), np.float32(1) / np.float32(3)))


def test_names_may_be_chosen(tmp_path: Path) -> None:
    import_archive(_archive(tmp_path), tmp_path / "s.h5", backbone="net", layer="3", dataset="aigibench")
    store = FeatureStore(tmp_path / "s.h5")
    assert store.default_layer("net") == "3"
    assert set(store.column("dataset")) == {"aigibench"}
    with pytest.raises(UnknownNameError, match="'9'"):
        import_archive(_archive(tmp_path), tmp_path / "t.h5", layer="9")


class _Bomb:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return Path.touch, (Path("exploded"),)  # type: ignore[return-value]


def test_code_in_an_archive_is_refused_and_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    archive = _archive(tmp_path, metadata={"normalized": True, "bomb": _Bomb()})
    with pytest.raises(InputError, match="refused unread"):
        import_archive(archive, tmp_path / "s.h5")
    assert not (tmp_path / "exploded").exists()
    assert not (tmp_path / "s.h5").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": torch.tensor([0, 1])}, "2 labels for 4 ids"),
        ({"binary_labels": torch.tensor([1, 0, 2, 1])}, "0 .natural. or 1"),
        ({"labels": torch.tensor([3, 0, 1, 2])}, "source 3 has no name"),
        ({"embeddings": {}}, "holds no layer"),
        ({"embeddings": {1: torch.ones(3, 2)}}, "3 rows of layer 1 for 4 ids"),
    ],
)
def test_damaged_archives_say_what_is_wrong(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        import_archive(_archive(tmp_path, **changes), tmp_path / "s.h5")


def test_other_files_are_refused(tmp_path: Path) -> None:
    torch.save([1, 2], tmp_path / "list.pt")
    (tmp_path / "text.pt").write_text("not torch")
    for name, message in (("list.pt", "has no embeddings"), ("text.pt", "refused"), ("none.pt", "cannot be read")):
        with pytest.raises(InputError, match=message):
            import_archive(tmp_path / name, tmp_path / "s.h5")


def test_command_writes_the_store(tmp_path: Path) -> None:
    result = CliRunner().invoke(group, ["import", str(_archive(tmp_path)), "-o", str(tmp_path / "s.h5")])
    assert result.exit_code == 0, result.output
    assert "4 images of 3 sources, 2 layers" in result.stdout
    result = CliRunner().invoke(group, ["import", str(tmp_path / "none.pt"), "-o", str(tmp_path / "t.h5")])
    assert result.exit_code == 1
    assert "cannot be read" in result.stderr
