"""A small store that every protocol can run on: three sources, a clean and a perturbed view, a pretrained head."""

from pathlib import Path

import numpy as np
import pandas as pd

from fewshot.embeddings.store.reader import FeatureStore
from fewshot.embeddings.store.writer import LayerData, write_store

SOURCES = {"camera": 40, "gan": 20, "ldm": 20}


def protocol_store(path: Path, *, shift: float = 0.0) -> FeatureStore:
    """Write the store and open it; ``shift`` moves one image's clean features, as a changed store has them."""
    generator = np.random.default_rng(3)
    sources = np.repeat(list(SOURCES), list(SOURCES.values()))
    samples = pd.DataFrame(
        {
            "key": [f"{row:03d}.png" for row in range(len(sources))],
            "id": [f"pixels of {row}" for row in range(len(sources))],
            "source": sources,
            "synthetic": sources != "camera",
        }
    )
    centres = 1.5 * generator.normal(size=(len(SOURCES), 8))
    clean = np.repeat(centres, list(SOURCES.values()), axis=0) + generator.normal(size=(len(sources), 8))
    clean[7] += shift
    layers = []
    for view, features in (("clean", clean), ("jpeg:75", clean + 0.5 * generator.normal(size=clean.shape))):
        layers.append(LayerData("net", "pooled", features.astype(np.float32), view=view, default=True))
        layers.append(LayerData("net", "logit", features[:, :1].astype(np.float32), view=view))
    write_store(path, samples, layers)
    return FeatureStore(path)
