"""Named perturbations, applied to every image alike: on decoded pixels before resizing, or on the float input after it.

A view is written as users type it. Pixel views act on the decoded RGB image and chain with ``+``::

    clean  jpeg:75  webp:80  blur:1.0  resize:0.5  crop:0.8  noise:0.05  resize:0.5+jpeg:75

Input views act on the network's input tensor, after resizing and cropping::

    input-noise:0.05              Gaussian noise in normalised units, no clipping (RIGID)
    input-noise:0.009:unit        in [0, 1] units, clipped to [0, 1], before normalisation (MINDER)
    input-noise:0.009:unit:2      another draw, numbered from 0
    input-blur:0.55               3x3 Gaussian in [0, 1] units, reflected border
    input-unsharp:0.55            clip(2 x - blur(x)) in [0, 1] units

Noise follows from the image's pixel hash and the view's name alone, never from batch or order. No torch is imported
here: pixel views run in worker processes.
"""

import hashlib
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image

from fewshot.core.arrays import ByteArray, Float32Array, Float64Array
from fewshot.core.errors import OptionError, unknown_name
from fewshot.embeddings.layer_key import CLEAN

Unit = Literal["normalised", "unit"]
_TRUNCATE_SIGMAS = 4.0  # as scipy.ndimage.gaussian_filter
_MOST_SIDE = {"JPEG": 65_500, "WEBP": 16_383}  # JPEG_MAX_DIMENSION of libjpeg, WEBP_MAX_DIMENSION of libwebp


@dataclass(frozen=True)
class PixelStep:
    """One perturbation of decoded pixels with its number, for example ``jpeg:75``."""

    kind: str
    amount: float

    def __str__(self) -> str:
        return f"{self.kind}:{self.amount:g}"


@dataclass(frozen=True)
class InputStep:
    """One perturbation of the network's input.

    Args:
        kind: ``input-noise``, ``input-blur`` or ``input-unsharp``.
        sigma: standard deviation, of the noise in ``unit``s or of the blur in pixels.
        unit: ``normalised`` = after mean and std, not clipped; ``unit`` = in [0, 1] before them, clipped.
        draw: number of the noise draw.
    """

    kind: str
    sigma: float
    unit: Unit
    draw: int = 0


@dataclass(frozen=True)
class View:
    """A parsed view: its canonical name, its pixel steps in order, and at most one input step at the end."""

    name: str
    pixels: tuple[PixelStep, ...] = ()
    input: InputStep | None = None

    @property
    def pixel_name(self) -> str:
        """The name of the pixel part alone; views that share it share its computation."""
        return "+".join(map(str, self.pixels)) or CLEAN


@dataclass(frozen=True)
class ViewKind:
    """One kind of perturbation as ``fewshot list views`` shows it."""

    name: str
    argument: str
    what: str


KINDS = (
    ViewKind("clean", "", "the image as decoded"),
    ViewKind("jpeg", "QUALITY 1-100", "JPEG encoding, Pillow's defaults (4:2:0 chroma)"),
    ViewKind("webp", "QUALITY 1-100", "lossy WebP encoding"),
    ViewKind("blur", "SIGMA pixels", "Gaussian blur, reflected border"),
    ViewKind("resize", "SCALE", "bicubic resize of both sides by the factor, not resized back"),
    ViewKind("crop", "SCALE 0-1", "centre crop to this share of both sides"),
    ViewKind("noise", "SIGMA in [0, 1] units", "Gaussian noise, rounded to bytes, seeded by the image's pixels"),
    ViewKind("input-noise", "SIGMA[:normalised|unit[:DRAW]]", "Gaussian noise on the network's input"),
    ViewKind("input-blur", "SIGMA pixels", "3x3 Gaussian blur of the network's input in [0, 1] units"),
    ViewKind("input-unsharp", "SIGMA pixels", "clip(2 x - blur(x)) of the network's input in [0, 1] units"),
)


def parse(text: str) -> View:
    """Return the view of ``text``; equal views get equal names (``jpeg:75.0`` is ``jpeg:75``).

    >>> parse("resize:0.50+jpeg:75").name
    'resize:0.5+jpeg:75'

    Raises:
        UnknownNameError: no such perturbation.
        OptionError: its number is missing or out of range, or an input perturbation is not the last of a chain.
    """
    parts = text.strip().split("+")
    steps = [_step(part.strip(), text) for part in parts if part.strip() != CLEAN]
    pixels = tuple(step for step in steps if isinstance(step, PixelStep))
    inputs = [step for step in steps if isinstance(step, InputStep)]
    if len(inputs) > 1 or (inputs and steps[-1] is not inputs[0]):
        raise OptionError(f"view {text!r}: one perturbation of the input may follow those of the pixels, at the end")
    last = inputs[0] if inputs else None
    names = [str(step) for step in pixels] + ([_input_name(last)] if last else [])
    return View("+".join(names) or CLEAN, pixels, last)


def perturb(image: Image.Image, steps: tuple[PixelStep, ...], *, pixel_id: str) -> Image.Image:
    """Return the RGB image after the pixel steps; noise is seeded by ``pixel_id`` (of the unperturbed image)."""
    done = ""
    for step in steps:
        done += f"+{step}"
        image = _PIXELS[step.kind](image, step.amount, f"{pixel_id}{done}")
    return image


def noise(shape: tuple[int, ...], *, seed: str) -> Float32Array:
    """Return standard normal noise that follows from ``seed`` alone: float32 of ``shape``."""
    key = np.frombuffer(hashlib.sha256(seed.encode()).digest()[:16], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=key)).standard_normal(shape, dtype=np.float32)


