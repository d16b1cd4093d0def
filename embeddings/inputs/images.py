"""Decode image files to RGB pixels: what counts as unreadable or hostile, and what a file says of itself.

Pixels are exactly Pillow's ``convert("RGB")`` of the first frame, without turning by EXIF. A truncated, empty or
over-large file is an error with a reason; nothing is ever padded or filled.
"""

import hashlib
import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, UnidentifiedImageError, features
from PIL import __version__ as pillow_version

from fewshot.core.arrays import ByteArray, Float64Array

Reason = Literal["missing", "unreadable", "empty", "not-an-image", "truncated", "damaged", "bomb", "mode", "changed"]

# Raster formats only: Pillow's EPS reader would start another program, and it has no PDF reader.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "JPEG2000", "AVIF", "PPM", "TGA", "ICO")
_SUFFIXES = "jpg jpeg jpe jfif mpo png apng webp gif bmp tif tiff jp2 j2k avif ppm pgm pbm tga ico"
SUFFIXES = frozenset(f".{suffix}" for suffix in re.split(" ", _SUFFIXES))
MAX_PIXELS = 178_956_970  # twice Pillow's default warning limit (89,478,485), the size at which Pillow itself refuses
# ITU-T T.81 table K.1
_IJG_LUMINANCE = (
    "16 11 10 16 24 40 51 61 12 12 14 19 26 58 60 55 "
    "14 13 16 24 40 57 69 56 14 17 22 29 51 87 80 62 "
    "18 22 37 56 68 109 103 77 24 35 55 64 81 104 113 92 "
    "49 64 78 87 103 121 120 101 72 92 95 98 112 100 103 99 "
)
_HASH_SIZE, _HASH_SAMPLES = 8, 32


class UnreadableImage(Exception):
    """One image cannot be used; ``reason`` is the kind and the text says what was found."""

    def __init__(self, reason: Reason, text: str) -> None:
        super().__init__(f"{reason}: {text}")
        self.reason = reason


@dataclass(frozen=True)
class ImageMetadata:
    """What a store keeps of one image file; the fields are columns of ``schema.COLUMNS``.

    Args:
        id: SHA-256 of height, width and RGB pixels (hex).
        phash: 64-bit perceptual hash of the RGB pixels.
        format: container format as Pillow names it; mode: Pillow's mode before conversion, for example ``CMYK``.
        jpeg_quality: nearest quality of the IJG tables, -1 when not JPEG.
        quantisation: first 16 hex digits of the SHA-256 of the quantisation tables, empty when not JPEG.
        metadata: what else the file carries, comma-separated: exif, icc, xmp, c2pa, text, frames=N.
        width, height: pixels. file_size: bytes. file_sha256: of the bytes (hex).
    """

    id: str
    phash: int
    format: str
    mode: str
    jpeg_quality: int
    quantisation: str
    metadata: str
    width: int
    height: int
    file_size: int
    file_sha256: str

    def columns(self) -> dict[str, Any]:
        """Return {column: value}."""
        return asdict(self)


def decode(encoded: bytes) -> tuple[Image.Image, ImageMetadata]:
    """Return the RGB image and the metadata of one file's bytes, decoded by Pillow, the reference.

    Raises:
        UnreadableImage: empty, not an image, truncated, damaged, of too many pixels, or of a mode without a range.
    """
    image = open_image(encoded)
    rgb = _rgb(image)
    return rgb, metadata_of(image, rgb, encoded)


def metadata_of(image: Image.Image, rgb: Image.Image, encoded: bytes) -> ImageMetadata:
    """Return the metadata of one file.

    Args:
        image: as Pillow opened it; rgb: its pixels, whoever decoded them; encoded: the file's bytes.
    """
    return ImageMetadata(
        id=pixel_id(np.asarray(rgb)),
        phash=perceptual_hash(rgb),
        format=str(image.format),
        mode=image.mode,
        jpeg_quality=jpeg_quality(image),
        quantisation=quantisation_digest(image),
        metadata=metadata_kinds(image, encoded),
        width=rgb.width,
        height=rgb.height,
        file_size=len(encoded),
        file_sha256=hashlib.sha256(encoded).hexdigest(),
    )


def open_image(encoded: bytes) -> Image.Image:
    """Return the first frame, fully decoded, in the file's own mode; raise UnreadableImage with the reason."""
    image = open_header(encoded)
    # Another library in this process may have switched the padding of truncated files on; grey padding is a signal.
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    with _as_unreadable(encoded):
        image.load()
    return image


def open_header(encoded: bytes) -> Image.Image:
    """Return the image with its header read and its pixels not yet; raise UnreadableImage with the reason."""
    if not encoded:
        raise UnreadableImage("empty", "the file has no bytes")
    with _as_unreadable(encoded):
        image = Image.open(io.BytesIO(encoded), formats=_formats())
        if image.width * image.height > MAX_PIXELS:
            raise UnreadableImage("bomb", f"{image.width}x{image.height} pixels, and the limit is {MAX_PIXELS}")
    return image


