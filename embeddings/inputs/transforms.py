"""Resize, crop and normalise exactly as a backbone's card says.

A rule has two halves. The *geometry* (its steps) runs on the CPU in worker processes, with Pillow and NumPy only, and
leaves uint8; backbones whose geometry is equal share its result. The *normalisation* runs on the device, on the batch.
No torch is imported here, so that workers start fast and small.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, cast, final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fewshot.core.errors import OptionError

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
        border: ``black``, or ``mirror``: the image goes on as in a mirror whose edge pixel is not repeated.
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


@dataclass(frozen=True)
class InputRule:
    """How an image becomes a network's input.

    Args:
        steps: the geometry, applied in order to the RGB image.
        mean, std: per-channel, applied to ``pixels / divisor``; both None for no normalisation.
        divisor: 255 scales bytes to [0, 1]; 1 leaves them in 0..255.
    """

    steps: tuple[Step, ...] = ()
    mean: Triple | None = None
    std: Triple | None = None
    divisor: float = 255.0

    def __call__(self, image: Image.Image, *, resize: Resize = pillow_resize) -> NDArray[Any]:
        """Return the geometry's result: (3, H, W) uint8, or what a last array step returns."""
        for step in self.steps[:-1]:
            between = step.by(image, resize)
            if not isinstance(between, Image.Image):
                raise TypeError(f"{step} returns an array, so it must be the last step of {self.geometry!r}")
            image = between
        result: Image.Image | NDArray[Any] = self.steps[-1].by(image, resize) if self.steps else image
        if isinstance(result, Image.Image):
            return np.asarray(result).transpose(2, 0, 1).copy()
        return result

    @property
    def geometry(self) -> str:
        """The steps in words; rules of equal geometry share one computation."""
        return " > ".join(str(step) for step in self.steps) or "native"

    @property
    def fixed_size(self) -> tuple[int, int] | None:
        """(height, width) of every result, or None when it depends on the image."""
        size: tuple[int, int] | None = None
        for step in self.steps:
            size = step.size(size)
        return size

    def __str__(self) -> str:
        if self.mean is None:
            scale = "[0, 1]" if self.divisor == 255 else f"/ {self.divisor:g}"
            return f"{self.geometry} > {scale}"
        return f"{self.geometry} > /{self.divisor:g}, mean {self.mean}, std {self.std}"


def rule_to_json(rule: InputRule) -> dict[str, Any]:
    """Return a rule as JSON values: the class and the numbers of every step, then the normalisation."""
    steps = [{"step": type(step).__name__, **asdict(cast(Any, step))} for step in rule.steps]
    return {"steps": steps, "mean": rule.mean, "std": rule.std, "divisor": rule.divisor}


def rule_from_json(document: Mapping[str, Any]) -> InputRule:
    """Return the rule that ``rule_to_json`` gave; its steps are looked up among those that are imported.

    Raises:
        OptionError: no such step, or one that does not take these numbers.
    """
    known = {kind.__name__: kind for kind in Step.__subclasses__()}
    steps = []
    try:
        for entry in document["steps"]:
            numbers = {name: value for name, value in entry.items() if name != "step"}
            steps.append(known[entry["step"]](**numbers))
        mean, std = (None if document[name] is None else tuple(map(float, document[name])) for name in ("mean", "std"))
        return InputRule(tuple(steps), cast(Any, mean), cast(Any, std), float(document["divisor"]))
    except (KeyError, TypeError, ValueError) as error:
        raise OptionError(
            f"the input rule {dict(document)} cannot be used ({type(error).__name__}: {error}); known steps are "
            f"{', '.join(sorted(known))}"
        ) from error
