"""Our geometry equals torchvision's on Pillow images, pixel by pixel, for sizes on both sides of every rule."""

import itertools
import pickle  # noqa: TID251  (what multiprocessing sends is pickled; nothing is read from a file)
from typing import Any

import numpy as np
import pytest
from PIL import Image
from torchvision.transforms import v2

from fewshot.embeddings.inputs.rule import InputRule
from fewshot.embeddings.inputs.transforms import CenterCrop, ShorterSide, Squash, Step, TileTo

SIZES = [(300, 400), (150, 120), (224, 224), (223, 225), (31, 31), (1, 1), (40, 500), (257, 256)]
MODES = {
    "bilinear": v2.InterpolationMode.BILINEAR,
    "bicubic": v2.InterpolationMode.BICUBIC,
    "nearest": v2.InterpolationMode.NEAREST,
}


def photograph(height: int, width: int) -> Image.Image:
    pixels = np.random.default_rng([height, width]).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def assert_equal(ours: Any, theirs: Image.Image) -> None:
    assert ours.size == theirs.size
    assert np.array_equal(np.asarray(ours), np.asarray(theirs))


@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize("crop", [(224, 224), (256, 256), (33, 70)])
def test_center_crop_equals_torchvision(height: int, width: int, crop: tuple[int, int]) -> None:
    image = photograph(height, width)

    assert_equal(CenterCrop(*crop)(image), v2.CenterCrop(crop)(image))


@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
def test_squash_equals_torchvision(height: int, width: int, mode: Any) -> None:
    image = photograph(height, width)

    assert_equal(Squash(64, 48, mode)(image), v2.Resize((64, 48), MODES[mode])(image))


@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
def test_shorter_side_equals_torchvision(height: int, width: int, mode: Any) -> None:
    image = photograph(height, width)

    assert_equal(ShorterSide(56, mode)(image), v2.Resize(56, MODES[mode])(image))


def test_tiling_repeats_a_small_image_and_leaves_a_large_one() -> None:
    small, large = photograph(3, 5), photograph(8, 9)

    tiled = np.asarray(TileTo(7)(small))

    assert np.array_equal(tiled, np.tile(np.asarray(small), (3, 2, 1)))
    assert TileTo(7)(large) is large


def test_a_rule_gives_channels_first_bytes_and_states_its_geometry() -> None:
    rule = InputRule((ShorterSide(256), CenterCrop(224, 224)))

    array = rule(photograph(300, 400))

    assert array.shape == (3, 224, 224)
    assert array.dtype == np.uint8
    assert rule.geometry == "shorter-side(256,bilinear) > center-crop(224x224)"
    assert rule.fixed_size == (224, 224)


def test_a_rule_without_steps_keeps_the_native_size() -> None:
    image = photograph(5, 7)

    assert np.array_equal(InputRule()(image), np.asarray(image).transpose(2, 0, 1))
    assert InputRule().fixed_size is None


def test_equal_geometries_are_equal_after_a_trip_to_a_worker() -> None:
    steps: list[Step] = [Squash(256, 256), CenterCrop(224, 224), ShorterSide(224, "bicubic"), TileTo(256)]

    for one, other in itertools.product(steps, steps):
        assert (one == pickle.loads(pickle.dumps(other))) == (one is other)
