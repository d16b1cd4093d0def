"""What a file says of itself beside its pixels; what of it cannot be read is noted as unread, and costs no image."""

import hashlib
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fewshot.embeddings.inputs.frames import frames_of
from fewshot.embeddings.inputs.png_chunks import SIGNATURE, text_kinds

UNREAD = "unread"
ALPHA_MODES = frozenset({"RGBA", "RGBa", "LA", "La", "PA"})
_ORIENTATION = 0x0112
# ITU-T T.81 table K.1
_IJG_LUMINANCE = (
    "16 11 10 16 24 40 51 61 12 12 14 19 26 58 60 55 "
    "14 13 16 24 40 57 69 56 14 17 22 29 51 87 80 62 "
    "18 22 37 56 68 109 103 77 24 35 55 64 81 104 113 92 "
    "49 64 78 87 103 121 120 101 72 92 95 98 112 100 103 99 "
)


def metadata_kinds(image: Image.Image, encoded: bytes, *, unread: bool = False) -> str:
    """Return which kinds of metadata the file carries, comma-separated in a fixed order.

    Args:
        image: as Pillow opened it; encoded: the file.
        unread: whether some of it was left out so that the pixels could be decoded.
    """
    info = image.info
    frames, whole = frames_of(image, encoded)
    chunks = text_kinds(encoded) if unread and encoded.startswith(SIGNATURE) else set[str]()
    found = {
        "exif": "exif" in info or "Raw profile type exif" in info,
        "icc": "icc_profile" in info or "icc" in chunks,
        "xmp": "xmp" in info or "XML:com.adobe.xmp" in info or "xmp" in chunks,
        "c2pa": b"c2pa" in encoded,
        "text": "comment" in info or bool(getattr(image, "text", None)) or "text" in chunks,
        f"frames={frames}": frames > 1,
        UNREAD: unread or not whole or _orientation(image) is None,
    }
    return ",".join(name for name, there in found.items() if there)


def not_in_pixels(image: Image.Image) -> str:
    """Return what the file says that RGB pixels do not show and that no other column tells, comma-separated.

    ``orientation=N`` is the EXIF orientation other than 1; ``alpha`` is transparency of a palette or of one colour.
    """
    orientation = _orientation(image) or 0
    found = {
        f"orientation={orientation}": 1 < orientation <= 8,
        "alpha": image.mode not in ALPHA_MODES and "transparency" in image.info,
    }
    return ",".join(name for name, there in found.items() if there)


def _orientation(image: Image.Image) -> int | None:
    """Return the EXIF orientation, 0 where there is none, None where the EXIF data cannot be read."""
    try:
        return int(image.getexif().get(_ORIENTATION, 0))
    except Exception:  # Pillow's EXIF reader raises SyntaxError, struct.error, OverflowError, TypeError ...
        return None


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
