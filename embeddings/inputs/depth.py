"""The real depth of a file's samples, by the file and not by Pillow's mode, and 8-bit RGB of every depth that is read.

Read are unsigned samples of 1 to 16 bits; above 8 bits the high 8 are kept, as Pillow does of 16-bit colour in PNG.
Signed, floating and longer samples have no defined range and are refused in every container. Pillow reads most files
rightly; where its mode hides the depth, or its reading of 16 bits is another one, the samples are taken from the file.
"""

import re
from dataclasses import dataclass

import numpy as np
from PIL import Image

from fewshot.embeddings.inputs import tiff_directory as tiff
from fewshot.embeddings.inputs.jpeg_stream import jpeg_stream
from fewshot.embeddings.inputs.netpbm import deep_netpbm
from fewshot.embeddings.inputs.tiff_samples import deep_tiff
from fewshot.embeddings.inputs.unreadable import UnreadableImage

MOST_BITS = 16
_KINDS = {1: "unsigned", 2: "signed", 3: "floating-point", 4: "undefined", 5: "complex", 6: "complex"}
_READ = f"samples of 1 to {MOST_BITS} unsigned bits are read"
_TURNS = {  # TIFF 6.0, section 8, in the words of Pillow's ImageOps.exif_transpose
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_J2K_SIZE = re.compile(rb"\xff\x4f\xff\x51")


@dataclass(frozen=True)
class Depth:
    """Bits of a file's samples, and whether they are ``unsigned``, ``signed``, ``floating-point`` or ``complex``."""

    bits: int
    kind: str = "unsigned"


def depth_of(encoded: bytes) -> Depth | None:
    """Return the depth that a file states, None where its container has 8 bits alone or cannot be followed."""
    if encoded[:2] == b"\xff\xd8":
        return Depth(jpeg_stream(encoded).precision)
    if tiff.is_tiff(encoded):
        directory = tiff.tiff_directory(encoded)
        if directory is None:
            return None
        kinds = directory.tags.get(tiff.SAMPLE_FORMAT, (1,))
        return Depth(max(directory.tags.get(tiff.BITS, (1,))), _KINDS.get(max(kinds), "undefined"))
    if encoded[:2] in (b"Pf", b"PF"):
        return Depth(32, "floating-point")
    if (found := _J2K_SIZE.search(encoded, 0, 1 << 16)) is not None and len(encoded) > found.end() + 38:
        size = encoded[found.end() + 36]  # Ssiz of the first component: ISO/IEC 15444-1, A.5.1
        return Depth((size & 0x7F) + 1, "signed" if size & 0x80 else "unsigned")
    return None


def require_readable(encoded: bytes) -> None:
    """Raise where a file's samples are of a depth that is read from no container.

    Raises:
        UnreadableImage: ``mode``, with the real depth.
    """
    depth = depth_of(encoded)
    if depth is None:
        return
    if depth.kind != "unsigned" or depth.bits > MOST_BITS:
        raise UnreadableImage("mode", f"{depth.bits}-bit {depth.kind} samples have no defined range; {_READ}")
    if encoded[:2] == b"\xff\xd8" and depth.bits not in (0, 8):
        raise UnreadableImage("mode", f"{depth.bits}-bit samples in JPEG, which its decoder cannot read")


def own_rgb(encoded: bytes) -> Image.Image | None:
    """Return the RGB image where the samples are taken from the file itself, None where Pillow reads them rightly.

    Raises:
        UnreadableImage: samples of a depth that is read, laid out in a way that is not; or a file that ends early.
    """
    netpbm = deep_netpbm(encoded)
    if netpbm is not None:
        return Image.fromarray(netpbm)
    picture = deep_tiff(encoded)
    return None if picture is None else _turned(Image.fromarray(picture), encoded)


def _turned(image: Image.Image, encoded: bytes) -> Image.Image:
    """Return a TIFF's picture turned by its orientation tag, as Pillow turns every TIFF."""
    page = tiff.tiff_directory(encoded)
    turn = _TURNS.get(page.first(tiff.ORIENTATION, 1)) if page else None
    return image if turn is None else image.transpose(turn)


def rgb_of(image: Image.Image) -> Image.Image:
    """Return 8-bit RGB of what Pillow decoded; 16-bit grey keeps its high byte, as 16-bit colour does."""
    if image.mode.startswith("I;16"):
        grey = np.asarray(image).astype(np.uint16) >> 8
        return Image.fromarray(grey.astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        raise UnreadableImage("mode", f"mode {image.mode!r} (32-bit values) has no defined range; {_READ}")
    return image if image.mode == "RGB" else image.convert("RGB")
