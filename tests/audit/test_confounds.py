"""File metadata that separates the classes is found, and what does not is not."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fewshot.audit.confounds import _standard_error, confound_warning, confounds
from fewshot.embeddings.store.reader import FeatureStore
from fewshot.embeddings.store.writer import write_store

IMAGES = 120


def store_with(folder: Path, **columns: Any) -> FeatureStore:
    """Half natural, half synthetic of two generators; all JPEG of one kind unless a column says otherwise."""
    every: dict[str, Any] = {
        "key": [f"{row}.jpg" for row in range(IMAGES)],
        "id": [f"pixels-{row}" for row in range(IMAGES)],
        "source": np.repeat(["camera", "gan", "diffusion"], [60, 30, 30]),
        "synthetic": np.repeat([False, True], 60),
        "format": ["JPEG"] * IMAGES,
        "mode": ["RGB"] * IMAGES,
        "jpeg_quality": [90] * IMAGES,
        "quantisation": ["aa"] * IMAGES,
        "width": [256] * IMAGES,
        "height": [256] * IMAGES,
        "file_size": np.random.default_rng(0).integers(9_000, 11_000, IMAGES),
        **columns,
    }
    write_store(folder / "a.h5", pd.DataFrame(every), [])
    return FeatureStore(folder / "a.h5")


def test_equal_files_separate_nothing_and_give_no_warning(tmp_path: Path) -> None:
    store = store_with(tmp_path)
    found = confounds(store)
    assert found[0].auroc == 0.5
    assert {one.auroc for one in found if "bytes_per_pixel" not in one.fields} == {0.5}
    assert confound_warning(store) is None


def test_png_against_jpeg_is_an_auroc_of_one_and_the_warning_says_so(tmp_path: Path) -> None:
    store = store_with(tmp_path, format=np.repeat(["JPEG", "PNG"], 60), jpeg_quality=np.repeat([90, -1], 60))
    assert confounds(store)[0].auroc == 1.0
    warning = confound_warning(store)
    assert warning is not None
    assert "AUROC 1.000" in warning
    assert "--match-format" in warning


def test_quality_alone_is_named_as_the_strongest_fact(tmp_path: Path) -> None:
    quality = np.random.default_rng(1).integers(70, 90, IMAGES) + np.repeat([0, 12], 60)
    found = confounds(store_with(tmp_path, jpeg_quality=quality))
    alone = [one for one in found[2:] if one.source == "all"]
    assert alone[0].fields == ("jpeg_quality",)
    assert 0.85 < alone[0].auroc < 1.0


def test_aspect_is_seen_where_neither_width_nor_height_separates(tmp_path: Path) -> None:
    generator = np.random.default_rng(2)
    width = generator.integers(200, 800, IMAGES)
    store = store_with(tmp_path, width=width, height=np.where(np.arange(IMAGES) < 60, width * 2, width))
    assert confounds(store)[0].auroc > 0.95


def test_metadata_kinds_are_seen_one_by_one(tmp_path: Path) -> None:
    metadata = ["exif,icc"] * 30 + ["exif"] * 30 + ["icc"] * 30 + [""] * 30
    assert confounds(store_with(tmp_path, metadata=metadata))[0].auroc == 1.0


def test_one_generator_of_another_format_is_named(tmp_path: Path) -> None:
    store = store_with(tmp_path, mode=np.repeat(["RGB", "L"], [90, 30]))
    warning = confound_warning(store)
    assert warning is not None
    assert "diffusion against natural 1.000" in warning


def test_a_field_that_only_names_the_group_separates_nothing(tmp_path: Path) -> None:
    """Every prompt has its own size; a tree that saw other images of the prompt would know the class."""
    group = np.repeat(np.arange(24), 5)
    width = 100 + 37 * np.random.default_rng(3).permutation(24)[group]
    free = confounds(store_with(tmp_path, width=width))[0].auroc
    grouped = confounds(store_with(tmp_path, width=width, group=[str(value) for value in group]))[0].auroc
    assert free > 0.9
    assert grouped < 0.75


def test_bytes_per_pixel_are_measured_apart(tmp_path: Path) -> None:
    size = np.random.default_rng(4).integers(9_000, 11_000, IMAGES) + np.repeat([0, 5_000], 60)
    store = store_with(tmp_path, file_size=size)
    together, bytes_alone = confounds(store)[:2]
    assert together.auroc == 0.5
    assert bytes_alone.fields == ("bytes_per_pixel",)
    assert bytes_alone.auroc == 1.0
    assert confound_warning(store) is None


def test_only_the_rows_of_the_report_are_measured(tmp_path: Path) -> None:
    store = store_with(tmp_path, format=np.repeat(["JPEG", "PNG"], [90, 30]))
    rows = np.flatnonzero(store.source != "diffusion")
    assert confound_warning(store) is not None
    assert confound_warning(store, rows) is None


def test_a_store_without_file_metadata_has_nothing_to_measure(tmp_path: Path) -> None:
    assert confounds(store_with(tmp_path, format=[""] * IMAGES)) == ()


def test_the_same_store_gives_the_same_numbers(tmp_path: Path) -> None:
    store = store_with(tmp_path, jpeg_quality=np.random.default_rng(5).integers(60, 100, IMAGES))
    assert confounds(store) == confounds(store)


def test_the_standard_error_is_that_of_a_worked_example() -> None:
    """A = 0.8, 50 images each: Q1 = 2/3, Q2 = 0.7111, (0.16 + 49 * 0.02667 + 49 * 0.07111) / 2500 = 0.0445^2."""
    assert _standard_error(0.8, 50, 50) == pytest.approx(0.0445, abs=5e-5)
