"""What opening a store costs: the schema and the manifest against h5py alone, and that rows do not matter.

    python benchmarks/opening.py [--rows 2000] [--many 10000000]

"Before" is what readers did without a schema: open the file, read the root's attributes, then every layer's. Sides
alternate in one process; medians of CPU-milliseconds, files in the page cache. The store of many rows is written with
one value a row. Prints one line of JSON at the end.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from fewshot.embeddings.store.reader import FeatureStore
from fewshot.embeddings.store.writer import LayerData, StoreWriter

REPEATS = 40


@dataclass(frozen=True)
class Images:
    """The samples of a store, whose columns are as wide as real ones."""

    rows: int

    def __len__(self) -> int:
        return self.rows

    @property
    def names(self) -> Sequence[str]:
        """The names of the columns."""
        return ("key", "source", "synthetic")

    def column(self, name: str) -> np.ndarray:
        """Return one column."""
        number = np.arange(self.rows)
        if name == "key":
            return np.char.add(b"natural/camera/", number.astype("S"))
        return number % 2 == 1 if name == "synthetic" else np.where(number % 2 == 1, b"gan", b"camera")


def write(path: Path, rows: int, *, dimension: int, layers: int) -> Path:
    """Write a store of zeros."""
    provenance = {"weights": {"net": "0" * 64}, "input": "squash(224x224)", "card": {"note": "n" * 300}}
    features = np.zeros((rows, dimension), np.float32)
    with StoreWriter(path, Images(rows)) as writer:
        for number in range(layers):
            writer.add(LayerData("net", f"block.{number}", features, provenance=provenance))
        writer.seal()
    return path


def named_before(path: Path) -> Any:
    """As ``FeatureStore(path)`` was: the root's attributes."""
    with h5py.File(path, "r") as file:
        return dict(file.attrs)


def read_before(path: Path) -> Any:
    """As a first reading was: the root's attributes, the file once more, every layer's attributes, two columns."""
    named_before(path)
    with h5py.File(path, "r") as file:
        layers, group = [], file["/features"]
        for backbone in sorted(group):
            for name in sorted(group[backbone]):
                dataset = group[backbone][name]
                said = {each: dataset.attrs[each] for each in ("digest", "normalised", "default")}
                layers.append((said, dataset.shape[1], str(dataset.dtype), json.loads(dataset.attrs["facts"])))
        return file["/samples/key"].shape[0], layers, file["/samples/synthetic"][:], file["/samples/source"][:]


def read_now(path: Path) -> Any:
    """A first reading of today."""
    with FeatureStore(path) as store:
        return len(store), store.layers, store.synthetic, store.raw_column("source")


def structure_now(path: Path) -> Any:
    """All that is checked before a value is read."""
    with FeatureStore(path) as store:
        return store.structure


def medians(sides: dict[str, Callable[[Path], Any]], path: Path) -> dict[str, float]:
    """Return CPU-milliseconds of each side."""
    found: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(REPEATS):
        for name, side in sides.items():
            begun = time.process_time()
            side(path)
            found[name].append(1e3 * (time.process_time() - begun))
    return {name: round(statistics.median(times), 3) for name, times in found.items()}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--many", type=int, default=10_000_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        small = write(Path(name) / "small.h5", options.rows, dimension=768, layers=6)
        sides = {
            "name it, before": named_before,
            "name it, now": FeatureStore,
            "first reading, before": read_before,
            "first reading, now": read_now,
            "structure, now": structure_now,
        }
        few = medians(sides, small)
        many = medians(
            {"structure, now": structure_now}, write(Path(name) / "many.h5", options.many, dimension=1, layers=6)
        )
    for side, milliseconds in few.items():
        print(f"{side:<24}{milliseconds:>10.3f} ms, {options.rows:,} rows")
    print(f"{'structure, now':<24}{many['structure, now']:>10.3f} ms, {options.many:,} rows")
    ratios = {
        "name_now_vs_before": few["name it, now"] / few["name it, before"],
        "first_reading_now_vs_before": few["first reading, now"] / few["first reading, before"],
        "structure_many_vs_few_rows": many["structure, now"] / few["structure, now"],
    }
    print(json.dumps({name: round(value, 3) for name, value in ratios.items()}))


if __name__ == "__main__":
    main()
