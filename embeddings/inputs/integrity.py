"""Damage that Pillow decodes without a word: what can be told from the file is refused, with the reason.

JPEG: warnings of libjpeg and scans that are missing, also of JPEG strips in TIFF. PNG: checksums and the order of the
chunks. TIFF: errors after which libtiff goes on. WebP, AVIF and JPEG 2000 have no checksums; a long run of zeros within
their compressed data is a hole. Raw samples (BMP, PPM, TGA, TIFF) hold nothing by which a hole could be told.
"""

from collections.abc import Iterator

from PIL import Image

from fewshot.embeddings.inputs import jpeg_stream, png_chunks
from fewshot.embeddings.inputs import tiff_directory as tiff
from fewshot.embeddings.inputs.unreadable import UnreadableImage

_HOLE = bytes(2048)  # arithmetic and prefix codes of these containers give no such run; a lost block of a disk does
_JPEG_IN_TIFF = 7
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
        for strip in _jpeg_strips(encoded):
            jpeg_stream.require_sound(strip)
    elif image.format in ("WEBP", "JPEG2000"):
        _require_no_hole(encoded)
    elif image.format in ("AVIF", "HEIF") and encoded.endswith(_HOLE):
        raise UnreadableImage("damaged", "the file ends in zeros, from which no picture is decoded")


def _require_no_hole(encoded: bytes) -> None:
    parts = list(_webp_pictures(encoded)) if encoded[:4] == b"RIFF" else [encoded]
    for part in parts[:1]:
        if (at := part.find(_HOLE)) >= 0:
            raise UnreadableImage("damaged", f"a hole of zeros in the compressed data, from its byte {at} on")


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


def _jpeg_strips(encoded: bytes) -> Iterator[bytes]:
    """Yield the strips of a JPEG-compressed first page as files of their own (TIFF Technical Note 2)."""
    page = tiff.tiff_directory(encoded)
    if page is None or page.first(tiff.COMPRESSION, 1) != _JPEG_IN_TIFF:
        return
    tables = bytes(page.tags.get(tiff.JPEG_TABLES, ()))
    places = zip(page.tags.get(tiff.STRIP_OFFSETS, ()), page.tags.get(tiff.STRIP_BYTES, ()), strict=False)
    for number, (offset, size) in enumerate(places):
        if number == _MOST_STRIPS_CHECKED:
            return
        strip = encoded[offset : offset + size]
        yield tables[:-2] + strip[2:] if tables[-2:] == b"\xff\xd9" else strip
