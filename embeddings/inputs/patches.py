"""AIDE's choice of patches: the poorest and richest windows of an image by the energy of their DCT."""

from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from PIL import Image

from fewshot.core.arrays import Float32Array, Float64Array
from fewshot.embeddings.inputs.transforms import ShorterSide, Step

WINDOW = 32
STRIDE = 16
SIZE = 256
_BANDS = 6
_WINDOWS_AT_ONCE = 4096


@dataclass(frozen=True)
class Patches:
    """The chosen windows.

    Args:
        order: indices of lowest, second lowest, highest and second highest grade.
        pixels: (4, 3, 32, 32) float32 in [0, 1]: lowest, highest, second lowest, second highest.
    """

    order: tuple[int, int, int, int]
    pixels: Float32Array


@final
@dataclass(frozen=True)
class ExtremePatches(Step):
    """The four extreme patches and the whole image, each resized to 256 x 256: (5, 3, 256, 256) float32 in [0, 1].

    An image with fewer than 32 pixels on a side, which the authors' code cannot take, is enlarged first.

    Args:
        antialias: of the whole image's resize.
    """

    antialias: bool

    def __call__(self, image: Image.Image) -> Float32Array:
        if min(image.size) < WINDOW:
            image = ShorterSide(WINDOW)(image)
        pixels = np.asarray(image, dtype=np.float32).transpose(2, 0, 1) / np.float32(255)
        patches = [resized(patch, antialias=True) for patch in extreme_patches(pixels).pixels]
        return np.stack([*patches, resized(pixels, antialias=self.antialias)])

    def __str__(self) -> str:
        return f"extreme-patches(dct,{WINDOW}>{SIZE},antialias {'on' if self.antialias else 'off'})"

    def size(self, before: tuple[int, int] | None) -> tuple[int, int] | None:
        return (SIZE, SIZE)


def extreme_patches(pixels: Float32Array) -> Patches:
    """Return the windows of lowest and highest grade of an image (3, H, W) in [0, 1], H and W at least 32.

    With one window only, all four are that one.
    """
    found = grades(pixels)
    ascending = np.argsort(found, kind="stable")
    second = min(1, len(ascending) - 1)
    lowest, second_lowest = int(ascending[0]), int(ascending[second])
    highest, second_highest = int(ascending[-1]), int(ascending[-1 - second])
    across = (pixels.shape[2] - WINDOW) // STRIDE + 1
    windows = []
    for index in (lowest, highest, second_lowest, second_highest):
        top, left = (position * STRIDE for position in divmod(index, across))
        windows.append(pixels[:, top : top + WINDOW, left : left + WINDOW])
    return Patches((lowest, second_lowest, highest, second_highest), np.stack(windows))


def grades(pixels: Float32Array) -> Float32Array:
    """Return the grade of every 32 x 32 window at stride 16, row by row: (windows,) float32.

    The sum over six diagonal bands i of 2^i times the band's mean of log(1 + |DCT|), over the three channels
    (Yan et al. 2025, data/dct.py).
    """
    windows = sliding_window_view(pixels, (WINDOW, WINDOW), axis=(1, 2))[:, ::STRIDE, ::STRIDE]
    rows, columns = windows.shape[1:3]
    flat = windows.transpose(1, 2, 0, 3, 4).reshape(rows * columns, 3, WINDOW, WINDOW)
    transform, weights = _dct_matrix(), _band_weights()
    found = []
    for start in range(0, len(flat), _WINDOWS_AT_ONCE):
        spectrum = transform @ flat[start : start + _WINDOWS_AT_ONCE].astype(np.float64) @ transform.T
        found.append(np.tensordot(np.log1p(np.abs(spectrum)).sum(axis=1), weights, axes=2))
    return np.concatenate(found).astype(np.float32)


def resized(pixels: Float32Array, *, antialias: bool) -> Float32Array:
    """Return planes (C, H, W) resized to (C, 256, 256) bilinearly, as torchvision does on float tensors."""
    if antialias:
        size = (SIZE, SIZE)
        planes = [Image.fromarray(plane).resize(size, Image.Resampling.BILINEAR) for plane in pixels]
        return np.stack([np.asarray(plane, dtype=np.float32) for plane in planes])
    for axis in (1, 2):
        low, high, share = _neighbours(pixels.shape[axis])
        shape = [1, 1, 1]
        shape[axis] = SIZE
        weight = share.reshape(shape)
        mixed = pixels.take(low, axis=axis) * (1 - weight) + pixels.take(high, axis=axis) * weight
        pixels = mixed.astype(np.float32, copy=False)
    return pixels


def _neighbours(length: int) -> tuple[np.ndarray, np.ndarray, Float32Array]:
    """Return both source pixels of each target pixel and the share of the second (align_corners False)."""
    scale = np.float32(length) / np.float32(SIZE)
    position = np.maximum(
        (np.arange(SIZE, dtype=np.float32) + np.float32(0.5)) * scale - np.float32(0.5), np.float32(0)
    )
    low = np.minimum(position.astype(np.int64), length - 1)
    return low, np.minimum(low + 1, length - 1), (position - low).astype(np.float32)


def _dct_matrix() -> Float64Array:
    """Return the orthonormal DCT-II matrix: (32, 32)."""
    index = np.arange(WINDOW)
    matrix = np.sqrt(2 / WINDOW) * np.cos((index[None, :] + 0.5) * np.pi * index[:, None] / WINDOW)
    matrix[0] /= np.sqrt(2)
    return np.asarray(matrix, dtype=np.float64)


def _band_weights() -> Float64Array:
    """Return the weight of each coefficient: (32, 32), bands i * 64/6 <= u + v <= (i + 1) * 64/6, ends shared."""
    diagonal = np.add.outer(np.arange(WINDOW), np.arange(WINDOW))
    weights = np.zeros((WINDOW, WINDOW))
    for band in range(_BANDS):
        inside = (diagonal >= 2 * WINDOW / _BANDS * band) & (diagonal <= 2 * WINDOW / _BANDS * (band + 1))
        weights += 2.0**band * inside / inside.sum()
    return weights
