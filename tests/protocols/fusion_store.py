"""A small store of three backbones whose noises differ: two that see something, one that sees nothing."""

from pathlib import Path

import numpy as np
import pandas as pd

from fewshot.embeddings.store.writer import LayerData, write_store
from tests.protocols.toy_store import toy_samples

SIGNALS = {"ferret": 0.5, "mobile": 0.5, "noise": 0.0}
WIDTHS = {"ferret": 6, "mobile": 8, "noise": 5}
SUPPORTS = tuple(tuple(f"{row:04d}.png" for row in range(start, start + 12)) for start in (0, 12, 24))


def fusion_samples(images: int = 120) -> pd.DataFrame:
    """Return samples, half of them synthetic, of one natural source and three generators."""
    return toy_samples(images)


def fusion_store(path: Path, *, samples: pd.DataFrame | None = None, views: bool = False, noise: bool = False) -> Path:
    """Write the store; the features depend on the row alone, so that other labels leave them as they are.

    Args:
        views: whether ``jpeg:50`` is there too, the same with more noise; ``blur:1`` of one backbone alone.
        noise: whether no backbone sees anything.
    """
    frame = fusion_samples() if samples is None else samples
    classes = np.where(np.arange(len(frame)) % 2 == 1, 1.0, -1.0)
    layers = []
    for number, (name, signal) in enumerate(SIGNALS.items()):
        random = np.random.default_rng(number)
        clean = random.normal(size=(len(frame), WIDTHS[name])) + 0.2
        clean[:, 0] += 0.0 if noise else 2 * signal * classes
        layers.append(LayerData(name, "pooled", clean.astype(np.float32), default=True))
        layers.append(LayerData(name, "early", random.normal(size=clean.shape).astype(np.float32)))
        for view in (("jpeg:50", "blur:1") if number == 0 else ("jpeg:50",)) if views else ():
            moved = (clean + random.normal(size=clean.shape)).astype(np.float32)
            layers.append(LayerData(name, "pooled", moved, view=view, default=True))
    write_store(path, frame, layers)
    return path
