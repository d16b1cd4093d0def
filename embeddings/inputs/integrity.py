"""Damage that Pillow decodes without a word: what can be told from the file is refused, with the reason.

JPEG: warnings of libjpeg and scans that are missing, also of JPEG strips in TIFF. PNG: checksums and the order of the
chunks. TIFF: errors after which libtiff goes on (images.py). WebP, AVIF, JPEG 2000 and TIFF have no checksums; a long
run of zeros within their compressed data is a hole. Raw samples hold nothing by which a hole could be told.
"""

from collections.abc import Iterator
from itertools import islice

from PIL import Image

from fewshot.embeddings.inputs import jpeg_stream, png_chunks
from fewshot.embeddings.inputs import tiff_directory as tiff
from fewshot.embeddings.inputs.unreadable import UnreadableImage

_HOLE = bytes(2048)  # arithmetic and prefix codes of these containers give no such run; a lost block of a disk does
_MOST_EXIF_BYTES = 1 << 16
_JPEG_IN_TIFF, _UNCODED = 7, (1, 32773)  # raw samples and PackBits hold long runs of zeros
_MOST_STRIPS_CHECKED = 4096


def require_sound(image: Image.Image, encoded: bytes) -> None:
    """Raise where the first picture of a file is damaged although Pillow decodes it.

    Args:
        image: as Pillow opened it; encoded: the file.

    Raises:
        UnreadableImage: ``truncated`` or ``damaged``.
    """
    if image.format in ("JPEG", "MPO"):
        jpeg_stream.require_sound(encoded)
    elif image.format == "PNG":
        png_chunks.require_sound(encoded)
    elif image.format == "TIFF":
        _require_sound_strips(encoded)
    elif image.format == "WEBP":
        _require_no_hole(next(_webp_pictures(encoded), b""))
    elif image.format == "JPEG2000":
        _require_no_hole(encoded)
    elif image.format in ("AVIF", "HEIF") and not _exif_padding(encoded, encoded.find(_HOLE)):
        raise UnreadableImage("damaged", "a hole of zeros in the compressed data")


def _require_no_hole(compressed: bytes) -> None:
    if (at := compressed.find(_HOLE)) >= 0:
        raise UnreadableImage("damaged", f"a hole of zeros in the compressed data, from its byte {at} on")


def _exif_padding(encoded: bytes, hole: int) -> bool:
    """Return whether a run of zeros is none, or lies in the EXIF data, which cameras and editors pad."""
    exif = encoded.rfind(b"Exif\0\0", 0, max(hole, 0))
    return hole < 0 or 0 <= exif > hole - _MOST_EXIF_BYTES


def _webp_pictures(encoded: bytes) -> Iterator[bytes]:
    """Yield the compressed pictures of a WebP file (RFC 9649), frames of an animation included."""
    position = 12
    while position + 8 <= len(encoded):
        name, size = encoded[position : position + 4], int.from_bytes(encoded[position + 4 : position + 8], "little")
        if name == b"ANMF":
            position += 8 + 16  # its own chunks follow
            continue
        if name in (b"VP8 ", b"VP8L"):
            yield encoded[position + 8 : position + 8 + size]
        position += 8 + size + size % 2


def _require_sound_strips(encoded: bytes) -> None:
    """Check the compressed strips of a TIFF's first page; JPEG strips are files of their own (Technical Note 2)."""
    page = tiff.tiff_directory(encoded)
    if page is None or (compression := page.first(tiff.COMPRESSION, 1)) in _UNCODED:
        return
    tables = bytes(page.tags.get(tiff.JPEG_TABLES, ())) if compression == _JPEG_IN_TIFF else b""
    places = zip(page.tags.get(tiff.STRIP_OFFSETS, ()), page.tags.get(tiff.STRIP_BYTES, ()), strict=False)
    for offset, size in islice(places, _MOST_STRIPS_CHECKED):
        strip = encoded[offset : offset + size]
        if compression != _JPEG_IN_TIFF:
            _require_no_hole(strip)
        else:
            jpeg_stream.require_sound(tables[:-2] + strip[2:] if tables[-2:] == b"\xff\xd9" else strip)
