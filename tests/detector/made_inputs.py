"""Images and stores made on the spot, from which detectors are fitted in a moment; whoever fits one may use them."""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from fewshot.embeddings.store.writer import LayerData, write_store

PROVENANCE = {"weights": {"net": "a" * 64}, "input": "native", "card": {"licence": "MIT", "paper": "a *paper* <b>"}}
SIDE = 64


def write_images(folder: Path, names: Sequence[str], *, synthetic: bool, seed: int) -> list[Path]:
    """Write smooth pictures (natural) or rough ones (synthetic), each different from all others of another seed."""
    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(seed)
    written = []
    for name in names:
        small = generator.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        pixels = np.asarray(Image.fromarray(small).resize((SIDE, SIDE), Image.Resampling.BICUBIC), dtype=np.float64)
        pixels = pixels + generator.normal(0, 40 if synthetic else 4, pixels.shape)
        Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(folder / name)
        written.append(folder / name)
    return written


def write_table(path: Path, rows: Sequence[tuple[str, ...]], *, header: Sequence[str] = ("path", "label")) -> Path:
    """Write a CSV."""
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(header)
        writer.writerows(rows)
    return path


def make_store(  # what a test wants of a store
    path: Path,
    *,
    natural: int = 0,
    synthetic: int = 0,
    seed: int = 0,
    ids: Sequence[str] | None = None,
    apart: float = 3.0,
    weights: str = "a" * 64,
    sources: tuple[str, str] = ("camera", "model"),
) -> Path:
    """Write a store of two classes on two clusters; ``ids`` names the pixels, those of other seeds being others."""
    generator = np.random.default_rng(seed)
    labels = np.repeat([False, True], [natural, synthetic])
    features = generator.normal(size=(len(labels), 6)) + apart * labels[:, None] * np.array([1, 1, 0, 0, 0, 0])
    samples = pd.DataFrame(
        {
            "key": [f"{path.stem}/{number}.png" for number in range(len(labels))],
            "id": list(ids) if ids is not None else [f"{seed}-{number}" for number in range(len(labels))],
            "source": [sources[int(label)] for label in labels],
            "synthetic": labels,
        }
    )
    provenance = {**PROVENANCE, "weights": {"net": weights}}
    layer = LayerData("net", "pooled", features.astype(np.float32), default=True, provenance=provenance)
    write_store(path, samples, [layer])
    return path
