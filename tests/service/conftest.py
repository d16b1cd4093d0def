"""A small detector without weights, and images that are made on the spot."""

import io
import shutil
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import msgspec
import numpy as np
import pytest
from PIL import Image

from fewshot.detector.detector import Detector
from fewshot.detector.fit import fit

# Neither Ray nor a browser is a dependency, and a skip would be a failure here.
_BROWSER = shutil.which("chromium") and shutil.which("chromedriver")
collect_ignore = [] if find_spec("ray") else ["test_ray.py"]
collect_ignore += [] if _BROWSER else ["test_page_in_browser.py"]


def png(seed: int, *, synthetic: bool = False, pixels: int = 64) -> bytes:
    """Return a PNG of noise; that of the synthetic ones repeats every second pixel, as enlarged pictures do."""
    rng = np.random.default_rng([seed, synthetic])
    noise = rng.integers(0, 256, (pixels, pixels, 3), dtype=np.uint8)
    if synthetic:
        noise = noise[::2, ::2].repeat(2, 0).repeat(2, 1)
    encoded = io.BytesIO()
    Image.fromarray(noise).save(encoded, "PNG")
    return encoded.getvalue()


@pytest.fixture(scope="session")
def detector_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A detector on ``spectrum``, fitted on six images of each class, certified on 29 naturals."""
    folder = tmp_path_factory.mktemp("detector")
    for label, count in (("natural", 6), ("synthetic", 6), ("naturals", 29)):
        (folder / "images" / label).mkdir(parents=True)
        for number in range(count):
            content = png(number + (100 if label == "naturals" else 0), synthetic=label == "synthetic")
            (folder / "images" / label / f"{number}.png").write_bytes(content)
    naturals = (folder / "images" / "naturals").rename(folder / "naturals")
    out = folder / "noise.detector"
    fit(
        folder / "images",
        backbones="spectrum",
        naturals=naturals,
        out=out,
        max_false_alarms=0.1,
        thumbnails=True,
        quiet=True,
    )
    return out


@pytest.fixture(scope="session")
def detector(detector_file: Path) -> Detector:
    """The same, loaded."""
    return Detector.load(detector_file)


@pytest.fixture(scope="session")
def contrary(detector: Detector) -> Detector:
    """The same detector with thresholds by which every image is synthetic; no file can have them."""
    described = detector.description
    alarm, clear = (msgspec.structs.replace(each, value=-1e6) for each in (described.alarm, described.clear))
    described = msgspec.structs.replace(described, name="contrary", alarm=alarm, clear=clear)
    return replace(detector, description=described, digest="c" * 64)
