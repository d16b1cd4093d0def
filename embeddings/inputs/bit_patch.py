"""LOTA's input: the most textured crop of an image's three lowest bit planes (Wang et al., ICCV 2025).

Source: hongsong-wang/LOTA @ 487bb02, bit_patch.py.
"""

import zlib
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fewshot.embeddings.inputs.opencv import resize
from fewshot.embeddings.inputs.transforms import Step

# the authors': patch_size, img_height, and (img_height // patch_size) ** 2 crops
PATCH, SIZE, CROPS = 32, 256, 64
GRID_STRIDE = 16
FROM_CONTENT = None


@final
@dataclass(frozen=True)
class BitPatch(Step):
    """The crop with the largest sum of differences in the plane of the three lowest bits, enlarged to 256 x 256.

    Args:
        seed: of the 64 random crops; ``FROM_CONTENT`` takes the CRC-32 of the image's bytes, so that an image gives the
            same crops in any run, batch and order.
        grid: look at all crops of a grid with stride 16 instead, which draws nothing.
    """

    seed: int | None = FROM_CONTENT
    grid: bool = False

    def __call__(self, image: Image.Image) -> NDArray[Any]:
        plane = low_bits(image)
        corners = self.corners(image)
        scores = [texture(crop(plane, corner)) for corner in corners]
        best = crop(plane, corners[int(np.argmax(scores))])
        return np.ascontiguousarray(resize(best, SIZE, SIZE).transpose(2, 0, 1))

    def __str__(self) -> str:
        if self.grid:
            return f"low3-patch({PATCH},grid {GRID_STRIDE}) > opencv-squash({SIZE}x{SIZE},bilinear)"
        seed = "content" if self.seed is None else self.seed
        return f"low3-patch({PATCH},{CROPS} random,seed {seed}) > opencv-squash({SIZE}x{SIZE},bilinear)"

    def size(self, before: tuple[int, int] | None) -> tuple[int, int] | None:
        return (SIZE, SIZE)

    def corners(self, image: Image.Image) -> NDArray[np.int64]:
        """Return (top, left) of every crop looked at: (64, 2), or (N, 2) of the grid."""
        height, width = low_bits(image).shape[:2]
        if self.grid:
            return np.array([(top, left) for top in _grid(height) for left in _grid(width)])
        seed = zlib.crc32(image.tobytes()) if self.seed is None else self.seed
        return _random_corners(height, width, seed=seed)


def low_bits(image: Image.Image) -> NDArray[np.uint8]:
    """Return the three lowest bits of every byte, times 36: (H, W, 3) uint8 in 0..252; 256 x 256 when too small."""
    plane: NDArray[np.uint8] = (np.asarray(image, dtype=np.uint8) & np.uint8(7)) * np.uint8(36)
    if min(image.size) >= PATCH:
        return plane
    return np.asarray(Image.fromarray(plane).resize((SIZE, SIZE), Image.Resampling.BILINEAR))


def texture(patch: NDArray[np.uint8]) -> int:
    """Return the sum of absolute differences along both axes and both diagonals, over all channels."""
    values = patch.astype(np.int64)
    pairs = (
        (values[:, :-1], values[:, 1:]),
        (values[:-1], values[1:]),
        (values[:-1, :-1], values[1:, 1:]),
        (values[1:, :-1], values[:-1, 1:]),
    )
    return int(sum(np.abs(first - second).sum() for first, second in pairs))


def crop(plane: NDArray[np.uint8], corner: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Return the crop of a plane at (top, left): (32, 32, 3) uint8."""
    top, left = (int(value) for value in corner)
    return plane[top : top + PATCH, left : left + PATCH]


def _grid(length: int) -> list[int]:
    last = length - PATCH
    return sorted({*range(0, last + 1, GRID_STRIDE), last})


def _random_corners(height: int, width: int, *, seed: int) -> NDArray[np.int64]:
    """Return what 64 ``RandomCrop(32)`` of torchvision draw after ``torch.manual_seed(seed)``: (64, 2).

    torch's CPU generator is the Mersenne twister that numpy's legacy generator is; ``randint`` takes one 32-bit word
    modulo the range, row before column, and draws nothing where only one crop fits.
    """
    if (height, width) == (PATCH, PATCH):
        return np.zeros((CROPS, 2), dtype=np.int64)
    words: NDArray[np.int64] = (
        np.random.RandomState(seed).randint(0, 1 << 32, size=(CROPS, 2), dtype=np.uint32).astype(np.int64)
    )
    corners: NDArray[np.int64] = words % np.array([height - PATCH + 1, width - PATCH + 1])
    return corners
