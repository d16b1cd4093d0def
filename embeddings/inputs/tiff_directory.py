"""The directories of a TIFF file (TIFF 6.0, section 2; BigTIFF): its pages, and the tags of the first one."""

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

WIDTH, LENGTH, BITS, COMPRESSION, PHOTOMETRIC = 256, 257, 258, 259, 262
STRIP_OFFSETS, ORIENTATION, SAMPLES, ROWS_PER_STRIP, STRIP_BYTES, PLANAR = 273, 274, 277, 278, 279, 284
PREDICTOR, TILE_WIDTH, EXTRA_SAMPLES, SAMPLE_FORMAT, JPEG_TABLES = 317, 322, 338, 339, 347
_TYPES = {1: "B", 3: "H", 4: "I", 7: "B", 16: "Q"}
_MOST_VALUES = 1 << 20  # of one tag; strips of a picture of a million lines


@dataclass(frozen=True)
class TiffDirectory:
    """The first page's tags of whole numbers.

    Args:
        order: ``<`` or ``>``, the file's byte order.
        tags: tag -> its values.
        pages: how many pages the file has.
        whole: whether the chain of pages ends as it should, within the file.
    """

    order: str
    tags: Mapping[int, tuple[int, ...]]
    pages: int
    whole: bool

    def first(self, tag: int, default: int) -> int:
        """Return the first value of a tag."""
        values = self.tags.get(tag, ())
        return values[0] if values else default


def tiff_directory(encoded: bytes) -> TiffDirectory | None:
    """Return the directory of a file's first page, None when it cannot be read."""
    head = {b"II*\0": ("<", False), b"MM\0*": (">", False), b"II+\0": ("<", True), b"MM\0+": (">", True)}
    order, big = head.get(encoded[:4], ("", False))
    if not order:
        return None
    try:
        return _directory(encoded, order, big=big)
    except struct.error:
        return None


def _directory(encoded: bytes, order: str, *, big: bool) -> TiffDirectory:
    first = struct.unpack_from(order + ("Q" if big else "I"), encoded, 8 if big else 4)[0]
    pages, whole = _pages(encoded, order, first, big=big)
    return TiffDirectory(order, dict(_tags(encoded, order, first, big=big)), pages, whole)


def _pages(encoded: bytes, order: str, first: int, *, big: bool) -> tuple[int, bool]:
    """Return how many directories follow each other, and whether the last says that it is the last."""
    count_code, pointer_code, entry = (order + "Q", order + "Q", 20) if big else (order + "H", order + "I", 12)
    seen: set[int] = set()
    offset = first
    while offset:
        try:
            count = struct.unpack_from(count_code, encoded, offset)[0]
            following = struct.unpack_from(pointer_code, encoded, offset + struct.calcsize(count_code) + entry * count)[
                0
            ]
        except (struct.error, OverflowError):
            return len(seen), False
        if offset in seen:
            return len(seen), False
        seen.add(offset)
        offset = following
    return len(seen), True


def _tags(encoded: bytes, order: str, offset: int, *, big: bool) -> Iterator[tuple[int, tuple[int, ...]]]:
    size, number_code, room = (8, "Q", 8) if big else (2, "I", 4)
    count = struct.unpack_from(order + ("Q" if big else "H"), encoded, offset)[0]
    entry_size = 4 + 2 * room
    for number in range(min(count, 1000)):
        at = offset + size + entry_size * number
        tag, kind, values = struct.unpack_from(f"{order}HH{number_code}", encoded, at)
        code = _TYPES.get(kind)
        if code is None or not 0 < values <= _MOST_VALUES:
            continue
        where = at + 4 + room
        if struct.calcsize(code) * values > room:
            where = struct.unpack_from(order + number_code, encoded, where)[0]
        try:
            yield tag, struct.unpack_from(f"{order}{values}{code}", encoded, where)
        except (struct.error, OverflowError):
            continue
