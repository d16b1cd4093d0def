"""A store of twelve images with everything in it that a store can hold, and what all readers together see of it."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd

from fewshot.embeddings.store.description import describe
from fewshot.embeddings.store.failures import EVERY, Failure
from fewshot.embeddings.store.reader import FeatureStore
from fewshot.embeddings.store.writer import LayerData, write_store

ROWS = 12


def write_small_store(path: Path) -> Path:
    """Write the store: two backbones, a view, an absent row, a column of the table's own, failures and a root."""
    samples = pd.DataFrame(
        {
            "key": [f"{row}.png" for row in range(ROWS)],
            "source": ["camera"] * 6 + ["gan"] * 6,
            "synthetic": [False] * 6 + [True] * 6,
            "track": ["a", "b"] * 6,
        }
    )
    features = np.random.default_rng(0).normal(size=(ROWS, 8)).astype(np.float32)
    weights = {"weights": {"net": "a" * 64}}
    layers = [
        LayerData("npr", "pooled", features, default=True, provenance=weights),
        LayerData("npr", "block", features * 2, provenance=weights),
        LayerData("clip", "cls", features.astype(np.float16), view="jpeg:75", present=np.arange(ROWS) != 3),
    ]
    write_store(path, samples, layers, failures=[Failure("12.png", EVERY, EVERY, "cut")], roots=["/images"])
    return path


def as_first_version(path: Path) -> Path:
    """Take the manifest out of a store, as stores of version 1 have none, and return it."""
    with h5py.File(path, "r+") as file:
        file.attrs["version"] = 1
        del file.attrs["manifest"], file.attrs["contents"]
    return path


def everything(path: Path) -> Any:
    """Return all that any command can learn from a store; modification times aside, which no number depends on."""
    with FeatureStore(path) as store:
        described = {name: value for name, value in describe(store).items() if name != "path"}
        columns = {name: store.column(name).tolist() for name in store.columns if name != "mtime_ns"}
        layers = [store.read_padded(info.backbone, info.layer, view=info.view).tobytes() for info in store.layers]
        present = [store.present(info.backbone, view=info.view).tobytes() for info in store.layers]
        return repr(described), columns, layers, present
