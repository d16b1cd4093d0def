"""Finished points: what is kept comes back, belongs to one fingerprint, and is removed when the report is saved."""

import math
from pathlib import Path

import numpy as np
import pytest

from fewshot.core.errors import OutputError
from fewshot.core.marked_folders import MARK
from fewshot.protocols.curve.finished_points import FinishedPoint, ResultCache, clear_points

POINT = FinishedPoint(
    head="acm:natural, held-out",
    values={("all", "auroc"): 0.75, ("gan", "f1"): math.nan},
    n_query={"all": 8, "gan": 5},
    n_natural={"all": 4, "gan": 4},
    n_support=4,
    support="ab" * 32,
    steps=20,
    kept_step=10,
    validation_auroc=0.5,
    warnings=("few images",),
    arrays={"rows": np.arange(8), "scores": np.linspace(-1, 1, 8, dtype=np.float32)},
)


def test_a_point_read_from_its_folder_equals_the_one_kept(tmp_path: Path) -> None:
    ResultCache(tmp_path / "points", {"seed": 0}).put("a 0.1 0", POINT)
    found = ResultCache(tmp_path / "points", {"seed": 0}).get("a 0.1 0")
    assert found is not None
    assert math.isnan(found.values["gan", "f1"])
    assert found.values["all", "auroc"] == 0.75
    assert (found.head, found.n_query, found.steps, found.kept_step) == (POINT.head, POINT.n_query, 20, 10)
    assert (found.validation_auroc, found.warnings, found.support) == (0.5, ("few images",), POINT.support)
    for name, values in POINT.arrays.items():
        np.testing.assert_array_equal(found.arrays[name], values)
        assert found.arrays[name].dtype == values.dtype


def test_another_fingerprint_finds_no_point_in_the_same_folder(tmp_path: Path) -> None:
    ResultCache(tmp_path, {"seed": 0}).put("a 0.1 0", POINT)
    assert ResultCache(tmp_path, {"seed": 1}).get("a 0.1 0") is None
    assert ResultCache(tmp_path, {"seed": 0}).get("a 0.1 1") is None


def test_without_a_folder_points_stay_in_memory() -> None:
    cache = ResultCache(None, {})
    cache.put("a", POINT)
    assert cache.get("a") is POINT


def test_clearing_removes_the_folder_and_does_nothing_where_there_is_none(tmp_path: Path) -> None:
    folder = tmp_path / "points"
    ResultCache(folder, {"seed": 0}).put("a", POINT)
    clear_points(folder)
    assert not folder.exists()
    clear_points(folder)


def test_clearing_deletes_points_alone(tmp_path: Path) -> None:
    folder = tmp_path / "points"
    ResultCache(folder, {"seed": 0}).put("a", POINT)
    for name in ("mine.npz", "mine.tmp", "0" * 24 + ".npz.bak"):
        (folder / name).write_text("precious")

    clear_points(folder)

    assert sorted(path.name for path in folder.iterdir()) == sorted(
        [MARK, "mine.npz", "mine.tmp", "0" * 24 + ".npz.bak"]
    )


def test_a_folder_without_our_mark_is_neither_taken_nor_emptied_unless_it_holds_points_alone(tmp_path: Path) -> None:
    ResultCache(tmp_path / "old", {"seed": 0}).put("a", POINT)
    (tmp_path / "old" / MARK).unlink()
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / ("0" * 24 + ".npz")).write_text("precious")

    assert ResultCache(tmp_path / "old", {"seed": 0}).get("a") is not None
    with pytest.raises(OutputError, match="theirs is needed for the finished points of a data curve, and holds"):
        ResultCache(tmp_path / "theirs", {"seed": 0})
    clear_points(tmp_path / "theirs")

    assert [path.name for path in (tmp_path / "theirs").iterdir()] == ["0" * 24 + ".npz"]
