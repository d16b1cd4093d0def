"""Fused detectors for tests: two layers that tell the classes apart in different columns, and one of noise."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fewshot.detector.choosable import Choosable
from fewshot.detector.detector import Detector
from fewshot.detector.fitting import FitSettings, fit_detector
from fewshot.detector.known_images import KnownImages
from fewshot.embeddings.store.writer import LayerData, write_store
from tests.detector import made_detectors as made
from tests.detector.made_inputs import PROVENANCE

NAMES = ("good", "fair", "noise")
_APART = {"good": 2.0, "fair": 1.2, "noise": 0.0}
DEAD, ALIVE = 14, 4  # seeds whose layer of noise gets no weight, but some where images are left out; and a little


def among(names: Sequence[str] = NAMES, *, fused_in: str = "") -> list[Choosable]:
    """Layers with the head ``svm``."""
    plain = [made.choosable("svm", backbone=name) for name in names]
    return [Choosable(each.info, each.head, each.licence, fused_in) for each in plain]


def images(*, seed: int = 0, support: int = 8, naturals: int = 60) -> KnownImages:
    """A support of both classes, naturals that certify and synthetic images that do, with features of every layer."""
    roles = np.repeat(["support", "calibration", "held-out"], [2 * support, naturals, 30]).astype(object)
    synthetic = np.concatenate([np.arange(2 * support) >= support, np.zeros(naturals), np.ones(30)]).astype(bool)
    features = {}
    for number, name in enumerate(NAMES):
        rows = np.random.default_rng([seed, number]).normal(size=(len(roles), made.DIMENSION))
        rows[:, number] += _APART[name] * synthetic
        features[name, "pooled", "clean"] = rows.astype(np.float32)
    return KnownImages(
        keys=np.array([f"{number}.png" for number in range(len(roles))], dtype=object),
        ids=np.array([f"{seed}-{number}" for number in range(len(roles))], dtype=object),
        sources=np.where(synthetic, "sd3", "camera").astype(object),
        roles=roles,
        synthetic=synthetic,
        features=features,
    )


def fused(names: Sequence[str] = NAMES, *, seed: int = 0, support: int = 8, **settings: Any) -> Detector:
    """A fusion of some layers."""
    wanted = FitSettings(combine="fuse", **settings)
    return fit_detector(images(seed=seed, support=support), among(names), wanted, name="made")


def make_store(path: Path, *, natural: int = 0, synthetic: int = 0, seed: int = 0) -> Path:
    """Write a store of the three layers."""
    generator, labels = np.random.default_rng(seed), np.repeat([False, True], [natural, synthetic])
    samples = pd.DataFrame(
        {
            "key": [f"{path.stem}/{number}.png" for number in range(len(labels))],
            "id": [f"{seed}-{number}" for number in range(len(labels))],
            "source": np.where(labels, "model", "camera"),
            "synthetic": labels,
        }
    )
    layers = []
    for number, name in enumerate(NAMES):
        rows = generator.normal(size=(len(labels), 6))
        rows[:, number] += _APART[name] * labels
        layers.append(LayerData(name, "pooled", rows.astype(np.float32), default=True, provenance=PROVENANCE))
    write_store(path, samples, layers)
    return path
