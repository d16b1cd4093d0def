"""One image of a gallery, small, with what stands below it."""

import io
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from PIL import Image

from fewshot.core.regular_files import read_regular
from fewshot.embeddings.inputs.images import UnreadableImage, open_image
from fewshot.page.render import data_address

SIDE = 144  # pixels of a thumbnail
APART = 24  # pixels between a query and its nearest images
COLOURS = {"right": "#2a7f4f", "wrong": "#b3452c", "neutral": "#8a8f98"}

_MOST_BYTES = 1 << 30  # of an image file

Kind = Literal["right", "wrong", "neutral"]


@dataclass(frozen=True)
class Tile:
    """One image of a gallery.

    Args:
        file: where it lies, None when it is not known.
        lines: what stands below it.
        kind: whether its source is the true one; neutral when that is not known.
        picture: a small picture of it, for where the file is not there; empty for none.
    """

    file: Path | None
    lines: tuple[str, ...]
    kind: Kind
    picture: bytes = b""

    @cached_property
    def thumbnail(self) -> Image.Image | None:
        """The image within ``SIDE`` pixels, None when it cannot be read (any more)."""
        image = self._of_file() or _decoded(self.picture)
        if image is None:
            return None
        small: Image.Image = image.copy()
        small.thumbnail((SIDE, SIDE))
        return small

    @property
    def address(self) -> str:
        """An address that holds the thumbnail as JPEG, empty when there is none."""
        image = self.thumbnail
        if image is None:
            return ""
        encoded = io.BytesIO()
        image.save(encoded, "JPEG", quality=85)
        return data_address(encoded.getvalue(), kind="image/jpeg")

    def _of_file(self) -> Image.Image | None:
        if self.file is None:
            return None
        try:
            return _decoded(read_regular(self.file, limit=_MOST_BYTES))
        except (OSError, ValueError):
            return None


def _decoded(content: bytes) -> Image.Image | None:
    try:
        return open_image(content).convert("RGB") if content else None
    except (OSError, ValueError, UnreadableImage):
        return None
