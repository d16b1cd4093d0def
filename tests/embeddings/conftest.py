"""Fixtures of the embedding tests: the fakes, and tiny trees of images."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

_FAKES = Path(__file__).with_name("fakes.py")


def load_fakes() -> ModuleType:
    """Return the module of fakes, loaded once."""
    if "fewshot_test_fakes" not in sys.modules:
        spec = importlib.util.spec_from_file_location("fewshot_test_fakes", _FAKES)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules["fewshot_test_fakes"] = module
        spec.loader.exec_module(module)
        module.register()
    return sys.modules["fewshot_test_fakes"]


@pytest.fixture
def fakes() -> ModuleType:
    """The fake backbones, known by name."""
    return load_fakes()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A folder tree of 6 natural and 6 synthetic PNG images of different sizes, of two sources each."""
    root = tmp_path / "photos"
    generator = np.random.default_rng(5)
    for synthetic, sources in ((0, ("camera", "phone")), (1, ("gan", "diffusion"))):
        for source in sources:
            folder = root / ("synthetic" if synthetic else "natural") / source
            folder.mkdir(parents=True)
            for number in range(3):
                size = (20 + 2 * number, 24, 3)
                pixels = generator.integers(60, 256, size=size, dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{number}.png")
    return root
