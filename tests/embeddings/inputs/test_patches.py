"""AIDE's choice of patches against plain definitions."""

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.fft import dctn

from fewshot.embeddings.inputs.patches import ExtremePatches, extreme_patches, grades, resized
from fewshot.embeddings.networks.residuals import srm_filters


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).random((3, height, width), dtype=np.float32)


def test_grades_equal_a_loop_over_windows_and_bands() -> None:
    pixels = noise(64, 48)
    diagonal = np.add.outer(np.arange(32), np.arange(32))
    expected = []
    for top in (0, 16, 32):
        for left in (0, 16):
            spectrum = np.stack([dctn(plane[top : top + 32, left : left + 32], norm="ortho") for plane in pixels])
            logs = np.log(1 + np.abs(spectrum))
            bands = [(diagonal >= i * 64 / 6) & (diagonal <= (i + 1) * 64 / 6) for i in range(6)]
            expected.append(sum(2**i * logs[:, band].sum() / band.sum() for i, band in enumerate(bands)))

    np.testing.assert_allclose(grades(pixels), expected, rtol=1e-5)


def test_flat_and_noisy_windows_are_lowest_and_highest() -> None:
    pixels = np.full((3, 64, 64), 0.5, dtype=np.float32)
    pixels[:, 32:, 32:] = noise(32, 32)

    patches = extreme_patches(pixels)

    assert patches.order[0] == 0
    assert patches.order[2] == 8
    np.testing.assert_array_equal(patches.pixels[0], pixels[:, :32, :32])
    np.testing.assert_array_equal(patches.pixels[1], pixels[:, 32:, 32:])


def test_one_window_stands_for_all_four() -> None:
    patches = extreme_patches(noise(40, 47))

    assert patches.order == (0, 0, 0, 0)


@pytest.mark.parametrize("antialias", [False, True])
@pytest.mark.parametrize("size", [(300, 400), (32, 32), (150, 700)])
def test_resize_equals_torchs_on_float_tensors(size: tuple[int, int], antialias: bool) -> None:
    pixels = noise(*size)

    expected = torch.nn.functional.interpolate(
        torch.from_numpy(pixels)[None], size=(256, 256), mode="bilinear", align_corners=False, antialias=antialias
    )[0]

    np.testing.assert_allclose(resized(pixels, antialias=antialias), expected.numpy(), atol=2e-6)


def test_an_image_smaller_than_a_window_is_enlarged() -> None:
    assert ExtremePatches(False)(Image.new("RGB", (20, 50), (9, 9, 9))).shape == (5, 3, 256, 256)


def test_srm_filters_are_blind_to_flat_images() -> None:
    filters = srm_filters()

    assert filters.shape == (30, 5, 5)
    torch.testing.assert_close(filters.sum(dim=(1, 2)), torch.zeros(30), atol=1e-6, rtol=0)
    assert torch.equal(filters.abs().amax(dim=(1, 2)), torch.ones(30))
