"""LOTA's patch choice: the draws of torchvision, ties, small images, and a seed that belongs to the image."""

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import RandomCrop

from fewshot.embeddings.backbones.creation import create
from fewshot.embeddings.inputs.bit_patch import BitPatch, low_bits, texture
from fewshot.embeddings.inputs.opencv import OpencvSquash, resize


def noise(height: int, width: int, *, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


@pytest.mark.parametrize(("height", "width"), [(300, 257), (32, 90), (32, 32)])
def test_crops_are_those_that_torchvision_draws(height: int, width: int) -> None:
    image = noise(height, width)
    with torch.random.fork_rng():
        torch.manual_seed(5)
        theirs = [RandomCrop.get_params(image, (32, 32))[:2] for _ in range(64)]
    assert BitPatch(seed=5).corners(image).tolist() == [list(corner) for corner in theirs]


def test_patch_of_the_largest_texture_is_enlarged() -> None:
    pixels = np.zeros((96, 96, 3), dtype=np.uint8)
    pixels[32:64, 16:48] = np.indices((32, 32)).sum(axis=0)[..., None] % 2 * 7
    expected = np.kron(pixels[32:64, 16:48] * 36, np.ones((8, 8, 1), dtype=np.uint8))
    chosen = np.asarray(BitPatch(grid=True)(Image.fromarray(pixels))).transpose(1, 2, 0)
    centres = (slice(3, None, 8), slice(3, None, 8))
    assert np.abs(chosen[centres].astype(int) - expected[centres].astype(int)).max() <= 36 * 7 // 8 + 1


def test_bits_and_texture_of_a_worked_example() -> None:
    patch = np.array([[[1], [4]], [[9], [2]]], dtype=np.uint8)
    # rows |1-4| + |9-2|, columns |1-9| + |4-2|, diagonals |1-2| + |9-4|
    assert texture(patch) == 3 + 7 + 8 + 2 + 1 + 5
    image = Image.new("RGB", (40, 40), (8 + 3, 255, 16))
    assert low_bits(image)[0, 0].tolist() == [108, 252, 0]


def test_image_smaller_than_a_patch_is_resized_first() -> None:
    assert low_bits(noise(31, 31)).shape == (256, 256, 3)
    assert np.asarray(BitPatch()(noise(1, 1))).shape == (3, 256, 256)


def test_seed_belongs_to_the_content() -> None:
    step = BitPatch()
    first, second = noise(120, 120, seed=1), noise(120, 120, seed=2)
    assert step.corners(first).tolist() == step.corners(first.copy()).tolist()
    assert step.corners(first).tolist() != step.corners(second).tolist()
    names = {create(f"lota:{variant}").card.input.geometry for variant in ("random64", "grid16", "random64-seed0")}
    assert len(names) == 3


@pytest.mark.parametrize(("before", "after"), [((32, 32), (256, 256)), ((300, 400), (224, 224)), ((7, 50), (20, 30))])
def test_fixed_point_resize_is_a_grey_level_from_exact(before: tuple[int, int], after: tuple[int, int]) -> None:
    image = noise(*before)
    pixels = torch.from_numpy(np.asarray(image).transpose(2, 0, 1).copy())[None].double()
    exact = torch.nn.functional.interpolate(pixels, after, mode="bilinear", align_corners=False)[0]
    ours = resize(np.asarray(image), *after).transpose(2, 0, 1)
    assert np.abs(ours - exact.numpy()).max() <= 1.0
    assert np.asarray(OpencvSquash(*after)(image)).shape == (*after, 3)
