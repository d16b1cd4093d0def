"""The steps of a geometry: resize, crop, pad and tile exactly as a backbone's card says.

They run on the CPU in worker processes, with Pillow and NumPy only, and leave uint8; backbones whose geometry is equal
share its result. No torch is imported here, so that workers start fast and small.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Interpolation = Literal["nearest", "bilinear", "bicubic"]
Triple = tuple[float, float, float]

IMAGENET_MEAN: Triple = (0.485, 0.456, 0.406)
IMAGENET_STD: Triple = (0.229, 0.224, 0.225)
CLIP_MEAN: Triple = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD: Triple = (0.26862954, 0.26130258, 0.27577711)

_PILLOW = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}


Resize = Callable[[Image.Image, tuple[int, int], Interpolation], Image.Image]  # to (width, height)


def pillow_resize(image: Image.Image, size: tuple[int, int], interpolation: Interpolation) -> Image.Image:
    """Return the RGB image at (width, height) as Pillow, the reference, resizes it."""
    return image.resize(size, _PILLOW[interpolation])


class Step(ABC):
    """One stage of a geometry: RGB image in, RGB image out, or for a last step an array (C, H, W) or (P, C, H, W).

    Steps are frozen dataclasses, so that equal geometries compare and hash equal, pickle to workers, and print as
    their own description.
    """

    @abstractmethod
    def __call__(self, image: Image.Image) -> Image.Image | NDArray[Any]: ...

    def by(self, image: Image.Image, resize: "Resize") -> Image.Image | NDArray[Any]:
        """Return the same with another resizing than Pillow's, for steps that resize; most do not."""
        return self(image)

    @abstractmethod
    def __str__(self) -> str: ...

    def size(self, before: tuple[int, int] | None) -> tuple[int, int] | None:
        """Return (height, width) after this step, None when it depends on the image."""
        return before


@final
@dataclass(frozen=True)
class Squash(Step):
    """Resize to exactly height x width; the aspect ratio is not kept (torchvision ``Resize((h, w))``)."""

    height: int
    width: int
    interpolation: Interpolation = "bilinear"

    def __call__(self, image: Image.Image) -> Image.Image:
        return self.by(image, pillow_resize)

    def by(self, image: Image.Image, resize: Resize) -> Image.Image:
        """Return the resized image."""
        if image.size == (self.width, self.height):
            return image
        return resize(image, (self.width, self.height), self.interpolation)

    def __str__(self) -> str:
        return f"squash({self.height}x{self.width},{self.interpolation})"

    def size(self, before: tuple[int, int] | None) -> tuple[int, int] | None:
        return (self.height, self.width)


@final
@dataclass(frozen=True)
class FloatSquash(Step):
    """Scale bytes to [0, 1] and resize the float planes to exactly height x width, antialiased bilinear.

    The order of Hugging Face's fast processors (rescale, then resize a float tensor): rounding to bytes in between, as
    ``Squash`` does, differs by up to 0.0175 after normalisation. A last step: (3, height, width) float32.
    """

    height: int
    width: int

    def __call__(self, image: Image.Image) -> NDArray[Any]:
        planes = [np.asarray(band, dtype=np.float32) / np.float32(255) for band in image.split()]
        size = (self.width, self.height)
        return np.stack([np.asarray(Image.fromarray(plane).resize(size, _PILLOW["bilinear"])) for plane in planes])

    def __str__(self) -> str:
        return f"float-squash({self.height}x{self.width},bilinear)"

    def size(self, before: tuple[int, int] | None) -> tuple[int, int] | None:
        return (self.height, self.width)


@final
@dataclass(frozen=True)
class ShorterSide(Step):
    """Resize so that the shorter side has ``pixels``; the longer one is truncated (torchvision ``Resize(int)``)."""

    pixels: int
    interpolation: Interpolation = "bilinear"

    def __call__(self, image: Image.Image) -> Image.Image:
        return self.by(image, pillow_resize)

    def by(self, image: Image.Image, resize: Resize) -> Image.Image:
        """Return the resized image."""
        width, height = image.size
        short, long = min(width, height), max(width, height)
        if short == self.pixels:
            return image
        longer = int(self.pixels * long / short)
        size = (self.pixels, longer) if width <= height else (longer, self.pixels)
        return resize(image, size, self.interpolation)

    def __str__(self) -> str:
        return f"shorter-side({self.pixels},{self.interpolation})"

    def size(self, before: tuple[int, int] | None) -> tuple[int, int] | None:
        return None


