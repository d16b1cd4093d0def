"""How much work one file can ask for, told from its first bytes and its markers before it is decoded."""

import struct

from fewshot.embeddings.inputs.jpeg_stream import MAX_SCANS, jpeg_stream
from fewshot.embeddings.inputs.signatures import container_of
from fewshot.embeddings.inputs.unreadable import UnreadableImage

MAX_FILE_BYTES = 2 << 30  # 16-bit RGBA of MAX_PIXELS, raw, has 1.4 GB
_LIGHT_BYTES, _LIGHT_PIXELS, _LIGHT_PASSES = 64 << 20, 32_000_000, 200_000_000  # a second or two of decoding
_RAW_BMP = (0, 3)  # Pillow reads the other compressions in Python, pixel by pixel


def require_bounded(encoded: bytes) -> None:
    """Raise where a file asks its decoder to go over the picture more often than any sound file does.

    Raises:
        UnreadableImage: ``bomb``.
    """
    if container_of(encoded) == "JPEG" and jpeg_stream(encoded).scans > MAX_SCANS:
        raise UnreadableImage("bomb", f"more than {MAX_SCANS} scans, each of which goes over the whole picture")


def is_light(encoded: bytes) -> bool:
    """Return whether decoding takes a few seconds and some hundred megabytes at most, whatever the file holds.

    True only of containers whose decoders work in time that the declared size bounds, and of sizes that are small.
    """
    container = container_of(encoded)
    if not encoded or len(encoded) > _LIGHT_BYTES:
        return not encoded
    if container == "JPEG":
        stream = jpeg_stream(encoded)
        return stream.pixels <= _LIGHT_PIXELS and stream.pixels * max(1, stream.scans) <= _LIGHT_PASSES
    pixels = _declared_pixels(container, encoded)
    return pixels is not None and pixels <= _LIGHT_PIXELS


def _declared_pixels(container: str, encoded: bytes) -> int | None:
    """Return width x height as the header says, None of other containers than PNG, GIF, BMP and WebP."""
    try:
        if container == "PNG":
            width, height = struct.unpack_from(">II", encoded, 16)
        elif container == "GIF":
            width, height = struct.unpack_from("<HH", encoded, 6)
        elif container == "BMP":
            size, width, height = struct.unpack_from("<Iii", encoded, 14)
            if size < 40 or struct.unpack_from("<I", encoded, 30)[0] not in _RAW_BMP:
                return None
        elif container == "WEBP":
            width, height = _webp_size(encoded)
        else:
            return None
    except struct.error:
        return 0  # ends within its header
    return abs(int(width) * int(height))


def _webp_size(encoded: bytes) -> tuple[int, int]:
    """Return the canvas of a WebP file (RFC 9649, sections 2.5 to 2.7)."""
    kind = encoded[12:16]
    if kind == b"VP8X":
        return (int.from_bytes(encoded[24:27], "little") + 1, int.from_bytes(encoded[27:30], "little") + 1)
    if kind == b"VP8L":
        bits = struct.unpack_from("<I", encoded, 21)[0]
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    width, height = struct.unpack_from("<HH", encoded, 26)
    return width & 0x3FFF, height & 0x3FFF
