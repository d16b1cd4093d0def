"""Duplicates against brute force over all pairs, and the borders that they cross."""

from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fewshot.audit.duplicates import RADIUS, duplicates, feature_duplicates, leaks, support_leaks
from fewshot.cli import audit
from fewshot.core.errors import OptionError
from fewshot.draws.near_duplicates import near_any
from fewshot.embeddings.search.index import SourceIndex
from fewshot.embeddings.store.reader import FeatureStore
from fewshot.embeddings.store.writer import LayerData, write_store


def store_of(path: Path, frame: pd.DataFrame, features: np.ndarray | None = None) -> FeatureStore:
    defaults: dict[str, Any] = {
        "key": [f"{row}.png" for row in range(len(frame))],
        "source": "camera",
        "synthetic": False,
    }
    layers = [] if features is None else [LayerData("net", "pooled", features.astype(np.float32), default=True)]
    for name, value in defaults.items():
        if name not in frame:
            frame[name] = value
    write_store(path, frame, layers)
    return FeatureStore(path)


@pytest.mark.parametrize("radius", [0, 1, 3, 5, 7])
def test_near_pairs_are_all_those_that_brute_force_finds(tmp_path: Path, radius: int) -> None:
    generator = np.random.default_rng(radius)
    base = generator.integers(1, 2**63, 40, dtype=np.uint64)
    flips = [np.uint64(sum(1 << int(bit) for bit in generator.choice(64, n, replace=False))) for n in range(9)]
    hashes = np.concatenate([base, *[base[:12] ^ flip for flip in flips[1:]]])
    store = store_of(tmp_path / "a.h5", pd.DataFrame({"phash": hashes, "id": [str(n) for n in range(len(hashes))]}))
    found = {(pair.first, pair.second): pair.distance for pair in duplicates(store, radius=radius)}
    wanted = {
        (a, b): float((int(hashes[a]) ^ int(hashes[b])).bit_count())
        for a, b in combinations(range(len(hashes)), 2)
        if (int(hashes[a]) ^ int(hashes[b])).bit_count() <= radius
    }
    assert found == wanted
    assert radius == 0 or len(wanted) >= 12


def test_equal_pixels_are_exact_and_not_counted_as_near_again(tmp_path: Path) -> None:
    frame = pd.DataFrame({"id": ["p", "q", "p", "", "", "p"], "phash": np.array([5, 9, 5, 0, 0, 5], np.uint64)})
    found = duplicates(store_of(tmp_path / "a.h5", frame), radius=0)
    assert [(pair.first, pair.second, pair.likeness) for pair in found] == [
        (0, 2, "exact"),
        (0, 5, "exact"),
        (2, 5, "near"),
    ]


def test_images_without_a_hash_are_passed_over(tmp_path: Path) -> None:
    frame = pd.DataFrame({"id": ["a", "b", "c"], "phash": np.zeros(3, np.uint64)})
    assert duplicates(store_of(tmp_path / "a.h5", frame)) == ()


def test_rows_keep_their_numbers_in_a_part_of_the_store(tmp_path: Path) -> None:
    frame = pd.DataFrame({"id": ["a", "b", "c", "b"], "phash": np.array([1, 2**40, 2**50, 2**40], np.uint64)})
    found = duplicates(store_of(tmp_path / "a.h5", frame), np.array([1, 3]))
    assert [(pair.first, pair.second) for pair in found] == [(1, 3)]


def test_borders_that_pairs_cross_are_counted(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {
            "id": ["a", "a", "b", "b", "c", "c"],
            "source": ["camera", "gan", "camera", "camera", "gan", "ldm"],
            "synthetic": [False, True, False, False, True, True],
            "split": ["train", "train", "train", "test", "", "test"],
            "group": ["1", "2", "3", "3", "", ""],
        }
    )
    store = store_of(tmp_path / "a.h5", frame)
    exact, near = leaks(store, duplicates(store))
    assert (exact.pairs, exact.classes, exact.sources, exact.splits, exact.groups) == (3, 1, 2, 1, 2)
    assert near.pairs == 0


def test_pairs_across_classes_within_one_named_group_are_counted_apart(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {
            "id": ["a", "b", "c", "d"],
            "phash": np.array([1, 1, 2**60 - 1, 2**60 - 1], np.uint64),
            "synthetic": [False, True, False, True],
            "group": ["photo", "photo", "", ""],
        }
    )
    store = store_of(tmp_path / "a.h5", frame)
    _, near = leaks(store, duplicates(store))
    assert (near.classes, near.classes_of_one_group) == (2, 1)


def test_a_copy_of_a_support_image_outside_the_support_is_counted_per_trial(tmp_path: Path) -> None:
    store = store_of(tmp_path / "a.h5", pd.DataFrame({"id": ["a", "a", "b", "c"]}))
    found = support_leaks(store, duplicates(store), {"0": ["0.png", "2.png"], "1": ["2.png"], "2": ["0.png", "1.png"]})
    assert found == {"0": 1, "1": 0, "2": 0}


def test_pairs_by_features_are_those_of_brute_force(tmp_path: Path) -> None:
    generator = np.random.default_rng(8)
    features = generator.normal(size=(60, 12))
    features = np.concatenate([features, features[:9] + 0.05 * generator.normal(size=(9, 12))])
    store = store_of(tmp_path / "a.h5", pd.DataFrame({"id": [str(row) for row in range(69)]}), features)
    found = feature_duplicates(SourceIndex(store), score=0.9)
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    wanted = {(a, b) for a, b in combinations(range(69), 2) if unit[a] @ unit[b] >= 0.9}
    assert {(pair.first, pair.second) for pair in found} == wanted
    assert len(wanted) >= 9
    assert all(pair.distance == pytest.approx(1 - unit[pair.first] @ unit[pair.second], abs=1e-6) for pair in found)


def test_the_command_s_radius_is_the_library_s_and_that_of_the_draws() -> None:
    (radius,) = (option.default for option in audit.command.params if option.name == "radius")
    assert radius == RADIUS == 4
    assert near_any(np.array([0b1_1111], np.uint64), np.array([0b1_0000], np.uint64)).all()
    assert not near_any(np.array([0b11_1111], np.uint64), np.array([0b1], np.uint64)).any()


def test_what_cannot_be_searched_is_said(tmp_path: Path) -> None:
    store = store_of(tmp_path / "a.h5", pd.DataFrame({"id": ["a", "b"]}), np.eye(2))
    with pytest.raises(OptionError, match="0 to 7 bits"):
        duplicates(store, radius=8)
    with pytest.raises(OptionError, match="need a cosine index, not 'l2'"):
        feature_duplicates(SourceIndex(store, metric="l2"), score=0.9)
    with pytest.raises(OptionError, match="need an exact index, not hnsw"):
        feature_duplicates(SourceIndex(store, index="hnsw"), score=0.9)
