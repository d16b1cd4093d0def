"""Damage that a decoder passes over: what can be told of it is refused, and no sound file is."""

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fewshot.embeddings.inputs.decoders import decoder_of
from fewshot.embeddings.inputs.images import UnreadableImage, decode
from fewshot.embeddings.inputs.jpeg_stream import decoder_warning

GENERATOR = np.random.default_rng(0)
# Smooth with some grain, as a photograph: 256x320, about 40 KB as JPEG.
WAVES = np.sin(np.arange(256)[:, None, None] / 20) + np.cos(np.arange(320)[None, :, None] / (11, 17, 23))
PHOTO = Image.fromarray(np.clip(60 * WAVES + 128 + GENERATOR.normal(0, 12, WAVES.shape), 0, 255).astype(np.uint8))
END = b"\xff\xd9"


def encoded(container: str, image: Image.Image = PHOTO, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.copy().save(stream, container, **options)
    return stream.getvalue()


def reason(data: bytes, decoder: str = "pillow") -> str:
    try:
        decoder_of(decoder)(data)
    except UnreadableImage as error:
        return error.reason
    return "embedded"


JPEGS: dict[str, dict[str, Any]] = {
    "baseline": {"quality": 90},
    "progressive": {"quality": 90, "progressive": True},
    "restarts": {"quality": 90, "restart_marker_rows": 1},
    "optimised": {"quality": 90, "optimize": True, "subsampling": 0},
    "grey": {"image": PHOTO.convert("L"), "quality": 95},
    "CMYK": {"image": PHOTO.convert("CMYK"), "quality": 90},
    "MPO": {"container": "MPO", "quality": 90},
}


def jpeg(kind: str) -> bytes:
    return encoded(**{"container": "JPEG", **JPEGS[kind]})


@pytest.mark.parametrize("decoder", ["pillow", "torchvision"])
@pytest.mark.parametrize("kind", JPEGS)
@pytest.mark.parametrize("share", [0.3, 0.5, 0.8])
def test_a_jpeg_cut_and_closed_by_an_end_marker_is_refused(kind: str, share: float, decoder: str) -> None:
    data = jpeg(kind)

    assert reason(data[: int(len(data) * share)] + END, decoder) in ("truncated", "damaged")


@pytest.mark.parametrize("decoder", ["pillow", "torchvision"])
@pytest.mark.parametrize("kind", JPEGS)
@pytest.mark.parametrize("filling", [b"\0", b"\x55", b""])
def test_a_jpeg_with_a_hole_of_8_kib_is_refused(kind: str, filling: bytes, decoder: str) -> None:
    data = jpeg(kind)
    start, size = len(data) // 3, min(8192, len(data) // 3)

    assert reason(data[:start] + filling * size + data[start + size :], decoder) in ("truncated", "damaged")


@pytest.mark.parametrize("kind", JPEGS)
def test_a_sound_jpeg_is_read_with_all_that_writers_leave_in_it(kind: str) -> None:
    data = jpeg(kind)
    comment = b"\xff\xfe" + struct.pack(">H", 9) + b"comment"

    assert decode(data[:2] + comment + data[2:])[1].id == decode(data)[1].id
    assert decode(data + b"\0" * 3000)[1].id == decode(data)[1].id


@pytest.mark.parametrize("stray", [b"\0", b"\0\0\0"])
def test_a_few_stray_bytes_before_the_end_marker_cost_no_image(stray: bytes) -> None:
    data = jpeg("baseline")

    assert decode(data[:-2] + stray + END)[1].id == decode(data)[1].id


@pytest.mark.parametrize("value", [0, 128, 255])
@pytest.mark.parametrize("options", [{}, {"optimize": True}, {"progressive": True}, {"quality": 100}])
def test_flat_pictures_are_sound(value: int, options: dict[str, Any]) -> None:
    flat = Image.new("RGB", (700, 500), (value, value, value))

    for container in ("JPEG", "WEBP", "PNG"):
        assert decode(encoded(container, flat, **options))[1].width == 700
    assert decode(encoded("WEBP", flat, lossless=True))[1].width == 700
    assert decode(encoded("JPEG2000", flat))[1].width == 700


def test_a_progressive_jpeg_without_its_last_scan_is_refused() -> None:
    data = jpeg("progressive")
    last = data.rindex(b"\xff\xda")

    assert decoder_warning(data[:last] + END) is None  # libjpeg sees nothing wrong in it
    assert reason(data[:last] + END) == "truncated"


def test_real_photographs_have_no_warning(shared: Path) -> None:
    files = sorted((shared / "data").rglob("*.jpg"))[::15]

    assert len(files) > 100
    assert [path.name for path in files if decoder_warning(path.read_bytes()) is not None] == []


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def test_png_chunks_are_checked_and_come_in_order() -> None:
    data = encoded("PNG")
    start = data.index(b"IDAT") - 4
    size = int.from_bytes(data[start : start + 4], "big")
    head, pixels, rest = data[:start], data[start + 8 : start + 8 + size], data[start + 12 + size :]
    halves = [chunk(b"IDAT", pixels[: size // 2]), chunk(b"IDAT", pixels[size // 2 :])]
    wrong = halves[0][:-4] + b"\0\0\0\0"

    assert reason(head + halves[0] + halves[1] + rest) == "embedded"
    assert reason(head + wrong + halves[1] + rest) == "damaged"
    assert reason(head + halves[0] + chunk(b"tEXt", b"a\0b") + halves[1] + rest) == "damaged"
    assert reason(head + halves[0] + rest) in ("damaged", "truncated")
    assert reason(data[:-12]) == "truncated"


@pytest.mark.parametrize("at", range(0, 100, 9))
def test_every_flipped_bit_in_the_pixel_data_of_a_png_is_found(at: int) -> None:
    data = bytearray(encoded("PNG", compress_level=0))
    first = data.index(b"IDAT")
    data[first + (len(data) - first) * at // 100] ^= 4

    assert reason(bytes(data)) in ("damaged", "truncated")


@pytest.mark.parametrize(
    ("container", "options"),
    [
        ("WEBP", {"quality": 95}),
        ("WEBP", {"lossless": True}),
        ("JPEG2000", {}),
        ("GIF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("TIFF", {"compression": "tiff_adobe_deflate"}),
        ("TIFF", {"compression": "jpeg", "quality": 95}),
        ("TIFF", {"compression": "group4", "image": PHOTO.convert("1")}),
        ("TGA", {"compression": "tga_rle"}),
        ("AVIF", {"quality": 95}),
    ],
)
def test_a_hole_of_zeros_in_compressed_data_is_found_and_nothing_is_printed(
    container: str, options: dict[str, Any], capfd: pytest.CaptureFixture[str]
) -> None:
    data = encoded(container, **options)
    start, size = len(data) // 4, min(8192, len(data) // 2)

    assert reason(data) == "embedded"
    assert reason(data[:start] + bytes(size) + data[start + size :]) in ("damaged", "truncated")
    assert capfd.readouterr() == ("", "")


def test_jpeg_strips_of_a_tiff_are_checked_as_jpeg_files_are() -> None:
    data = bytearray(encoded("TIFF", compression="jpeg", quality=90))
    scan = data.index(b"\xff\xda")
    middle = scan + (data.index(END, scan) - scan) // 2
    data[middle : middle + 2] = END

    assert reason(bytes(data)) in ("truncated", "damaged")


def test_what_is_printed_beside_libtiffs_messages_is_not_lost(capfd: pytest.CaptureFixture[str]) -> None:
    import os

    from fewshot.embeddings.inputs.libtiff_messages import libtiff_messages

    with libtiff_messages() as messages:
        os.write(2, b"Fax4Decode: Bad code word at line 1 of strip 0 (x 2).\nsomething else\n")

    assert messages == ["Fax4Decode: Bad code word at line 1 of strip 0 (x 2)."]
    assert capfd.readouterr().err == "something else\n"
