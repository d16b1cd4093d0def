"""Decode image files to RGB pixels, and say what a file is; what counts as unreadable or hostile is refused.

Pixels are Pillow's ``convert("RGB")`` of the first frame, not turned by EXIF; ``depth.py`` says where samples above
8 bits are read otherwise. A file that is cut, or whose damage its decoder, its checksums or its structure shows, is an
error with a reason and is never padded; damage that leaves no such trace cannot be told (``integrity.py``).
"""

import hashlib
import io
import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cache
from importlib.util import find_spec
from typing import Any

import numpy as np
from PIL import Image, ImageFile, UnidentifiedImageError, features
from PIL import __version__ as pillow_version

from fewshot.core.arrays import ByteArray, Float64Array
from fewshot.embeddings.inputs import integrity
from fewshot.embeddings.inputs.bounds import require_bounded
from fewshot.embeddings.inputs.depth import own_rgb, require_readable, rgb_of
from fewshot.embeddings.inputs.file_metadata import jpeg_quality, metadata_kinds, not_in_pixels, quantisation_digest
from fewshot.embeddings.inputs.libtiff_messages import libtiff_messages
from fewshot.embeddings.inputs.png_chunks import SIGNATURE, text_kinds, without_text
from fewshot.embeddings.inputs.png_chunks import require_sound as require_sound_png
from fewshot.embeddings.inputs.signatures import container_of
from fewshot.embeddings.inputs.tiff_directory import tiff_directory
from fewshot.embeddings.inputs.unreadable import MAX_PIXELS as MAX_PIXELS
from fewshot.embeddings.inputs.unreadable import Reason as Reason
from fewshot.embeddings.inputs.unreadable import UnreadableImage as UnreadableImage

HEIF_SUFFIXES = frozenset({".heic", ".heif", ".hif"})
HEIF_MISSING = "pip install 'fewshot[heif]' reads HEIC and HEIF"
_HEIF_HERE = find_spec("pillow_heif") is not None
# Raster formats only: Pillow's EPS reader would start another program, and it has no PDF reader.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "JPEG2000", "AVIF", "PPM", "TGA", "ICO")
_SUFFIXES = "jpg jpeg jpe jfif mpo png apng webp gif bmp tif tiff jp2 j2k avif ppm pgm pbm tga ico"
SUFFIXES = frozenset(f".{suffix}" for suffix in re.split(" ", _SUFFIXES)) | (
    HEIF_SUFFIXES if _HEIF_HERE else frozenset()
)
_HASH_SIZE, _HASH_SAMPLES = 8, 32
logging.getLogger("PIL").addHandler(logging.NullHandler())  # its plug-ins log what they refuse; we say it ourselves


@dataclass(frozen=True)
class ImageMetadata:
    """What a store keeps of one image file; the fields are columns of ``schema.COLUMNS``, but for the last.

    Args:
        id: SHA-256 of height, width and RGB pixels (hex).
        phash: 64-bit perceptual hash of the RGB pixels.
        format: container format as Pillow names it; mode: Pillow's mode before conversion, for example ``CMYK``.
        jpeg_quality: nearest quality of the IJG tables, -1 when not JPEG.
        quantisation: first 16 hex digits of the SHA-256 of the quantisation tables, empty when not JPEG.
        metadata: what else the file carries, comma-separated: exif, icc, xmp, c2pa, text, frames=N; and unread, where
            some of it could not be read.
        width, height: pixels. file_size: bytes. file_sha256: of the bytes (hex).
        not_in_pixels: orientation=N and alpha, see ``file_metadata.not_in_pixels``; a column where it is not empty.
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
    not_in_pixels: str = ""

    def columns(self) -> dict[str, Any]:
        """Return {column: value}."""
        values = asdict(self)
        return values if self.not_in_pixels else {name: values[name] for name in values if name != "not_in_pixels"}


def decode(encoded: bytes) -> tuple[Image.Image, ImageMetadata]:
    """Return the RGB image and the metadata of one file's bytes, decoded by Pillow, the reference.

    Raises:
        UnreadableImage: empty, not an image, truncated, damaged, of too many pixels or scans, of a depth that is not
            read, or too large for the memory.
    """
    with as_unreadable(encoded):
        _require_usual(encoded)
        own = own_rgb(encoded)
        if own is not None:
            return own, metadata_of(_described(encoded, own), own, encoded)
        image, unread = _loaded(encoded)
        rgb = rgb_of(image)
        return rgb, metadata_of(image, rgb, encoded, unread=unread)


def metadata_of(image: Image.Image, rgb: Image.Image, encoded: bytes, *, unread: bool = False) -> ImageMetadata:
    """Return the metadata of one file.

    Args:
        image: as Pillow opened it; rgb: its pixels, whoever decoded them; encoded: the file's bytes.
        unread: whether the file has metadata that had to be left out.
    """
    return ImageMetadata(
        id=pixel_id(np.asarray(rgb)),
        phash=perceptual_hash(rgb),
        format=str(image.format),
        mode=image.mode,
        jpeg_quality=jpeg_quality(image),
        quantisation=quantisation_digest(image),
        metadata=metadata_kinds(image, encoded, unread=unread),
        width=rgb.width,
        height=rgb.height,
        file_size=len(encoded),
        file_sha256=hashlib.sha256(encoded).hexdigest(),
        not_in_pixels=not_in_pixels(image),
    )


def open_image(encoded: bytes) -> Image.Image:
    """Return the first frame, fully decoded, in the file's own mode; raise UnreadableImage with the reason."""
    with as_unreadable(encoded):
        _require_usual(encoded)
        return _loaded(encoded)[0]


