"""The spectrum baseline against a second writing in NumPy."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import correlate

from fewshot.embeddings.backbones.creation import create
from fewshot.embeddings.backbones.spectrum import FILTERS


def features(image: Image.Image) -> dict[str, NDArray[np.float32]]:
    backbone = create("spectrum").load(device="cpu", weights={})
    batch = torch.from_numpy(np.asarray(backbone.preprocess(image)))[None]
    return {name: value[0].numpy() for name, value in backbone.embed(batch).items()}


def noise(height: int, width: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, size=(height, width, 3), dtype=np.uint8))


@pytest.mark.second_writing("spectrum")
def test_radial_means_equal_a_loop_over_frequencies() -> None:
    image = noise(64, 48)
    luma = np.asarray(image, dtype=np.float64) / 255 @ np.array([0.299, 0.587, 0.114])
    window = np.outer(np.hanning(66)[1:-1], np.hanning(50)[1:-1])
    power = np.abs(np.fft.fft2((luma - luma.mean()) * window)) ** 2
    sums, counts = np.zeros(64), np.zeros(64)
    for row, vertical in enumerate(np.fft.fftfreq(64)):
        for column, horizontal in enumerate(np.fft.fftfreq(48)):
            radius = 2 * float(np.float32(np.hypot(vertical, horizontal)))
            if 0 < radius <= 1:
                ring = min(int(radius * 64), 63)
                sums[ring], counts[ring] = sums[ring] + power[row, column], counts[ring] + 1
    full = counts > 0

    radial = features(image)["radial"]

    np.testing.assert_allclose(radial[full], np.log(sums[full] / counts[full] / power.mean()), rtol=1e-4, atol=1e-4)


def test_residual_statistics_equal_plain_differences() -> None:
    image = noise(40, 30)
    padded = np.pad(np.asarray(image, dtype=np.float64) / 255, ((1, 1), (1, 1), (0, 0)), mode="edge")
    right = (padded[1:-1, 2:] - padded[1:-1, 1:-1])[..., 0]
    right = right - right.mean()
    variance = (right**2).mean()

    residual = features(image)["residual"].reshape(3, 24)

    expected = [
        np.log(np.sqrt(variance)),
        np.abs(right).mean() / np.sqrt(variance),
        (right * np.roll(right, 1, axis=1)).mean() / variance,
        (right * np.roll(right, 1, axis=0)).mean() / variance,
    ]
    np.testing.assert_allclose(residual[0, :4], expected, rtol=1e-5)


def test_every_filter_of_every_channel_equals_scipys() -> None:
    image = noise(33, 47)
    values = np.asarray(image, dtype=np.float64) / 255
    expected = []
    for channel in range(3):
        for kernel in FILTERS:
            found = correlate(values[..., channel], np.array(kernel, dtype=np.float64), mode="nearest")
            found -= found.mean()
            variance = (found**2).mean()
            neighbours = [(found * np.roll(found, 1, axis=axis)).mean() / variance for axis in (1, 0)]
            expected += [np.log(np.sqrt(variance)), np.abs(found).mean() / np.sqrt(variance), *neighbours]

    np.testing.assert_allclose(features(image)["residual"], expected, rtol=1e-5)


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (31, 31), (700, 20)])
def test_every_size_gives_finite_features(size: tuple[int, int]) -> None:
    assert np.isfinite(features(noise(*size))["feature"]).all()


def test_a_flat_image_gives_finite_features() -> None:
    assert np.isfinite(features(Image.new("RGB", (64, 64), (9, 9, 9)))["feature"]).all()


def test_checkerboard_upsampling_raises_the_highest_ring() -> None:
    smooth = Image.fromarray(np.random.default_rng(1).integers(0, 256, (32, 32, 3), dtype=np.uint8))
    bilinear = smooth.resize((128, 128), Image.Resampling.BILINEAR)
    nearest = smooth.resize((128, 128), Image.Resampling.NEAREST)

    assert features(nearest)["radial"][-1] > features(bilinear)["radial"][-1] + 1
