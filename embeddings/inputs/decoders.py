"""The decoders by name: Pillow, the reference, and torchvision's, which resize faster (docs/decisions/0011).

A faster decoder reads the pixels of JPEG and WebP and resizes bytes. Pillow still reads every header, so that metadata,
limits and refusals are the same, and whatever the faster one cannot read is Pillow's to read or to refuse. PNG stays
with Pillow: both spend their time in zlib. Only a process that was asked for torchvision imports it.
"""

import warnings
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from fewshot.core.errors import DeviceError, unknown_name
from fewshot.embeddings.inputs.images import (
    ImageMetadata,
    UnreadableImage,
    as_unreadable,
    decode,
    decoder_version,
    metadata_of,
    open_header,
)
from fewshot.embeddings.inputs.integrity import require_sound
from fewshot.embeddings.inputs.transforms import Interpolation, Resize, pillow_resize

if TYPE_CHECKING:
    import torch

PILLOW = "pillow"
DECODERS = (PILLOW, "torchvision", "nvjpeg")
_FAST_MODES = ("RGB", "RGBA", "L")  # CMYK, animations and the rest are Pillow's

Decoder = Callable[[bytes], tuple[Image.Image, ImageMetadata]]


@cache
def decoder_of(name: str) -> Decoder:
    """Return the decoder: from a file's bytes to the RGB image and its metadata; it raises UnreadableImage.

    Args:
        name: ``pillow``; ``torchvision`` (libjpeg-turbo and libwebp of torchvision, on the processor); ``nvjpeg`` (JPEG
            by nvJPEG on the GPU, copied back).

    Raises:
        UnknownNameError: no such decoder.
        DeviceError: nvJPEG without CUDA.
    """
    if name not in DECODERS:
        raise unknown_name("decoder", name, DECODERS)
    if name == PILLOW:
        return decode
    device = "cuda" if name == "nvjpeg" else "cpu"
    _require(name, device)

    def fast(encoded: bytes) -> tuple[Image.Image, ImageMetadata]:
        try:
            image = open_header(encoded)
        except UnreadableImage:  # the reference says what it is, and may read it in another way
            return decode(encoded)
        with as_unreadable(encoded):
            pixels = _pixels(image, encoded, device)
            if pixels is None or pixels.shape != (image.height, image.width, 3):
                return decode(encoded)
            require_sound(image, encoded)
            rgb = Image.fromarray(pixels)
            return rgb, metadata_of(image, rgb, encoded)

    return fast


@cache
def resize_of(name: str) -> Resize:
    """Return what resizes images for a decoder: Pillow for its own, torch's antialiased resizing of bytes else."""
    return pillow_resize if name == PILLOW else _torch_resize


def version_of(name: str) -> str:
    """Return a decoder with everything that can move a pixel, for the provenance of features."""
    if name == PILLOW:
        return decoder_version()
    import torchvision

    return f"{name} of torchvision {torchvision.__version__}, else {decoder_version()}"


def _torch_resize(image: Image.Image, size: tuple[int, int], interpolation: Interpolation) -> Image.Image:
    if interpolation == "nearest":
        return pillow_resize(image, size, interpolation)
    import torch

    planes = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None]
    width, height = size
    resized = torch.nn.functional.interpolate(planes, size=(height, width), mode=interpolation, antialias=True)
    return Image.fromarray(np.ascontiguousarray(resized[0].permute(1, 2, 0).numpy()))


def _require(name: str, device: str) -> None:
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        raise DeviceError(f"--decoder {name} needs a CUDA device, and this machine has none usable; give torchvision")


def _pixels(image: Image.Image, encoded: bytes, device: str) -> "np.ndarray[Any, np.dtype[np.uint8]] | None":
    """Return (H, W, 3) uint8, or None where the reference must decode."""
    if image.format not in ("JPEG", "WEBP") or image.mode not in _FAST_MODES or getattr(image, "n_frames", 1) != 1:
        return None
    try:
        tensor = _read(image.format, encoded, device)
    except RuntimeError:  # truncated, damaged, or of a kind it does not know: the reference says what it is
        return None
    return np.ascontiguousarray(tensor.permute(1, 2, 0).cpu().numpy())


def _read(container: str, encoded: bytes, device: str) -> "torch.Tensor":
    import torch
    from torchvision.io import ImageReadMode, decode_jpeg, decode_webp

    file = torch.frombuffer(bytearray(encoded), dtype=torch.uint8)
    rgb = ImageReadMode.RGB
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # since torchvision 0.29, in favour of torchcodec
        pixels: torch.Tensor = (
            decode_webp(file, mode=rgb) if container == "WEBP" else decode_jpeg(file, mode=rgb, device=device)
        )
    return pixels
