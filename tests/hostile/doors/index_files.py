"""An index file of every kind and its description; a damaged index gets a description that vouches for it."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd

from fewshot.core.files import file_sha256
from fewshot.embeddings.search.files import _digest, description_path
from fewshot.embeddings.search.index import SourceIndex
from fewshot.embeddings.store.writer import LayerData, write_store

ROWS = 400
_SOUND: list[Path] = []  # the folder of the store and of the sound files, beside which a damaged one is read


def originals(folder: Path) -> list[Path]:
    sound = folder / "sound"
    sound.mkdir()
    _SOUND[:] = [sound]
    samples = pd.DataFrame(
        {"key": [str(row) for row in range(ROWS)], "source": ["a", "b"] * (ROWS // 2), "synthetic": False}
    )
    features = np.random.default_rng(0).normal(size=(ROWS, 8)).astype(np.float32)
    write_store(sound / "store.h5", samples, [LayerData("net", "pooled", features, default=True)])
    found = []
    for kind in ("flat", "hnsw", "ivf-flat"):
        path = SourceIndex(sound / "store.h5", index=kind, device="cpu").save(sound / f"{kind}.faiss")
        found += [Path(shutil.copy(each, folder)) for each in (path, description_path(path))]
    return found


def enter(path: Path) -> None:
    (sound,) = _SOUND
    index = path.with_suffix("") if path.suffix == ".json" else path
    if path != index:
        shutil.copy(sound / index.name, index)
    else:
        description = json.loads(description_path(sound / path.name).read_text())
        description["index_sha256"] = file_sha256(path)
        del description["description_sha256"]
        description["description_sha256"] = _digest(description)
        description_path(path).write_text(json.dumps(description))
    found = SourceIndex.load(sound / "store.h5", index, device="cpu")
    found.nearest(found.features(np.arange(20)), 3)
