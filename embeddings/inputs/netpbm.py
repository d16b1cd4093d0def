"""Netpbm files (PGM, PPM; plain and raw) of more than 8 bits, which Pillow scales in two ways."""

import re

import numpy as np

from fewshot.core.arrays import ByteArray
from fewshot.embeddings.inputs.unreadable import UnreadableImage

_GAP = rb"(?:\s|#[^\r\n]*[\r\n])+"
_HEAD = re.compile(rb"P([2356])" + _GAP + rb"(\d{1,10})" + _GAP + rb"(\d{1,10})" + _GAP + rb"(\d{1,10})(?:\s|#)")
_COMMENT = re.compile(rb"#[^\r\n]*")
_HEAD_BYTES = 1 << 16


def deep_netpbm(encoded: bytes) -> ByteArray | None:
    """Return (H, W, 3) uint8, the high byte of each sample of a PGM or PPM file above 8 bits; None for any other file.

    Raises:
        UnreadableImage: fewer samples than the header says, or one above its largest value.
    """
    head = _HEAD.match(encoded[:_HEAD_BYTES])
    if head is None:
        return None
    magic, width, height, largest = (int(part) for part in head.groups())
    if not 255 < largest < 65536:
        return None
    channels = 3 if magic in (3, 6) else 1
    count = width * height * channels
    samples = _raw(encoded, head.end(), count) if magic in (5, 6) else _plain(encoded[head.end() :], count)
    if len(samples) < count:
        raise UnreadableImage("truncated", f"{len(samples)} samples, and the header says {count}")
    if count and int(samples.max()) > largest:
        raise UnreadableImage("damaged", f"a sample of {int(samples.max())}, and the header says at most {largest}")
    pixels = high_byte(samples, largest).reshape(height, width, channels)
    return np.ascontiguousarray(np.broadcast_to(pixels, (height, width, 3)))


def high_byte(samples: "np.ndarray[tuple[int, ...], np.dtype[np.uint16]]", largest: int) -> ByteArray:
    """Return the high 8 bits of samples of ``largest``'s depth; another largest value is scaled to 16 bits first."""
    if largest & (largest + 1) == 0:
        return np.asarray(samples >> (largest.bit_length() - 8), dtype=np.uint8)
    scaled = np.rint(samples.astype(np.float64) * (65535 / largest)).astype(np.uint16)
    return np.asarray(scaled >> 8, dtype=np.uint8)


def _raw(encoded: bytes, start: int, count: int) -> "np.ndarray[tuple[int], np.dtype[np.uint16]]":
    there = min(count, (len(encoded) - start) // 2)
    return np.frombuffer(encoded, ">u2", count=there, offset=start).astype(np.uint16)


def _plain(text: bytes, count: int) -> "np.ndarray[tuple[int], np.dtype[np.uint16]]":
    words = _COMMENT.sub(b" ", text).split(maxsplit=count)[:count]
    try:
        return np.array([int(word) for word in words], dtype=np.uint16)
    except (ValueError, OverflowError) as error:
        raise UnreadableImage("damaged", f"a sample that is no number of 16 bits ({error})") from error
