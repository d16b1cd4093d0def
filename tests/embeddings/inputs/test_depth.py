"""The same picture of one bit depth has the same pixels in every container, or is refused in every one."""

import io
import struct
import zlib
from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from fewshot.embeddings.inputs.images import UnreadableImage, decode, pixel_id

HEIGHT, WIDTH = 12, 21
GENERATOR = np.random.default_rng(0)
DEEP: NDArray[np.uint16] = GENERATOR.integers(0, 65536, (HEIGHT, WIDTH, 4), dtype=np.uint16)
Samples = NDArray[Any]


def packed(samples: Samples, bits: int, order: str) -> bytes:
    """Return samples (H, W, S) as rows of whole bytes, the most significant bit first."""
    if bits in (8, 16, 32, 64):
        kind = samples.dtype.kind if samples.dtype.kind == "f" else "u" if samples.dtype.kind == "u" else "i"
        return samples.astype(f"{order}{kind}{bits // 8}").tobytes()
    rows = samples.reshape(samples.shape[0], -1)
    single = (rows[..., None].astype(np.uint32) >> np.arange(bits - 1, -1, -1)) & 1
    return np.packbits(single.reshape(len(rows), -1).astype(np.uint8), axis=1).tobytes()


def tiff(
    samples: Samples,
    bits: int,
    *,
    order: str = "<",
    photometric: int | None = None,
    planar: bool = False,
    deflate: bool = False,
    sample_format: int = 1,
    rows_per_strip: int = 5,
) -> bytes:
    """Return a TIFF 6.0 file of samples (H, W, S), written by hand."""
    height, width, count = samples.shape
    bands = [samples[..., [n]] for n in range(count)] if planar else [samples]
    strips = [
        packed(band[top : top + rows_per_strip], bits, order)
        for band in bands
        for top in range(0, height, rows_per_strip)
    ]
    strips = [zlib.compress(strip) for strip in strips] if deflate else strips
    chosen = (2 if count >= 3 else 1) if photometric is None else photometric
    tags: dict[int, tuple[str, list[int]]] = {
        256: ("I", [width]),
        257: ("I", [height]),
        258: ("H", [bits] * count),
        259: ("H", [8 if deflate else 1]),
        262: ("H", [chosen]),
        273: ("I", [0] * len(strips)),
        277: ("H", [count]),
        278: ("I", [rows_per_strip]),
        279: ("I", [len(strip) for strip in strips]),
        284: ("H", [2 if planar else 1]),
        339: ("H", [sample_format] * count),
    }
    if count in (2, 4):
        tags[338] = ("H", [2])
    offsets = np.cumsum([8, *(len(strip) for strip in strips)]).tolist()
    tags[273] = ("I", offsets[:-1])
    body, more, start = b"", b"", offsets[-1] + 2 + 12 * len(tags) + 4
    for tag in sorted(tags):
        code, values = tags[tag]
        content = struct.pack(f"{order}{len(values)}{code}", *values)
        if len(content) > 4:
            content, more = struct.pack(order + "I", start + len(more)), more + content
        body += struct.pack(f"{order}HHI", tag, {"H": 3, "I": 4}[code], len(values)) + content.ljust(4, b"\0")
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", offsets[-1])
    return head + b"".join(strips) + struct.pack(order + "H", len(tags)) + body + bytes(4) + more


def png(samples: Samples, bits: int) -> bytes:
    height, width, count = samples.shape
    rows = packed(samples, bits, ">")
    size = len(rows) // height
    lines = b"".join(b"\0" + rows[size * n : size * (n + 1)] for n in range(height))
    head = struct.pack(">IIBBBBB", width, height, bits, {1: 0, 2: 4, 3: 2, 4: 6}[count], 0, 0, 0)

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")