def input_noise(shape: tuple[int, ...], step: InputStep, *, pixel_id: str) -> Float32Array:
    """Return the unscaled noise of one image's input: (C, H, W) float32."""
    return noise(shape, seed=f"{pixel_id} input-noise draw {step.draw}")


def gaussian_weights(sigma: float, *, radius: int) -> Float64Array:
    """Return normalised Gaussian weights: (2 radius + 1,)."""
    offsets = np.arange(-radius, radius + 1)
    weights = np.exp(-0.5 * (offsets / sigma) ** 2)
    return np.asarray(weights / weights.sum(), dtype=np.float64)


# -- parsing -----------------------------------------------------------------------------------------------------------

_LIMITS: Mapping[str, tuple[float, float]] = {
    "jpeg": (1, 100),
    "webp": (1, 100),
    "blur": (0.05, 100),
    "resize": (0.01, 10),
    "crop": (0.01, 1),
    "noise": (0, 1),
    "input-noise": (0, 10),
    "input-blur": (0.05, 100),
    "input-unsharp": (0.05, 100),
}


def _step(part: str, whole: str) -> PixelStep | InputStep:
    kind, *arguments = part.split(":")
    if kind not in _LIMITS:
        raise unknown_name("view", kind, [known.name for known in KINDS])
    low, high = _LIMITS[kind]
    amount = _number(arguments[0] if arguments else "", part=part, whole=whole)
    if not low <= amount <= high:
        raise OptionError(f"view {whole!r}: {kind} takes {low:g} to {high:g}, and got {amount:g}")
    if kind in ("jpeg", "webp") and amount != int(amount):
        raise OptionError(f"view {whole!r}: {kind} takes a whole number, and got {amount:g}")
    if kind == "input-noise":
        return _noise_step(amount, arguments[1:], whole)
    if len(arguments) > 1:
        raise OptionError(f"view {whole!r}: {kind} takes one number, and got {':'.join(arguments)!r}")
    return InputStep(kind, amount, "unit") if kind.startswith("input-") else PixelStep(kind, amount)


def _number(text: str, *, part: str, whole: str) -> float:
    try:
        return float(text)
    except ValueError:
        example = next(f"{kind.name}:{kind.argument}" for kind in KINDS if kind.name == part.split(":")[0])
        raise OptionError(f"view {whole!r}: {part!r} needs a number, as in {example!r}") from None


def _noise_step(sigma: float, arguments: list[str], whole: str) -> InputStep:
    unit = arguments[0] if arguments else "normalised"
    draw = arguments[1] if len(arguments) > 1 else "0"
    if unit not in ("normalised", "unit") or not draw.isdecimal() or len(arguments) > 2:
        raise OptionError(f"view {whole!r}: write input-noise:SIGMA, then :normalised or :unit, then :DRAW (0, 1 ...)")
    return InputStep("input-noise", sigma, "unit" if unit == "unit" else "normalised", int(draw))


def _input_name(step: InputStep) -> str:
    name = f"{step.kind}:{step.sigma:g}"
    if step.kind != "input-noise" or (step.unit == "normalised" and step.draw == 0):
        return name
    return f"{name}:{step.unit}" + (f":{step.draw}" if step.draw else "")


# -- pixels ------------------------------------------------------------------------------------------------------------


def _jpeg(image: Image.Image, quality: float, _: str) -> Image.Image:
    return _recoded(image, "JPEG", int(quality))


def _webp(image: Image.Image, quality: float, _: str) -> Image.Image:
    return _recoded(image, "WEBP", int(quality))


def _recoded(image: Image.Image, container: str, quality: int) -> Image.Image:
    limit = _MOST_SIDE[container]
    if max(image.size) > limit:
        raise ValueError(f"{image.width}x{image.height} pixels, and {container} holds at most {limit} on a side")
    stream = io.BytesIO()
    image.save(stream, container, quality=quality)
    return Image.open(io.BytesIO(stream.getvalue())).convert("RGB")


def _resize(image: Image.Image, scale: float, _: str) -> Image.Image:
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.resize(size, Image.Resampling.BICUBIC)


def _crop(image: Image.Image, scale: float, _: str) -> Image.Image:
    width, height = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height))


def _noise(image: Image.Image, sigma: float, seed: str) -> Image.Image:
    pixels = np.asarray(image, dtype=np.float32)
    return _from_float(pixels + np.float32(sigma * 255) * noise(pixels.shape, seed=seed))


def _blur(image: Image.Image, sigma: float, _: str) -> Image.Image:
    radius = int(_TRUNCATE_SIGMAS * sigma + 0.5)
    weights = gaussian_weights(sigma, radius=radius).astype(np.float32)
    blurred = np.asarray(image, dtype=np.float32)
    for axis in (0, 1):
        blurred = _filtered(blurred, weights, axis=axis)
    return _from_float(blurred)


def _filtered(pixels: Float32Array, weights: Float32Array, *, axis: int) -> Float32Array:
    radius = len(weights) // 2
    margin = [(radius, radius) if number == axis else (0, 0) for number in range(pixels.ndim)]
    padded = np.pad(pixels, margin, mode="symmetric")
    result = np.zeros_like(pixels)
    for offset, weight in enumerate(weights):
        window = [slice(offset, offset + size) if n == axis else slice(None) for n, size in enumerate(pixels.shape)]
        result += weight * padded[tuple(window)]
    return result


def _from_float(pixels: Float32Array) -> Image.Image:
    whole: ByteArray = np.clip(np.rint(pixels), 0, 255).astype(np.uint8)
    return Image.fromarray(whole)


_PIXELS: Mapping[str, Callable[[Image.Image, float, str], Image.Image]] = {
    "jpeg": _jpeg,
    "webp": _webp,
    "resize": _resize,
    "crop": _crop,
    "noise": _noise,
    "blur": _blur,
}
