"""The store against ``np.save``/``np.load`` and plain h5py: append, read a whole layer, read random rows.

Both sides are fsynced and read from the page cache; the sides alternate in one process; the middle of the repetitions
counts. ``python benchmarks/store.py [--rows N] [--dimension D] [--random-rows N] [--repetitions N]``
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pandas as pd

from fewshot.embeddings.layer_key import LayerKey
from fewshot.embeddings.store.chunk_writer import ChunkWriter
from fewshot.embeddings.store.reader import FeatureStore
from fewshot.embeddings.store.sample_columns import FrameColumns
from fewshot.embeddings.store.schema import chunk_rows
from fewshot.embeddings.store.writer import LayerData, LayerHeader, StoreWriter

_BLOCK_ROWS = 8192


def fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


def timed(work: Callable[[], object]) -> tuple[float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def alternate(sides: dict[str, Callable[[], object]], repetitions: int) -> dict[str, tuple[float, float]]:
    """Return {side: (median wall seconds, median CPU seconds)}."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
    for _ in range(repetitions):
        for name, work in sides.items():
            found[name].append(timed(work))
    return {
        name: (statistics.median(wall for wall, _ in each), statistics.median(cpu for _, cpu in each))
        for name, each in found.items()
    }


def show(title: str, found: dict[str, tuple[float, float]], base: str) -> None:
    print(f"\n{title}")
    for name, (wall, cpu) in found.items():
        speed = found[base][0] / wall
        print(f"  {name:<34} {wall:8.3f} s wall  {cpu:8.3f} s CPU  {speed:5.2f} x the speed of {base}")


def write_numpy(path: Path, features: np.ndarray) -> None:
    np.save(path, features)
    fsync(path)


def write_h5py(path: Path, features: np.ndarray) -> None:
    rows, dimension = features.shape
    chunks = (chunk_rows(dimension, features.itemsize, rows), dimension)
    with h5py.File(path, "w") as file:
        dataset = file.create_dataset("x", features.shape, features.dtype, chunks=chunks, fletcher32=True)
        for start in range(0, rows, _BLOCK_ROWS):
            dataset[start : start + _BLOCK_ROWS] = features[start : start + _BLOCK_ROWS]
    fsync(path)


def write_chunks(path: Path, features: np.ndarray) -> None:
    """Our append alone: the same checksummed dataset, without the digest and the samples of a whole store."""
    rows, dimension = features.shape
    chunks = (chunk_rows(dimension, features.itemsize, rows), dimension)
    with h5py.File(path, "w") as file:
        writer = ChunkWriter(file.create_dataset("x", features.shape, features.dtype, chunks=chunks, fletcher32=True))
        for start in range(0, rows, _BLOCK_ROWS):
            writer.append(features[start : start + _BLOCK_ROWS])
        writer.finish()
    fsync(path)


def write_store(path: Path, features: np.ndarray, samples: pd.DataFrame) -> None:
    """Our append into a whole store, with the sample list, the SHA-256 digest and the recount."""
    with StoreWriter(path, FrameColumns(samples)) as writer:
        writer.add(LayerData("net", "pooled", features))
        writer.seal()


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rows", type=int, default=200_000)
    arguments.add_argument("--dimension", type=int, default=768)
    arguments.add_argument("--random-rows", type=int, default=1_000_000, help="rows of the store for random reading")
    arguments.add_argument("--repetitions", type=int, default=5)
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory(dir=".") as folder:
        result = run(Path(folder), given)
    print(json.dumps(result))


def run(folder: Path, given: argparse.Namespace) -> dict[str, float]:
    features = np.random.default_rng(0).standard_normal((given.rows, given.dimension), dtype=np.float32)
    features = features.astype(np.float16)
    samples = pd.DataFrame({"key": np.arange(given.rows).astype(str), "source": "x", "synthetic": False})
    written = alternate(
        {
            "np.save": lambda: write_numpy(folder / "a.npy", features),
            "h5py, fletcher32": lambda: write_h5py(folder / "b.h5", features),
            "ours, the layer": lambda: write_chunks(folder / "c.h5", features),
            "ours, a whole store with SHA-256": lambda: write_store(folder / "d.h5", features, samples),
        },
        given.repetitions,
    )
    show(f"append {given.rows} x {given.dimension} float16, fsynced", written, "np.save")

    store = FeatureStore(folder / "d.h5")
    with h5py.File(folder / "b.h5") as plain:
        read = alternate(
            {
                "np.load": lambda: np.load(folder / "a.npy"),
                "h5py, fletcher32": lambda: plain["x"][:],
                "ours": lambda: store.read_stored(None, "net", "pooled"),
            },
            given.repetitions,
        )
    show("read the whole layer from the page cache", read, "np.load")
    assert np.array_equal(store.read_stored(None, "net", "pooled"), features)
    for name in ("a.npy", "b.h5", "c.h5", "d.h5"):
        (folder / name).unlink()

    random = random_rows(folder, given)
    return {
        "append_vs_np_save": written["np.save"][0] / written["ours, the layer"][0],
        "append_vs_np_save_whole_store": written["np.save"][0] / written["ours, a whole store with SHA-256"][0],
        "append_vs_np_save_plain_h5py": written["np.save"][0] / written["h5py, fletcher32"][0],
        "read_vs_np_load": read["np.load"][0] / read["ours"][0],
        "read_vs_np_load_plain_h5py": read["np.load"][0] / read["h5py, fletcher32"][0],
        "random_rows_vs_h5py": random["h5py, sorted fancy index"][0] / random["ours, any order"][0],
    }


def random_rows(folder: Path, given: argparse.Namespace) -> dict[str, tuple[float, float]]:
    rows = given.random_rows
    samples = pd.DataFrame({"key": np.arange(rows).astype(str), "source": "x", "synthetic": False})
    generator = np.random.default_rng(1)

    def blocks() -> object:
        for start in range(0, rows, _BLOCK_ROWS):
            count = min(_BLOCK_ROWS, rows - start)
            yield generator.standard_normal((count, given.dimension), dtype=np.float32).astype(np.float16)

    with StoreWriter(folder / "e.h5", FrameColumns(samples)) as writer:
        writer.add_blocks(LayerHeader(LayerKey("net", "pooled"), given.dimension, np.float16), blocks())  # type: ignore[arg-type]
        writer.seal()
    wanted = generator.choice(rows, 10_000, replace=False)
    ordered = np.sort(wanted)
    store = FeatureStore(folder / "e.h5")
    with h5py.File(folder / "e.h5") as plain:
        dataset = plain["/features/net/pooled"]
        found = alternate(
            {
                "h5py, sorted fancy index": lambda: dataset[ordered],
                "ours, any order": lambda: store.read_stored(wanted, "net", "pooled"),
            },
            max(1, given.repetitions // 2),
        )
        assert np.array_equal(store.read_stored(wanted, "net", "pooled")[np.argsort(wanted)], dataset[ordered])
    show(f"read 10,000 random rows of {rows}", found, "h5py, sorted fancy index")
    return found


if __name__ == "__main__":
    main()
