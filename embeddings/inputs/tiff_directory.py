"""The directories of a TIFF file (TIFF 6.0, section 2; BigTIFF): its pages, and the tags of the first one."""

import struct
from collections.abc import Mapping
from dataclasses import dataclass

WIDTH, LENGTH, BITS, COMPRESSION, PHOTOMETRIC = 256, 257, 258, 259, 262
STRIP_OFFSETS, ORIENTATION, SAMPLES, ROWS_PER_STRIP, STRIP_BYTES, PLANAR = 273, 274, 277, 278, 279, 284
PREDICTOR, TILE_WIDTH, EXTRA_SAMPLES, SAMPLE_FORMAT, JPEG_TABLES = 317, 322, 338, 339, 347
_TYPES = {1: "B", 3: "H", 4: "I", 7: "B", 16: "Q"}
_MOST_TAGS = 1000
_MOST_VALUES = 1 << 20  # of one tag; strips of a picture of a million lines


@dataclass(frozen=True)
class TiffDirectory:
    """The first page's tags of whole numbers.

    Args:
        order: ``<`` or ``>``, the file's byte order.
        tags: tag -> its values.
        complete: whether the values of every tag lie within the file.
    """

    order: str
    tags: Mapping[int, tuple[int, ...]]
    complete: bool

    def first(self, tag: int, default: int) -> int:
        """Return the first value of a tag."""
        values = self.tags.get(tag, ())
        return values[0] if values else default


@dataclass(frozen=True)
class _Form:
    """Byte order and widths of a file: TIFF, or BigTIFF."""

    order: str
    count: str
    pointer: str
    entry_bytes: int

    def read(self, code: str, encoded: bytes, offset: int) -> int:
        """Return one number of the file."""
        return int(struct.unpack_from(self.order + code, encoded, offset)[0])

    def first_offset(self, encoded: bytes) -> int:
        """Return where the first directory lies."""
        return self.read(self.pointer, encoded, 8 if self.pointer == "Q" else 4)


_FORMS = {
    b"II*\0": _Form("<", "H", "I", 12),
    b"MM\0*": _Form(">", "H", "I", 12),
    b"II+\0": _Form("<", "Q", "Q", 20),
    b"MM\0+": _Form(">", "Q", "Q", 20),
}


def is_tiff(encoded: bytes) -> bool:
    """Return whether a file begins as TIFF or BigTIFF."""
    return encoded[:4] in _FORMS


def tiff_directory(encoded: bytes) -> TiffDirectory | None:
    """Return the directory of a file's first page, None when it cannot be read."""
    form = _FORMS.get(encoded[:4])
    if form is None:
        return None
    try:
        return _directory(encoded, form)
    except (struct.error, OverflowError):
        return None


def tiff_pages(encoded: bytes) -> tuple[int, bool]:
    """Return how many directories follow each other, and whether the chain ends within the file, as it should."""
    form = _FORMS[encoded[:4]]
    seen: set[int] = set()
    try:
        offset = form.first_offset(encoded)
        while offset and offset not in seen:
            entries = form.read(form.count, encoded, offset)
            following = offset + struct.calcsize("=" + form.count) + form.entry_bytes * entries
            seen.add(offset)
            offset = form.read(form.pointer, encoded, following)
    except (struct.error, OverflowError):
        return max(1, len(seen)), False
    return max(1, len(seen)), not offset


def _directory(encoded: bytes, form: _Form) -> TiffDirectory:
    offset, room = form.first_offset(encoded), struct.calcsize("=" + form.pointer)
    tags: dict[int, tuple[int, ...]] = {}
    complete = True
    for number in range(min(form.read(form.count, encoded, offset), _MOST_TAGS)):
        at = offset + struct.calcsize("=" + form.count) + form.entry_bytes * number
        tag, kind = struct.unpack_from(f"{form.order}HH", encoded, at)
        count, code = form.read(form.pointer, encoded, at + 4), _TYPES.get(kind)
        if code is None or not 0 < count <= _MOST_VALUES:
            continue
        where = at + 4 + room
        if struct.calcsize("=" + code) * count > room:
            where = form.read(form.pointer, encoded, where)
        try:
            tags[tag] = struct.unpack_from(f"{form.order}{count}{code}", encoded, where)
        except (struct.error, OverflowError):
            complete = False
    return TiffDirectory(form.order, tags, complete)