def netpbm(samples: Samples, bits: int, *, plain: bool = False) -> bytes:
    height, width, count = samples.shape
    magic = (3 if count == 3 else 2) + (0 if plain else 3)
    head = f"P{magic}\n# a comment\n{width} {height}\n{(1 << bits) - 1}\n".encode()
    if plain:
        return head + b"\n".join(str(value).encode() for value in samples.reshape(-1).tolist())
    return head + samples.astype(">u2" if bits > 8 else "u1").tobytes()


def pillow(container: str, samples: Samples, **options: Any) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(samples[..., 0] if samples.shape[2] == 1 else samples).save(stream, container, **options)
    return stream.getvalue()


def reading(data: bytes) -> str:
    """Return the pixel id, or the refusal."""
    try:
        return decode(data)[1].id
    except UnreadableImage as error:
        return str(error)


def rgb(samples: Samples) -> Samples:
    """Return 8-bit RGB of 8-bit samples (H, W, S), alpha dropped."""
    return np.repeat(samples[..., :1], 3, axis=2) if samples.shape[2] < 3 else samples[..., :3]


def high_bits(samples: Samples, bits: int) -> str:
    """Return the pixel id of the high 8 bits."""
    return pixel_id(np.ascontiguousarray(rgb((samples >> (bits - 8)).astype(np.uint8))))


GREY, GREY_ALPHA, COLOUR, COLOUR_ALPHA = DEEP[..., :1], DEEP[..., :2], DEEP[..., :3], DEEP
TIFFS = list(product("<>", (False, True), (False, True)))


def tiff_writer(order: str, planar: bool, deflate: bool) -> Callable[[Samples], bytes]:
    return lambda samples: tiff(samples, 16, order=order, planar=planar, deflate=deflate)


WRITERS: dict[str, Callable[[Samples], bytes]] = {
    "PNG": lambda samples: png(samples, 16),
    **{
        f"TIFF order {order} planes {planar} deflate {deflate}": tiff_writer(order, planar, deflate)
        for order, planar, deflate in TIFFS
    },
}


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("samples", [GREY, GREY_ALPHA, COLOUR, COLOUR_ALPHA], ids=["grey", "LA", "RGB", "RGBA"])
def test_16_bits_give_their_high_byte_in_every_container(writer: str, samples: Samples) -> None:
    assert reading(WRITERS[writer](samples)) == high_bits(samples, 16)


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("samples", [GREY, COLOUR], ids=["grey", "RGB"])
def test_16_bit_netpbm_and_jpeg_2000_give_the_pixels_of_png(samples: Samples, plain: bool) -> None:
    assert reading(netpbm(samples, 16, plain=plain)) == reading(png(samples, 16))
    if samples is GREY:
        assert reading(pillow("JPEG2000", samples)) == reading(png(samples, 16))


