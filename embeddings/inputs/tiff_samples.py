"""TIFF files that Pillow does not read, or reads otherwise than the same picture in another container.

These are 16 bits in separate uncompressed planes (Pillow misplaces them), 16 bits with white as zero (it does not
invert them), grey of 16 bits with alpha, and odd depths (it does not scale 12 bits, and knows no other).
"""

import zlib

import numpy as np
from numpy.typing import NDArray

from fewshot.core.arrays import ByteArray
from fewshot.embeddings.inputs import tiff_directory as tiff
from fewshot.embeddings.inputs.unreadable import MAX_PIXELS, UnreadableImage

_NONE, _DEFLATE, _OLD_DEFLATE = 1, 8, 32946
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB = 0, 1, 2
_MOST_SAMPLES = 5  # of a pixel


def deep_tiff(encoded: bytes) -> ByteArray | None:
    """Return (H, W, 3) uint8, the high 8 bits of each sample; None for a file that Pillow is to read.

    Raises:
        UnreadableImage: such a file, in an arrangement that is not read, or that ends early.
    """
    if not tiff.is_tiff(encoded):
        return None
    page = tiff.tiff_directory(encoded)
    if page is None or not _is_ours(page):
        return None
    if not page.complete:
        raise UnreadableImage("truncated", "values of the TIFF's directory lie beyond the end of the file")
    bits, samples = page.first(tiff.BITS, 1), page.first(tiff.SAMPLES, 1)
    grey = page.first(tiff.PHOTOMETRIC, -1) in (_WHITE_IS_ZERO, _BLACK_IS_ZERO)
    known = grey or (page.first(tiff.PHOTOMETRIC, -1) == _RGB and samples >= 3)
    if not known or set(page.tags.get(tiff.BITS, ())) != {bits} or tiff.TILE_WIDTH in page.tags:
        raise _not_read(page, "arrangement")
    picture = _eight_bits(_samples(encoded, page), bits)
    if page.first(tiff.PHOTOMETRIC, -1) == _WHITE_IS_ZERO:
        picture = 255 - picture
    colours = picture[..., :1] if grey else picture[..., :3]
    return np.ascontiguousarray(np.broadcast_to(colours.astype(np.uint8), (*picture.shape[:2], 3)))


def _is_ours(page: tiff.TiffDirectory) -> bool:
    bits, samples = max(page.tags.get(tiff.BITS, (1,))), page.first(tiff.SAMPLES, 1)
    if not 1 <= bits <= 16 or set(page.tags.get(tiff.SAMPLE_FORMAT, (1,))) != {1}:
        return False
    if bits != 16:
        return bits not in (1, 2, 4, 8) or (bits != 8 and samples != 1)
    planar = page.first(tiff.PLANAR, 1) == 2 and page.first(tiff.COMPRESSION, 1) == _NONE
    return planar or page.first(tiff.PHOTOMETRIC, -1) == _WHITE_IS_ZERO or samples == 2


def _eight_bits(samples: NDArray[np.uint16], bits: int) -> NDArray[np.uint16]:
    """Return the high 8 bits of each sample; fewer bits are spread over 0 to 255."""
    if bits >= 8:
        return np.asarray(samples >> (bits - 8), dtype=np.uint16)
    return np.asarray(np.rint(samples * (255 / ((1 << bits) - 1))), dtype=np.uint16)


def _not_read(page: tiff.TiffDirectory, what: str) -> UnreadableImage:
    bits = "x".join(map(str, page.tags.get(tiff.BITS, ())))
    return UnreadableImage(
        "mode",
        f"{bits}-bit samples in TIFF of this {what} (compression {page.first(tiff.COMPRESSION, 1)}, photometric "
        f"{page.first(tiff.PHOTOMETRIC, -1)}); save it as PNG",
    )


def _samples(encoded: bytes, page: tiff.TiffDirectory) -> NDArray[np.uint16]:
    """Return every sample of the first page: (H, W, S) uint16."""
    width, height = page.first(tiff.WIDTH, 0), page.first(tiff.LENGTH, 0)
    samples, planar = page.first(tiff.SAMPLES, 1), page.first(tiff.PLANAR, 1) == 2
    if not 0 < width * height <= MAX_PIXELS or not 0 < samples <= _MOST_SAMPLES:
        raise UnreadableImage("bomb", f"{width}x{height} pixels of {samples} samples, and the limit is {MAX_PIXELS}")
    bands, per_pixel = (samples, 1) if planar else (1, samples)
    rows = min(page.first(tiff.ROWS_PER_STRIP, height) or height, height)
    strips = _strips(encoded, page)
    each = -(-height // rows)
    if len(strips) != each * bands:
        raise UnreadableImage("damaged", f"{len(strips)} strips, and {each * bands} make the picture")
    result = np.empty((bands, height, width * per_pixel), np.uint16)
    for number, strip in enumerate(strips):
        band, top = number // each, number % each * rows
        result[band, top : top + rows] = _rows(strip, page, min(rows, height - top), width * per_pixel)
    if page.first(tiff.PREDICTOR, 1) == 2:
        result = _summed(result.reshape(bands, height, width, per_pixel), page.first(tiff.BITS, 1))
    shaped = result.reshape(bands, height, width, per_pixel)
    return shaped.transpose(1, 2, 0, 3).reshape(height, width, samples)


def _strips(encoded: bytes, page: tiff.TiffDirectory) -> list[bytes]:
    compression, predictor = page.first(tiff.COMPRESSION, 1), page.first(tiff.PREDICTOR, 1)
    if compression not in (_NONE, _DEFLATE, _OLD_DEFLATE) or predictor not in (1, 2):
        raise _not_read(page, "compression")
    places = zip(page.tags.get(tiff.STRIP_OFFSETS, ()), page.tags.get(tiff.STRIP_BYTES, ()), strict=False)
    found = [encoded[offset : offset + size] for offset, size in places]
    return found if compression == _NONE else [_inflated(strip, page) for strip in found]


def _inflated(strip: bytes, page: tiff.TiffDirectory) -> bytes:
    most = page.first(tiff.WIDTH, 0) * page.first(tiff.LENGTH, 0) * page.first(tiff.SAMPLES, 1) * 2 + 1
    try:
        return zlib.decompressobj().decompress(strip, most)
    except zlib.error as error:
        raise UnreadableImage("damaged", f"a strip cannot be inflated ({error})") from error


def _rows(strip: bytes, page: tiff.TiffDirectory, rows: int, values: int) -> NDArray[np.uint16]:
    """Return (rows, values) uint16; rows begin at whole bytes, and samples other than 16 bits are packed."""
    bits = page.first(tiff.BITS, 1)
    row_bytes = -(-values * bits // 8)
    if len(strip) < rows * row_bytes:
        raise UnreadableImage("truncated", f"a strip of {len(strip)} bytes, and its rows have {rows * row_bytes}")
    if bits == 16:
        return np.frombuffer(strip, page.order + "u2", count=rows * values).reshape(rows, values).astype(np.uint16)
    packed = np.frombuffer(strip, np.uint8, count=rows * row_bytes).reshape(rows, row_bytes)
    single = np.unpackbits(packed, axis=1)[:, : values * bits]
    result = np.zeros((rows, values), np.uint16)
    for bit in range(bits):
        result <<= 1
        result |= single[:, bit::bits]
    return result


def _summed(differences: NDArray[np.uint16], bits: int) -> NDArray[np.uint16]:
    """Undo horizontal differencing (TIFF 6.0, section 14)."""
    total = np.cumsum(differences, axis=2, dtype=np.uint64) & ((1 << bits) - 1)
    return total.astype(np.uint16)