@final
@dataclass(frozen=True)
class CenterCrop(Step):
    """Cut height x width from the middle; smaller images are padded with black (torchvision ``CenterCrop``).

    Where the margin is odd, torchvision rounds half to even; ``rounding="down"`` is the rule of Hugging Face's
    processors and of albumentations.
    """

    height: int
    width: int
    rounding: Literal["half-even", "down"] = "half-even"

    def __call__(self, image: Image.Image) -> Image.Image:
        width, height = image.size
        if width < self.width or height < self.height:
            left, top = max(self.width - width, 0) // 2, max(self.height - height, 0) // 2
            canvas = Image.new("RGB", (max(width, self.width), max(height, self.height)))
            canvas.paste(image, (left, top))
            image, (width, height) = canvas, canvas.size
        # torchvision: int(round((h - ch) / 2.0))
        margins = ((height - self.height) / 2.0, (width - self.width) / 2.0)
        top, left = (int(margin) if self.rounding == "down" else round(margin) for margin in margins)
        return image.crop((left, top, left + self.width, top + self.height))

    def __str__(self) -> str:
        return f"center-crop({self.height}x{self.width}{',down' if self.rounding == 'down' else ''})"

    def size(self, before: tuple[int, int] | None) -> tuple[int, int] | None:
        return (self.height, self.width)


@final
@dataclass(frozen=True)
class PadTo(Step):
    """Pad both sides to at least ``pixels``, the image in the middle (albumentations ``PadIfNeeded``).

    Args:
        pixels: least height and width.
        border: ``black``, or ``mirror``: the image continues as in a mirror whose edge pixel is not repeated.
    """

    pixels: int
    border: Literal["black", "mirror"] = "black"

    def __call__(self, image: Image.Image) -> Image.Image:
        width, height = image.size
        margins = [(missing // 2, missing - missing // 2) for missing in self._missing(height, width)]
        if not any(map(any, margins)):
            return image
        mode: Literal["constant", "reflect"] = "constant" if self.border == "black" else "reflect"
        return Image.fromarray(np.pad(np.asarray(image), [*margins, (0, 0)], mode=mode))

    def _missing(self, height: int, width: int) -> tuple[int, int]:
        return max(self.pixels - height, 0), max(self.pixels - width, 0)

    def __str__(self) -> str:
        return f"pad-to({self.pixels},{self.border})"

    def size(self, before: tuple[int, int] | None) -> tuple[int, int] | None:
        return None


@final
@dataclass(frozen=True)
class AtLeast(Step):
    """Enlarge an image whose shorter side has fewer than ``pixels``, bilinear; leave others untouched."""

    pixels: int

    def __call__(self, image: Image.Image) -> Image.Image:
        return self.by(image, pillow_resize)

    def by(self, image: Image.Image, resize: Resize) -> Image.Image:
        """Return the enlarged image."""
        return image if min(image.size) >= self.pixels else ShorterSide(self.pixels).by(image, resize)

    def __str__(self) -> str:
        return f"at-least({self.pixels})"

    def size(self, before: tuple[int, int] | None) -> tuple[int, int] | None:
        return None


@final
@dataclass(frozen=True)
class TileTo(Step):
    """Repeat an image smaller than ``pixels`` on a side until both sides have at least that many."""

    pixels: int

    def __call__(self, image: Image.Image) -> Image.Image:
        width, height = image.size
        if min(width, height) >= self.pixels:
            return image
        canvas = Image.new("RGB", (_multiple(width, self.pixels), _multiple(height, self.pixels)))
        for left in range(0, canvas.width, width):
            for top in range(0, canvas.height, height):
                canvas.paste(image, (left, top))
        return canvas

    def __str__(self) -> str:
        return f"tile-to({self.pixels})"

    def size(self, before: tuple[int, int] | None) -> tuple[int, int] | None:
        return None


def _multiple(length: int, least: int) -> int:
    return length * max(1, -(-least // length))


# How the detectors' benchmarks (AIGCDetectBenchmark, FiSeR's copies) test at 224 pixels.
SHORTER_256_CROP_224: tuple[Step, ...] = (ShorterSide(256), CenterCrop(224, 224))
