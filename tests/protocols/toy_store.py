"""A small store with a signal of known strength, built in memory."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fewshot.embeddings.store.writer import LayerData, write_store

GENERATORS = ("ldm", "sd15", "sd3")


def toy_samples(images: int = 240, **columns: Any) -> pd.DataFrame:
    """Return samples, half of them synthetic, of one natural source and three generators."""
    synthetic = np.arange(images) % 2 == 1
    source = np.where(synthetic, np.array(GENERATORS)[np.arange(images) // 2 % 3], "photos")
    keys = [f"{row:04d}.png" for row in range(images)]
    ids = [f"pixels of {row}" for row in range(images)]
    return pd.DataFrame({"key": keys, "id": ids, "source": source, "synthetic": synthetic, **columns})


def toy_layer(samples: pd.DataFrame, backbone: str, layer: str, *, signal: float, **fields: Any) -> LayerData:
    """Return normal features (N, 16) whose first column carries the class with the given strength."""
    generator = np.random.default_rng(sum(map(ord, backbone + layer)))
    features = generator.normal(size=(len(samples), 16)).astype(np.float32)
    features[:, 0] += np.where(samples["synthetic"], signal, -signal).astype(np.float32)
    return LayerData(backbone, layer, features, **fields)


def toy_logit(samples: pd.DataFrame, backbone: str, *, signal: float) -> LayerData:
    """Return the scores of the pretrained head of a checkpoint."""
    noise = np.random.default_rng(1).normal(size=len(samples))
    scores = noise + np.where(samples["synthetic"], signal, -signal)
    return LayerData(backbone, "logit", scores[:, None].astype(np.float32))


def toy_store(path: Path, *, samples: pd.DataFrame | None = None, layers: Mapping[str, Any] | None = None) -> Path:
    """Write a store with a strong, a weak and a worthless layer, and a pretrained head."""
    frame = toy_samples() if samples is None else samples
    parts = [
        toy_layer(frame, "net", "late", signal=1.0, default=True),
        toy_layer(frame, "net", "early", signal=0.3),
        toy_logit(frame, "net", signal=0.5),
        toy_layer(frame, "weak", "pooled", signal=0.0, default=True),
    ]
    write_store(path, frame, parts if layers is None else list(layers.values()))
    return path