@contextmanager
def _as_unreadable(encoded: bytes) -> Iterator[None]:
    """Turn whatever Pillow raises into UnreadableImage with its reason."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # oddities that Pillow can read; bombs are judged by their size
            yield
    except UnidentifiedImageError as error:
        raise UnreadableImage("not-an-image", f"{len(encoded)} bytes of no known format") from error
    except Image.DecompressionBombError as error:
        raise UnreadableImage("bomb", str(error)) from error
    except UnreadableImage:
        raise
    except Exception as error:  # Pillow's plug-ins raise OSError, SyntaxError, ValueError, struct.error, IndexError ...
        kind: Reason = "truncated" if "truncated" in str(error).lower() else "damaged"
        raise UnreadableImage(kind, f"{type(error).__name__}: {error}") from error


@cache
def _formats() -> tuple[str, ...]:
    """Return the formats of ours that this Pillow was built with."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _rgb(image: Image.Image) -> Image.Image:
    """Return 8-bit RGB; 16-bit grey keeps its high byte, as Pillow does for 16-bit colour."""
    if image.mode.startswith("I;16"):
        grey = np.asarray(image).astype(np.uint16) >> 8
        return Image.fromarray(grey.astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        raise UnreadableImage("mode", f"mode {image.mode!r} (32-bit values) has no defined range")
    return image if image.mode == "RGB" else image.convert("RGB")


def pixel_id(pixels: ByteArray) -> str:
    """Return the SHA-256 (hex) of height, width (8 bytes each, little-endian) and RGB pixels (H, W, 3) uint8."""
    height, width, _ = pixels.shape
    digest = hashlib.sha256(height.to_bytes(8, "little") + width.to_bytes(8, "little"))
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.hexdigest()


def perceptual_hash(image: Image.Image) -> int:
    """Return the 64-bit DCT hash: signs of the 8x8 lowest frequencies of a 32x32 grey copy about their median.

    Zauner 2010, "Implementation and benchmarking of perceptual image hash functions", section 3.2.1. Bit 63 is the
    constant term; equal pictures after recompression or resizing differ in few bits.
    """
    grey = image.convert("L").resize((_HASH_SAMPLES, _HASH_SAMPLES), Image.Resampling.BOX)
    basis = _dct_basis()
    low = basis @ np.asarray(grey, dtype=np.float64) @ basis.T
    # Rounded, so that the last bit of a sum decides no sign on flat pictures.
    bits = np.round(low, 6) > np.round(np.median(low), 6)
    return int.from_bytes(np.packbits(bits.reshape(-1)).tobytes(), "big")


@cache
def _dct_basis() -> Float64Array:
    """Return the first rows of the orthonormal DCT-II matrix: (8, 32)."""
    frequency = np.arange(_HASH_SIZE)[:, None]
    position = np.arange(_HASH_SAMPLES)[None, :]
    basis = np.cos(np.pi * (2 * position + 1) * frequency / (2 * _HASH_SAMPLES)) * np.sqrt(2 / _HASH_SAMPLES)
    basis[0] /= np.sqrt(2)
    return np.asarray(basis, dtype=np.float64)


def jpeg_quality(image: Image.Image) -> int:
    """Return the IJG quality 1..100 whose luminance table is nearest to the file's, -1 when it has no tables."""
    tables = getattr(image, "quantization", None)
    if not tables:
        return -1
    luminance = np.sort(np.asarray(tables[min(tables)], dtype=np.int64))
    return int(np.abs(_sorted_ijg_tables() - luminance).sum(axis=1).argmin()) + 1


@cache
def _sorted_ijg_tables() -> NDArray[np.int64]:
    """Return the luminance tables of quality 1..100, each sorted: (100, 64), as jcparam.c of libjpeg scales them."""
    base = np.fromstring(_IJG_LUMINANCE, dtype=np.int64, sep=" ")
    quality = np.arange(1, 101)
    scale = np.where(quality < 50, 5000 // quality, 200 - 2 * quality)
    return np.sort(np.clip((base[None] * scale[:, None] + 50) // 100, 1, 255), axis=1)


def quantisation_digest(image: Image.Image) -> str:
    """Return 16 hex digits that name the file's JPEG quantisation tables, empty when it has none."""
    tables = getattr(image, "quantization", None)
    if not tables:
        return ""
    text = ";".join(f"{number}:{','.join(map(str, tables[number]))}" for number in sorted(tables))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def metadata_kinds(image: Image.Image, encoded: bytes) -> str:
    """Return which kinds of metadata the file carries, comma-separated in a fixed order."""
    info = image.info
    frames = int(getattr(image, "n_frames", 1)) if image.format != "MPO" else 1
    found = {
        "exif": "exif" in info or "Raw profile type exif" in info,
        "icc": "icc_profile" in info,
        "xmp": "xmp" in info or "XML:com.adobe.xmp" in info,
        "c2pa": b"c2pa" in encoded,
        "text": "comment" in info or bool(getattr(image, "text", None)),
        f"frames={frames}": frames > 1,
    }
    return ",".join(name for name, there in found.items() if there)


def decoder_version() -> str:
    """Return the decoder with everything that can move a pixel, for fingerprints."""
    libraries = {name: features.version(name) for name in ("jpg", "zlib", "webp")}
    turbo = "libjpeg-turbo" if features.check_feature("libjpeg_turbo") else "libjpeg"
    return f"pillow {pillow_version} ({turbo} {libraries['jpg']}, zlib {libraries['zlib']}, webp {libraries['webp']})"
