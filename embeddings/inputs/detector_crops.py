"""Crops that one detector each was trained behind: spectrum's, DIRE's, SPAI's tiles, OmniDFA's and Fleet's pairs."""

from dataclasses import dataclass
from typing import Any, final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fewshot.embeddings.inputs.transforms import AtLeast, CenterCrop, Resize, Squash, Step, pillow_resize

TILE, LEAST_TILES = 224, 4  # mever-team/spai @ 8ff7b3b, configs/spai.yaml


@final
@dataclass(frozen=True)
class CropAtMost(Step):
    """Cut ``pixels`` x ``pixels`` from the middle of a larger image; a smaller side stays as it is."""

    pixels: int

    def __call__(self, image: Image.Image) -> Image.Image:
        width, height = (min(side, self.pixels) for side in image.size)
        left, top = (image.width - width) // 2, (image.height - height) // 2
        return image.crop((left, top, left + width, top + height))

    def __str__(self) -> str:
        return f"crop-at-most({self.pixels})"

    def size(self, before: tuple[int, int] | None) -> tuple[int, int] | None:
        """Return None: a smaller image keeps its size."""
        return None


@final
@dataclass(frozen=True)
class AdmCrop(Step):
    """guided-diffusion's ``center_crop_arr``: halve by boxes while twice too large, bicubic, crop the middle."""

    pixels: int

    def __call__(self, image: Image.Image) -> Image.Image:
        while min(image.size) >= 2 * self.pixels:
            image = image.resize((image.width // 2, image.height // 2), Image.Resampling.BOX)
        scale = self.pixels / min(image.size)
        size = (round(image.width * scale), round(image.height * scale))
        return CenterCrop(self.pixels, self.pixels, "down")(image.resize(size, Image.Resampling.BICUBIC))

    def __str__(self) -> str:
        return f"adm-crop({self.pixels})"

    def size(self, before: tuple[int, int] | None) -> tuple[int, int] | None:
        return (self.pixels, self.pixels)


@final
@dataclass(frozen=True)
class CropAndWhole(Step):
    """The middle of an image at its native size beside the middle of all of it made small: (2, 3, P, P) float32.

    Values lie between 0 and 1. As OmniDFA (teheperinko541/OmniDFA @ 35b9052, datasets/omnifake.py) an image whose
    shorter side has fewer than ``least`` pixels is enlarged first, and the whole is shrunk as float planes, antialiased
    bilinear, without rounding to bytes. Theirs crops at random places, and enlarges by a filter drawn at random.

    Args:
        pixels: P, height and width of both.
        least: pixels of the shorter side.
    """

    pixels: int
    least: int

    def __call__(self, image: Image.Image) -> NDArray[Any]:
        image = self._enlarged(image)
        crop = np.asarray(CenterCrop(self.pixels, self.pixels)(image), dtype=np.float32) / np.float32(255)
        return np.stack([crop.transpose(2, 0, 1), np.stack([self._shrunk(band) for band in image.split()])])

    def _enlarged(self, image: Image.Image) -> Image.Image:
        scale = self.least / min(image.size)
        if scale <= 1:
            return image
        width, height = (round(side * scale) for side in image.size)
        return image.resize((width, height), Image.Resampling.BILINEAR)

    def _shrunk(self, band: Image.Image) -> NDArray[np.float32]:
        plane = Image.fromarray(np.asarray(band, dtype=np.float32) / np.float32(255))
        width, height = (int(self.pixels * side / min(band.size)) for side in band.size)  # torchvision's Resize
        left, top = round((width - self.pixels) / 2.0), round((height - self.pixels) / 2.0)
        shrunk = plane.resize((width, height), Image.Resampling.BILINEAR)
        return np.asarray(shrunk.crop((left, top, left + self.pixels, top + self.pixels)))

    def __str__(self) -> str:
        return f"crop-and-whole({self.pixels}x{self.pixels},at least {self.least})"

    def size(self, before: tuple[int, int] | None) -> tuple[int, int] | None:
        return (self.pixels, self.pixels)


@final
@dataclass(frozen=True)
class Tiles(Step):
    """Cut an image at its native size into 224-pixel tiles: (P, 3, 224, 224) uint8.

    The last rows and columns that fill no tile are left out; fewer than four tiles give way to the four corners and the
    middle. A smaller image stands in the middle of black.
    """

    def __call__(self, image: Image.Image) -> NDArray[Any]:
        pixels = np.asarray(image).transpose(2, 0, 1)
        height, width = pixels.shape[1:]
        rows, columns = max(TILE - height, 0), max(TILE - width, 0)
        margins = ((0, 0), (rows // 2, rows - rows // 2), (columns // 2, columns - columns // 2))
        pixels = np.pad(pixels, margins)
        return np.stack([pixels[:, top : top + TILE, left : left + TILE] for top, left in _corners(*pixels.shape[1:])])

    def __str__(self) -> str:
        return f"tiles({TILE}x{TILE},at least {LEAST_TILES} or five crops)"

    def size(self, before: tuple[int, int] | None) -> tuple[int, int] | None:
        return (TILE, TILE)


@final
@dataclass(frozen=True)
class SquashBesideCrop(Step):
    """The whole image resized, and beside it a crop of its native pixels: (3, whole, whole + crop) uint8.

    The crop is the middle of the image, which is enlarged first where a side is smaller; below the crop is black.
    Source: Fleet, ICTMCG/Fleet @ fab6b41, whose two branches see one image in these two ways when it evaluates.

    Args:
        whole: pixels of a side of the resized image; crop: of the crop, at most as many.
    """

    whole: int
    crop: int

    def __post_init__(self) -> None:
        if not 1 <= self.crop <= self.whole:
            raise ValueError(f"a crop of {self.crop} pixels does not stand beside an image of {self.whole}")

    def __call__(self, image: Image.Image) -> NDArray[Any]:
        return self.by(image, pillow_resize)

    def by(self, image: Image.Image, resize: Resize) -> NDArray[Any]:
        """Return both, side by side."""
        squashed = Squash(self.whole, self.whole).by(image, resize)
        cut = CenterCrop(self.crop, self.crop, "down")(AtLeast(self.crop).by(image, resize))
        found = np.zeros((3, self.whole, self.whole + self.crop), np.uint8)
        found[:, :, : self.whole] = np.asarray(squashed).transpose(2, 0, 1)
        found[:, : self.crop, self.whole :] = np.asarray(cut).transpose(2, 0, 1)
        return found

    def __str__(self) -> str:
        return f"squash({self.whole}x{self.whole},bilinear) beside center-crop({self.crop}x{self.crop},down)"

    def size(self, before: tuple[int, int] | None) -> tuple[int, int] | None:
        return (self.whole, self.whole + self.crop)


def _corners(height: int, width: int) -> list[tuple[int, int]]:
    tiles = [(top, left) for top in range(0, height - TILE + 1, TILE) for left in range(0, width - TILE + 1, TILE)]
    if len(tiles) >= LEAST_TILES:
        return tiles
    bottom, right = height - TILE, width - TILE
    # torchvision's five_crop
    return [(0, 0), (0, right), (bottom, 0), (bottom, right), (round(bottom / 2.0), round(right / 2.0))]
