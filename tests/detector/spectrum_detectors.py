"""Images that the spectrum alone tells apart, and a detector of them: no weights, fitted in seconds."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import fewshot
from fewshot.detector.detector import Detector


def make_images(folder: Path, count: int, *, synthetic: bool, seed: int) -> list[Path]:
    """Write noise as PNG files, smoothed where it is ``synthetic``, and return the paths."""
    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(seed)
    paths = []
    for number in range(count):
        image = Image.fromarray(generator.integers(0, 256, size=(48, 48, 3), dtype=np.uint8))
        if synthetic:
            image = image.resize((24, 24)).resize((48, 48), Image.Resampling.BICUBIC)
        paths.append(folder / f"{number:03d}.png")
        image.save(paths[-1])
    return paths


def make_support(folder: Path) -> Path:
    """Write ten images of each class in class folders and return the folder."""
    make_images(folder / "natural" / "camera", 10, synthetic=False, seed=1)
    make_images(folder / "synthetic" / "gan", 10, synthetic=True, seed=2)
    return folder


def fit_detector(folder: Path, **options: Any) -> Detector:
    """Fit on images in a folder and save ``folder/x.detector``, certified for 10 % by 40 naturals of the traffic."""
    make_images(folder / "traffic", 40, synthetic=False, seed=3)
    return fewshot.fit(
        make_support(folder / "support"),
        backbones="spectrum",
        naturals=folder / "traffic",
        max_false_alarms=0.1,
        out=folder / "x.detector",
        quiet=True,
        **options,
    )


def make_inbox(folder: Path) -> Path:
    """Write eight natural and seven synthetic images, one that is none, and a file of text; return the folder."""
    make_images(folder, 8, synthetic=False, seed=4)
    make_images(folder / "below", 7, synthetic=True, seed=5)
    (folder / "bad.png").write_bytes(b"nope")
    (folder / "read me.txt").write_text("no image")
    return folder