@pytest.mark.parametrize("bits", [9, 10, 12, 14, 15])
@pytest.mark.parametrize("samples", [GREY, COLOUR], ids=["grey", "RGB"])
def test_depths_between_8_and_16_bits_give_their_high_bits(bits: int, samples: Samples) -> None:
    shallow = samples >> (16 - bits)

    assert reading(netpbm(shallow, bits)) == high_bits(shallow, bits)
    assert reading(tiff(shallow, bits)) == high_bits(shallow, bits)
    assert reading(tiff(shallow, bits, deflate=True, order=">")) == high_bits(shallow, bits)


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_few_bits_of_grey_are_spread_over_all_levels_in_every_container(bits: int) -> None:
    shallow = GREY >> (16 - bits)
    spread = (shallow * (255 // ((1 << bits) - 1))).astype(np.uint8)
    expected = pixel_id(np.ascontiguousarray(rgb(spread)))

    assert reading(png(shallow, bits)) == expected
    assert reading(tiff(shallow, bits)) == expected
    assert reading(netpbm(shallow, bits)) == expected
    assert reading(netpbm(shallow, bits, plain=True)) == expected
    assert reading(pillow("BMP", spread)) == expected


@pytest.mark.parametrize("bits", [3, 5, 7])
@pytest.mark.parametrize("samples", [GREY, COLOUR], ids=["grey", "RGB"])
def test_odd_depths_below_8_bits_are_spread_alike(bits: int, samples: Samples) -> None:
    shallow = samples >> (16 - bits)

    assert reading(tiff(shallow, bits)) == reading(netpbm(shallow, bits))


@pytest.mark.parametrize("bits", [1, 8, 12, 16])
@pytest.mark.parametrize("order", "<>")
def test_white_as_zero_is_the_same_picture(bits: int, order: str) -> None:
    shallow = GREY >> (16 - bits)
    inverted = ((1 << bits) - 1 - shallow.astype(np.int64)).astype(np.uint16)

    assert reading(tiff(inverted, bits, photometric=0, order=order)) == reading(tiff(shallow, bits, order=order))


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_palettes_of_every_depth_give_the_same_pixels(bits: int) -> None:
    index = Image.fromarray((DEEP[..., 0] >> 14).astype(np.uint8))
    index.putpalette([9, 8, 7, 200, 100, 50, 0, 255, 3, 77, 78, 79])
    expected = pixel_id(np.asarray(index.convert("RGB")))

    for container, options in (("PNG", {"bits": bits}), ("GIF", {}), ("BMP", {}), ("TIFF", {})):
        stream = io.BytesIO()
        index.save(stream, container, **options)
        assert reading(stream.getvalue()) == expected, container


@pytest.mark.parametrize(
    ("kind", "bits", "sample_format"),
    [
        ("i1", 8, 2),
        ("i2", 16, 2),
        ("u4", 32, 1),
        ("i4", 32, 2),
        ("f4", 32, 3),
        ("f8", 64, 3),
        ("f2", 16, 3),
        ("u8", 64, 1),
    ],
)
@pytest.mark.parametrize("samples", [GREY, COLOUR], ids=["grey", "RGB"])
@pytest.mark.parametrize("order", "<>")
def test_signed_long_and_floating_samples_are_refused_by_their_real_depth(
    kind: str, bits: int, sample_format: int, samples: Samples, order: str
) -> None:
    data = tiff((samples >> 9).astype(kind), bits, sample_format=sample_format, order=order)

    refused = reading(data)

    assert refused.startswith(f"mode: {bits}-bit ")
    assert ("floating" in refused, "signed" in refused.replace("unsigned", "")) == (
        sample_format == 3,
        sample_format == 2,
    )


def test_a_jpeg_of_12_bits_is_refused_by_its_depth() -> None:
    data = bytearray(pillow("JPEG", (COLOUR >> 8).astype(np.uint8)))
    frame = data.index(b"\xff\xc0")
    data[frame + 4] = 12

    assert reading(bytes(data)) == "mode: 12-bit samples in JPEG, which its decoder cannot read"


def test_portable_float_maps_are_refused_by_their_depth() -> None:
    assert reading(b"Pf\n2 2\n-1.0\n" + np.ones(4, "<f4").tobytes()).startswith("mode: 32-bit floating-point")


@pytest.mark.parametrize("length", range(0, 400, 23))
@pytest.mark.parametrize("data", [tiff(GREY_ALPHA, 16), tiff(COLOUR >> 4, 12, deflate=True), netpbm(COLOUR, 16)])
def test_a_deep_file_that_is_cut_is_never_padded(data: bytes, length: int) -> None:
    assert reading(data[: len(data) * length // 400]).split(":")[0] in ("truncated", "damaged", "not-an-image", "empty")


def test_a_sample_above_the_largest_value_is_damage() -> None:
    assert reading(b"P5 2 1 1023 " + struct.pack(">HH", 5, 1024)).startswith("damaged: a sample of 1024")
    assert reading(b"P2 2 1 65535 5 70000").startswith("damaged")
