"""The chunks of a PNG file (ISO/IEC 15948): checksums and order, and a copy without what is no pixel."""

import zlib
from collections.abc import Iterator

from fewshot.embeddings.inputs.unreadable import UnreadableImage

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PIXELS = b"IDAT"
_TEXT = frozenset({b"tEXt", b"zTXt", b"iTXt"})
_PROFILE = frozenset({b"iCCP"})
_MOST_TEXTS = 100


def require_sound(encoded: bytes) -> None:
    """Raise where a chunk that pixels depend on has another checksum than it states, is cut, or comes late.

    Raises:
        UnreadableImage: ``truncated`` or ``damaged``, with the chunk.
    """
    data_begun = data_ended = False
    for name, start, end in _chunks(encoded):
        label = ascii(name)[2:-1]
        if end + 4 > len(encoded):
            raise UnreadableImage("truncated", f"the file ends within the chunk {label}")
        critical = not name[0] & 0x20
        stated = int.from_bytes(encoded[end : end + 4], "big")
        if critical and zlib.crc32(memoryview(encoded)[start - 4 : end]) != stated:
            raise UnreadableImage("damaged", f"the checksum of the chunk {label} does not fit its content")
        if name == _PIXELS and data_ended:
            raise UnreadableImage("damaged", "pixel data comes after other chunks")
        data_begun = data_begun or name == _PIXELS
        data_ended = data_begun and name != _PIXELS
        if name == b"IEND":
            return
    raise UnreadableImage("truncated", "the file ends before the chunk IEND")


def without_text(encoded: bytes) -> bytes:
    """Return the file without its texts and its colour profile, whose pixels are the same."""
    kept = [SIGNATURE]
    for name, start, end in _chunks(encoded):
        if name not in _TEXT | _PROFILE:
            kept.append(encoded[start - 8 : end + 4])
    return b"".join(kept)


def text_kinds(encoded: bytes) -> set[str]:
    """Return which of ``text``, ``icc`` and ``xmp`` the chunks carry, read or not."""
    found = set()
    for name, start, _ in _chunks(encoded):
        if name in _TEXT:
            found.add("xmp" if encoded[start : start + 17] == b"XML:com.adobe.xmp" else "text")
        if name in _PROFILE:
            found.add("icc")
    return found


def texts(encoded: bytes, *, limit: int) -> Iterator[tuple[str, str]]:
    """Yield keyword and text of each text chunk that can be read, also of those that come after the pixels.

    Args:
        limit: bytes of one text, packed or not; what is longer is cut. At most ``_MOST_TEXTS`` are read.
    """
    spans = [(name, start, end) for name, start, end in _chunks(encoded) if name in _TEXT]
    for name, start, end in spans[:_MOST_TEXTS]:
        keyword, _, rest = encoded[start : min(end, start + limit)].partition(b"\0")
        text = _text(name, rest, limit)
        if text is not None:
            yield keyword.decode("latin-1"), text


def _text(name: bytes, rest: bytes, limit: int) -> str | None:
    """Return what follows the keyword of a text chunk; None where it is packed and cannot be unpacked."""
    if name == b"tEXt":
        return rest.decode("latin-1")
    packed = name == b"zTXt"
    if name == b"iTXt":
        packed, rest = rest[:1] == b"\1", rest[2:].split(b"\0", 2)[-1]
    else:
        rest = rest[1:]
    if packed:
        try:
            rest = zlib.decompressobj().decompress(rest, limit)
        except zlib.error:
            return None
    return rest.decode("utf-8" if name == b"iTXt" else "latin-1", "replace")


def _chunks(encoded: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield (name, start, end) of each chunk's content; the last may reach beyond the file."""
    position = len(SIGNATURE)
    while position + 8 <= len(encoded):
        length = int.from_bytes(encoded[position : position + 4], "big")
        start = position + 8
        yield encoded[position + 4 : start], start, start + length
        position = start + length + 4
