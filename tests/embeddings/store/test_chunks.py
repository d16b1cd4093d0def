"""Chunks written and read directly, against HDF5's own filters and against NumPy."""

from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest

from fewshot.core.errors import StoreError
from fewshot.embeddings.store.chunk_reader import chunked_layer
from fewshot.embeddings.store.chunk_writer import EarlySync
from fewshot.embeddings.store.fletcher import fletcher32
from fewshot.embeddings.store.reader import FeatureStore
from fewshot.embeddings.store.writer import LayerData, write_store


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of 1 KiB, so that a small layer has many."""
    monkeypatch.setattr("fewshot.embeddings.store.schema.CHUNK_BYTES", 1024)


def features_of(rows: int, dimension: int, dtype: str) -> np.ndarray:
    return np.random.default_rng(rows).normal(size=(rows, dimension)).astype(dtype)


def store_of(path: Path, features: np.ndarray, present: np.ndarray | None = None) -> FeatureStore:
    rows = len(features)
    samples = pd.DataFrame({"key": [str(row) for row in range(rows)], "source": "x", "synthetic": False})
    write_store(path, samples, [LayerData("net", "pooled", features, present=present)])
    return FeatureStore(path)


def slow_fletcher32(content: bytes) -> int:
    """The running sums of HDF5's C code, word by word."""
    first = second = 0
    for place in range(0, len(content), 2):
        first += int.from_bytes(content[place : place + 2], "big")
        first = (first & 0xFFFF) + (first >> 16)
        second += first
        second = (second & 0xFFFF) + (second >> 16)
    return (second << 16) | first


@pytest.mark.parametrize("length", [2, 100, 2046, 2048, 2050, 150_000, (1 << 20) + 2050])
@pytest.mark.parametrize("kind", ["random", "zeros", "ones"])
def test_fletcher32_equals_the_running_sums(length: int, kind: str) -> None:
    content = np.random.default_rng(length).integers(0, 256, length, dtype=np.uint8)
    content = {"random": content, "zeros": content * 0, "ones": content * 0 + 255}[kind]

    assert fletcher32(content) == slow_fletcher32(content.tobytes())


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize(("rows", "dimension"), [(1, 3), (64, 8), (1000, 8), (777, 5), (50, 700)])
def test_hdf5_reads_what_is_written_directly_and_checks_its_sums(
    tmp_path: Path, rows: int, dimension: int, dtype: str
) -> None:
    features = features_of(rows, dimension, dtype)
    store_of(tmp_path / "a.h5", features).close()

    with h5py.File(tmp_path / "a.h5") as file:
        dataset = file["/features/net/pooled"]
        assert dataset.fletcher32
        np.testing.assert_array_equal(dataset[:], features)


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_any_rows_read_directly_are_numpys(tmp_path: Path, dtype: str) -> None:
    features = features_of(1000, 8, dtype)
    store = store_of(tmp_path / "a.h5", features)
    generator = np.random.default_rng(0)

    for rows in (
        np.arange(1000),
        np.arange(130, 700),
        np.array([999, 0, 999, 3]),
        generator.integers(0, 1000, 60),
        generator.permutation(1000),
        np.array([], dtype=np.int64),
    ):
        np.testing.assert_array_equal(store.read(rows, "net", "pooled"), features[rows].astype(np.float32))
        np.testing.assert_array_equal(store.read_stored(rows, "net", "pooled"), features[rows])
    np.testing.assert_array_equal(store.read(None, "net", "pooled"), features.astype(np.float32))
    assert store.read_stored(None, "net", "pooled").dtype == dtype


@pytest.mark.usefixtures("small_chunks")
def test_one_flipped_bit_is_found_in_whole_and_random_reads(tmp_path: Path) -> None:
    store = store_of(tmp_path / "a.h5", features_of(1000, 8, "float32"))
    with h5py.File(tmp_path / "a.h5") as file:
        layer = chunked_layer(file["/features/net/pooled"], tmp_path / "a.h5")
    assert layer is not None
    with (tmp_path / "a.h5").open("r+b") as stream:
        stream.seek(int(layer.offsets[7]) + 11)
        byte = stream.read(1)[0]
        stream.seek(int(layer.offsets[7]) + 11)
        stream.write(bytes([byte ^ 1]))

    damaged = np.array([layer.chunk_rows * 7 + 1])
    for rows in (None, damaged, np.array([0, damaged[0]])):
        with pytest.raises(StoreError, match=f"rows from {layer.chunk_rows * 7} do not have their checksum"):
            store.read(rows, "net", "pooled")
    assert len(store.read(damaged - layer.chunk_rows, "net", "pooled")) == 1


def test_absent_rows_are_nan_on_disk_and_refused_when_read(tmp_path: Path) -> None:
    present = np.array([True, False, True])
    store = store_of(tmp_path / "a.h5", np.ones((3, 2), np.float32), present)

    with h5py.File(tmp_path / "a.h5") as file:
        np.testing.assert_array_equal(np.isnan(file["/features/net/pooled"][:, 0]), ~present)
    with pytest.raises(StoreError, match=r"1 of 3 images have no features of 'net' .*first row 1"):
        store.read(None, "net", "pooled")


def test_a_layer_laid_out_otherwise_is_read_through_hdf5(tmp_path: Path) -> None:
    features = features_of(20, 4, "float32")
    path = tmp_path / "a.h5"
    store_of(path, features).close()
    with h5py.File(path, "r+") as file:
        file.attrs["version"] = 1  # a later version has a manifest, which covers how a layer is laid out
        del file.attrs["manifest"], file.attrs["contents"]
        attributes = dict(file["/features/net/pooled"].attrs)
        del file["/features/net/pooled"]
        dataset = file.create_dataset("/features/net/pooled", data=features, chunks=(3, 2), compression="gzip")
        dataset.attrs.update(attributes)

    np.testing.assert_array_equal(FeatureStore(path).read(np.array([5, 2]), "net", "pooled"), features[[5, 2]])


def test_what_the_disk_said_of_an_early_sync_is_told_at_the_end(tmp_path: Path) -> None:
    early = EarlySync(tmp_path / "gone.h5")

    early.written(64 << 20)

    with pytest.raises(FileNotFoundError, match=r"gone\.h5"):
        early.finish()
