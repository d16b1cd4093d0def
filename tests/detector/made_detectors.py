"""Detectors for tests, fitted on Gaussian features: no networks, no files."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fewshot.detector.choosable import Choosable
from fewshot.detector.detector import Detector
from fewshot.detector.fitting import FitSettings, fit_detector
from fewshot.detector.known_images import KnownImages, Role
from fewshot.embeddings.store.layer_info import LayerInfo
from fewshot.heads.base import HEADS, Head

DIMENSION = 6
QUICK: Mapping[str, Mapping[str, Any]] = {
    "acm": {"steps": 5},
    "route": {"width": 8, "segments": 2, "hidden": 8, "embedding": 4, "epochs": 1, "pretraining_steps": 5},
    "vib": {"steps": 5, "hidden": 8, "latent": 4},
}
JPEG = b"\xff\xd8\xff\xe0 a picture \xff\xd9"


def head(name: str) -> Head:
    """A built-in head, unfitted; what is trained is trained in few steps."""
    made: Head = HEADS.load(name)(**QUICK.get(name, {}))
    return made


def choosable(name: str = "prototype", *, layer: str = "pooled", backbone: str = "toy") -> Choosable:
    """A layer that only tests know, with a head."""
    own = head(name)
    info = LayerInfo(
        backbone=backbone,
        layer=layer,
        view=own.views[0],
        dimension=DIMENSION,
        dtype="float32",
        digest="",
        normalised=False,
        default=True,
        provenance={"weights": {"net": "ab" * 32}, "input": "toy", "precision": "fp32", "batch_size": 4},
    )
    return Choosable(info, own, licence="MIT")


def images(
    role: Role,
    naturals: int,
    synthetics: int,
    among: Sequence[Choosable],
    *,
    seed: int = 0,
    apart: float = 2.0,
) -> KnownImages:
    """Images of one role; synthetic ones lie ``apart`` from natural ones in the first column."""
    count = naturals + synthetics
    rng = np.random.default_rng([seed, *role.encode()])
    synthetic = np.arange(count) >= naturals
    features = {}
    for key in dict.fromkeys(key for each in among for key in each.keys):
        rows = rng.normal(size=(count, DIMENSION)).astype(np.float32)
        rows[:, 0] += np.where(synthetic, apart, 0.0)
        features[key] = rows
    return KnownImages(
        keys=np.array([f"{role}/{number}.png" for number in range(count)], dtype=object),
        ids=np.array([f"{seed}-{role}-{number}" for number in range(count)], dtype=object),
        sources=np.array(["camera" if not label else "sd3" for label in synthetic], dtype=object),
        roles=np.full(count, role, dtype=object),
        synthetic=synthetic,
        features=features,
    )


def detector(
    *names: str,
    naturals: int = 60,
    synthetics: int = 30,
    support: int = 6,
    seed: int = 0,
    thumbnails: bool = False,
    backbones: Sequence[str] = ("toy",),
    **settings: Any,
) -> Detector:
    """A fitted detector of some heads, among which is chosen."""
    among = [choosable(name, backbone=backbone) for backbone in backbones for name in (names or ("prototype",))]
    parts = [images("support", support, support, among, seed=seed)]
    if naturals:
        parts.append(images("calibration", naturals, 0, among, seed=seed))
    if synthetics:
        parts.append(images("held-out", 0, synthetics, among, seed=seed))
    pictures = dict.fromkeys(range(3), JPEG) if thumbnails else None
    wanted = FitSettings(seed=seed, **settings)
    return fit_detector(KnownImages.joined(parts), among, wanted, name="made", thumbnails=pictures)