def open_header(encoded: bytes) -> Image.Image:
    """Return the image with its header read and its pixels not yet; raise UnreadableImage with the reason."""
    with as_unreadable(encoded):
        _require_usual(encoded)
        return _opened(encoded)


def _opened(encoded: bytes) -> Image.Image:
    """Return the same of a file that is known to be usual."""
    image = Image.open(io.BytesIO(encoded), formats=_formats(encoded))
    if image.width * image.height > MAX_PIXELS:
        raise UnreadableImage("bomb", f"{image.width}x{image.height} pixels, and the limit is {MAX_PIXELS}")
    return image


@contextmanager
def as_unreadable(encoded: bytes) -> Iterator[None]:
    """Turn whatever is raised of one image into UnreadableImage with its reason."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # oddities that Pillow can read; damage is judged by integrity.py
            yield
    except UnreadableImage:
        raise
    except UnidentifiedImageError as error:
        raise _unidentified(encoded) from error
    except Image.DecompressionBombError as error:
        raise UnreadableImage("bomb", str(error)) from error
    except MemoryError as error:
        raise UnreadableImage("memory", "decoding needs more memory than one image may take") from error
    except Exception as error:  # Pillow's plug-ins raise OSError, SyntaxError, ValueError, struct.error, IndexError ...
        kind: Reason = "truncated" if "truncated" in str(error).lower() else "damaged"
        raise UnreadableImage(kind, f"{type(error).__name__}: {error}") from error


def _unidentified(encoded: bytes) -> UnreadableImage:
    container = container_of(encoded)
    if container == "HEIF" and not _HEIF_HERE:
        return UnreadableImage("not-an-image", f"a HEIC or HEIF file, which needs another reader: {HEIF_MISSING}")
    if container == "TIFF" and tiff_directory(encoded) is None:
        return UnreadableImage("truncated", f"the directory of the TIFF lies beyond the file's {len(encoded)} bytes")
    if container:
        return UnreadableImage("damaged", f"{len(encoded)} bytes that begin as {container} and cannot be read on")
    return UnreadableImage("not-an-image", f"{len(encoded)} bytes of no known format")


def _require_usual(encoded: bytes) -> None:
    if not encoded:
        raise UnreadableImage("empty", "the file has no bytes")
    require_bounded(encoded)
    require_readable(encoded)


def _loaded(encoded: bytes) -> tuple[Image.Image, bool]:
    """Return the decoded first frame, and whether metadata had to be left out for it."""
    try:
        return _sound(encoded), False
    except UnreadableImage:
        if not encoded.startswith(SIGNATURE) or not text_kinds(encoded):
            raise
    # Pillow refuses a PNG for a text or a profile that inflates to more than its limit, or that is damaged.
    require_sound_png(encoded)
    return _sound(without_text(encoded)), True


def _sound(encoded: bytes) -> Image.Image:
    # Another library in this process may have switched the padding of truncated files on; grey padding is a signal.
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    with as_unreadable(encoded):
        image = _opened(encoded)
        if image.format == "TIFF":
            with libtiff_messages() as messages:
                image.load()
            if messages:
                raise UnreadableImage("damaged", f"libtiff: {messages[0]}")
        image.load()
        integrity.require_sound(image, encoded)
    return image


def _described(encoded: bytes, rgb: Image.Image) -> Image.Image:
    """Return what Pillow's header says of a file whose samples were read without it; its RGB where Pillow cannot."""
    try:
        return open_header(encoded)
    except UnreadableImage:
        described = rgb.copy()
        described.format = container_of(encoded)
        return described


def _formats(encoded: bytes) -> tuple[str, ...]:
    """Return the formats that a file may be opened as; the reader of HEIF is loaded for such a file alone."""
    if container_of(encoded) != "HEIF" or not _HEIF_HERE:
        return pillow_formats()
    import pillow_heif

    pillow_heif.register_heif_opener()
    return ("HEIF",)


@cache
def pillow_formats() -> tuple[str, ...]:
    """Return the formats of ours that this Pillow was built with; the first call loads their readers."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


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


def decoder_version() -> str:
    """Return the decoder with everything that can move a pixel, for fingerprints."""
    libraries = {name: features.version(name) for name in ("jpg", "zlib", "webp")}
    turbo = "libjpeg-turbo" if features.check_feature("libjpeg_turbo") else "libjpeg"
    return f"pillow {pillow_version} ({turbo} {libraries['jpg']}, zlib {libraries['zlib']}, webp {libraries['webp']})"
