"""OpenCV's bilinear resize of bytes, which some detectors were trained behind, without OpenCV."""

from dataclasses import dataclass
from typing import Any, final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fewshot.embeddings.inputs.transforms import Step

_SCALE = 2048  # modules/imgproc/src/resize.cpp: INTER_RESIZE_COEF_SCALE, 11 bits


@final
@dataclass(frozen=True)
class OpencvSquash(Step):
    """Resize to exactly height x width as ``cv2.resize`` does: bilinear, fixed point, not antialiased."""

    height: int
    width: int

    def __call__(self, image: Image.Image) -> Image.Image:
        return Image.fromarray(resize(np.asarray(image), self.height, self.width))

    def __str__(self) -> str:
        return f"opencv-squash({self.height}x{self.width},bilinear)"

    def size(self, before: tuple[int, int] | None) -> tuple[int, int] | None:
        return (self.height, self.width)


@final
@dataclass(frozen=True)
class OpencvLongestSide(Step):
    """Resize so that the longer side has ``pixels``, smaller images too (albumentations ``LongestMaxSize``)."""

    pixels: int

    def __call__(self, image: Image.Image) -> Image.Image:
        scale = self.pixels / max(image.size)
        width, height = (max(1, round(length * scale)) for length in image.size)
        return OpencvSquash(height, width)(image)

    def __str__(self) -> str:
        return f"opencv-longest-side({self.pixels},bilinear)"

    def size(self, before: tuple[int, int] | None) -> tuple[int, int] | None:
        return None


def resize(pixels: NDArray[Any], height: int, width: int) -> NDArray[np.uint8]:
    """Return ``cv2.resize(pixels, (width, height))`` of (H, W, 3) uint8, bit by bit.

    Source: opencv/opencv, modules/imgproc/src/resize.cpp, ``HResizeLinear`` and ``VResizeLinear<uchar>``. Past the
    first and last column the weight is dropped; past the first and last row it is kept, so that one row is rounded as
    two parts.
    """
    if pixels.shape[:2] == (height, width):
        return pixels
    columns, across = _taps(pixels.shape[1], width)
    across = np.where((columns < 0) | (columns >= pixels.shape[1] - 1), 0, across)[:, None]
    wide = pixels.astype(np.int64)
    left, right = (wide[:, np.clip(columns + step, 0, pixels.shape[1] - 1)] for step in (0, 1))
    rows = left * (_SCALE - across) + right * across
    lines, down = _taps(pixels.shape[0], height)
    above, below = (rows[np.clip(lines + step, 0, pixels.shape[0] - 1)] >> 4 for step in (0, 1))
    down = down[:, None, None]
    mixed = (above * (_SCALE - down) >> 16) + (below * down >> 16)
    resized: NDArray[np.uint8] = np.clip((mixed + 2) >> 2, 0, 255).astype(np.uint8)
    return resized


def _taps(before: int, after: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the first neighbour of every output pixel (it may lie outside) and the weight of the second, in 1/2048."""
    # in single precision there, like the reference's (float)((dx + 0.5) * scale - 0.5)
    centres = ((np.arange(after) + 0.5) * (before / after) - 0.5).astype(np.float32)
    first = np.floor(centres)
    weight = np.rint((centres - first) * np.float32(_SCALE)).astype(np.int64)
    return first.astype(np.int64), weight
