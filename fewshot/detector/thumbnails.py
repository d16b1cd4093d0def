"""Small pictures of the images that a detector knows, so that its evidence can be looked at elsewhere."""

import io
from collections.abc import Sequence
from pathlib import Path

from fewshot.page.tile import Tile

MOST = 2000
_QUALITIES = (80, 50, 20)
_MOST_BYTES = 1 << 16


def thumbnails_of(files: Sequence[Path | None]) -> dict[int, bytes]:
    """Return JPEGs by the number of the image, of the first ``MOST`` images whose files can be read.

    Args:
        files: where each image lies; None where that is not known.
    """
    found: dict[int, bytes] = {}
    for number, file in enumerate(files):
        if len(found) == MOST:
            break
        picture = _picture(file)
        if picture:
            found[number] = picture
    return found


def _picture(file: Path | None) -> bytes:
    small = Tile(file, (), "neutral").thumbnail
    if small is None:
        return b""
    for quality in _QUALITIES:
        encoded = io.BytesIO()
        small.save(encoded, "JPEG", quality=quality)
        if encoded.tell() <= _MOST_BYTES:
            return encoded.getvalue()
    return b""
