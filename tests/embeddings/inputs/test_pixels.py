"""Every row of docs/concepts/pixels.md: what is embedded of what a file holds."""

import importlib.util
import io
import re
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from fewshot.embeddings.inputs.images import SUFFIXES, UnreadableImage, decode
from fewshot.embeddings.layouts.tree import not_an_image

PAGE = Path(__file__).parents[3] / "docs/concepts/pixels.md"
PHOTO = np.random.default_rng(0).integers(0, 256, size=(6, 9, 3), dtype=np.uint8)


def encoded(container: str, image: Image.Image, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.copy().save(stream, container, **options)
    return stream.getvalue()


def pixels(data: bytes) -> "np.ndarray[Any, np.dtype[np.uint8]]":
    return np.asarray(decode(data)[0])


def photo() -> Image.Image:
    return Image.fromarray(PHOTO)


def test_every_row_of_the_page_has_its_test() -> None:
    rows = re.findall(r"^\| ([^|]+) \| [^|]+ \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)[1:]

    assert len(rows) >= 15
    for row in rows:
        name = re.sub(r"[^a-z0-9]+", "_", row.replace("\\*", "_").lower()).strip("_")
        assert f"test_{name}" in globals(), row


@pytest.mark.parametrize("container", ["PNG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(container: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(container, photo(), exif=exif, lossless=True)

    np.testing.assert_array_equal(pixels(data), PHOTO)
    assert decode(data)[1].not_in_pixels == (f"orientation={orientation}" if orientation > 1 else "")


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("deep", [False, True])
def test_orientation_tag_of_a_tiff(orientation: int, deep: bool) -> None:
    turns = [None, None, *(Image.Transpose(code) for code in (0, 3, 1, 5, 4, 6, 2))]
    image = Image.fromarray(PHOTO[..., 0].astype(np.uint16) * 257) if deep else photo()
    data = bytearray(encoded("TIFF", image, tiffinfo={274: orientation}))
    if deep:  # white as zero is read without Pillow
        tag = data.index(struct.pack("<HHIH", 262, 3, 1, 1))
        data[tag + 8] = 0
    turn = turns[orientation]
    upright = Image.fromarray(255 - PHOTO[..., 0]).convert("RGB") if deep else photo()

    found = pixels(bytes(data))

    np.testing.assert_array_equal(found, np.asarray(upright if turn is None else upright.transpose(turn)))


@pytest.mark.skipif(importlib.util.find_spec("pillow_heif") is None, reason="the extra heif")
def test_rotation_of_a_heic() -> None:
    import pillow_heif

    pillow_heif.register_heif_opener()
    left = np.zeros((32, 64, 3), np.uint8)
    left[:, :32] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # the encoder writes it as the container's rotation

    found = pixels(encoded("HEIF", Image.fromarray(left), quality=90, exif=exif.tobytes()))

    assert found.shape == (64, 32, 3)
    assert found[:28].mean() > 240
    assert found[36:].mean() < 15
    assert {".heic", ".heif"} <= SUFFIXES


def test_a_heic_without_its_reader_is_left_out_with_the_command_that_installs_it() -> None:
    assert not_an_image("a.HEIC") == ".heic: pip install 'fewshot[heif]' reads HEIC and HEIF"


@pytest.mark.parametrize("container", ["GIF", "PNG", "WEBP", "TIFF"])
def test_several_frames_or_pages(container: str) -> None:
    others = [Image.fromarray(255 - PHOTO), Image.fromarray(PHOTO // 2)]
    data = encoded(container, photo(), save_all=True, append_images=others, lossless=True)

    first = pixels(data)

    np.testing.assert_array_equal(first, pixels(encoded(container, photo(), lossless=True)))
    assert "frames=3" in decode(data)[1].metadata


@pytest.mark.parametrize("container", ["PNG", "WEBP", "TIFF", "TGA"])
def test_alpha_channel(container: str) -> None:
    image = photo().convert("RGBA")
    image.putalpha(Image.fromarray(np.where(PHOTO[..., 0] > 128, 255, 0).astype(np.uint8)))

    found = pixels(encoded(container, image, lossless=True, exact=True))

    np.testing.assert_array_equal(found, PHOTO)


def test_transparent_colour() -> None:
    indexed = photo().quantize(16)
    data = encoded("PNG", indexed, transparency=3)
    keyed = encoded("PNG", photo(), transparency=tuple(PHOTO[0, 0].tolist()))

    np.testing.assert_array_equal(pixels(data), np.asarray(indexed.convert("RGB")))
    np.testing.assert_array_equal(pixels(keyed), PHOTO)
    assert decode(data)[1].not_in_pixels == decode(keyed)[1].not_in_pixels == "alpha"


def test_premultiplied_alpha() -> None:
    image = photo().convert("RGBA")
    image.putalpha(200)
    data = bytearray(encoded("TIFF", image))
    tag = data.index(struct.pack("<HHIH", 338, 3, 1, 2))
    data[tag + 8] = 1  # associated

    found = pixels(bytes(data)).astype(int)

    np.testing.assert_allclose(found, np.minimum(PHOTO.astype(int) * 255 // 200, 255), atol=1)


def test_9_to_16_bits() -> None:
    deep = np.arange(54, dtype=np.uint16).reshape(6, 9) * 1213

    np.testing.assert_array_equal(pixels(encoded("PNG", Image.fromarray(deep)))[..., 1], deep >> 8)


def test_1_to_7_bits() -> None:
    grey = Image.fromarray(PHOTO[..., 0] > 99)

    np.testing.assert_array_equal(pixels(encoded("PNG", grey))[..., 0], np.where(PHOTO[..., 0] > 99, 255, 0))


def test_signed_floating_or_longer_samples() -> None:
    for kind, words in ((np.float32, "32-bit floating-point"), (np.int32, "32-bit signed")):
        with pytest.raises(UnreadableImage, match=f"mode: {words}"):
            decode(encoded("TIFF", Image.fromarray(PHOTO[..., 0].astype(kind))))


def test_white_as_zero() -> None:
    data = bytearray(encoded("TIFF", Image.fromarray(PHOTO[..., 0])))
    tag = data.index(struct.pack("<HHIH", 262, 3, 1, 1))
    data[tag + 8] = 0

    np.testing.assert_array_equal(pixels(bytes(data))[..., 2], 255 - PHOTO[..., 0])


@pytest.mark.parametrize("container", ["PNG", "GIF", "BMP", "TIFF"])
def test_palette(container: str) -> None:
    indexed = photo().quantize(20)

    np.testing.assert_array_equal(pixels(encoded(container, indexed)), np.asarray(indexed.convert("RGB")))


def test_grey() -> None:
    np.testing.assert_array_equal(
        pixels(encoded("PNG", Image.fromarray(PHOTO[..., 0]))), np.repeat(PHOTO[..., :1], 3, axis=2)
    )


@pytest.mark.parametrize("container", ["PNG", "WEBP", "TIFF"])
def test_colour_profile(container: str) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("XYZ")).tobytes()
    data = encoded(container, photo(), icc_profile=profile, lossless=True)

    np.testing.assert_array_equal(pixels(data), PHOTO)
    assert decode(data)[1].metadata == "icc"


def test_gamma_and_chromaticities_of_a_png() -> None:
    data = encoded("PNG", photo())
    gamma = b"gAMA" + struct.pack(">I", 100_000)
    chunk = struct.pack(">I", 4) + gamma + struct.pack(">I", zlib.crc32(gamma))

    np.testing.assert_array_equal(pixels(data[:33] + chunk + data[33:]), PHOTO)


def test_cmyk() -> None:
    image = photo().convert("CMYK")

    np.testing.assert_array_equal(pixels(encoded("TIFF", image)), np.asarray(image.convert("RGB")))
    jpeg = pixels(encoded("JPEG", Image.new("CMYK", (16, 16), (0, 255, 255, 0)), quality=95))
    assert jpeg[..., 0].min() > 240
    assert jpeg[..., 1:].max() < 15


def test_l_a_b() -> None:
    lab = Image.new("LAB", (8, 8), (255, 128, 128))

    assert pixels(encoded("TIFF", lab)).min() > 245
