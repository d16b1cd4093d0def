"""Decoding of good, odd and hostile files, and the facts kept of them."""

import hashlib
import io
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile
from scipy.fft import dctn

from fewshot.embeddings.inputs.images import MAX_PIXELS, UnreadableImage, decode, perceptual_hash, pixel_id

PHOTO = np.random.default_rng(0).integers(0, 256, size=(6, 8, 3), dtype=np.uint8).repeat(8, axis=0).repeat(8, axis=1)


def encoded(container: str, *, image: Image.Image | None = None, **options: object) -> bytes:
    stream = io.BytesIO()
    (image or Image.fromarray(PHOTO)).save(stream, container, **options)
    return stream.getvalue()


def reason(data: bytes) -> str:
    with pytest.raises(UnreadableImage) as found:
        decode(data)
    return found.value.reason


@pytest.mark.parametrize("container", ["PNG", "BMP", "TIFF", "GIF", "JPEG", "WEBP", "JPEG2000", "PPM"])
def test_pixels_are_pillows_rgb_of_every_container(container: str) -> None:
    data = encoded(container)

    image, facts = decode(data)

    with Image.open(io.BytesIO(data)) as reference:
        np.testing.assert_array_equal(np.asarray(image), np.asarray(reference.convert("RGB")))
    assert (facts.format, facts.width, facts.height) == (container, 64, 48)
    assert facts.file_sha256 == hashlib.sha256(data).hexdigest()


def test_equal_pixels_have_equal_ids_whatever_the_container() -> None:
    ids = {decode(encoded(container))[1].id for container in ("PNG", "BMP", "TIFF")}

    assert ids == {pixel_id(PHOTO)}
    assert pixel_id(PHOTO) != pixel_id(np.ascontiguousarray(PHOTO.transpose(1, 0, 2)))


def test_exif_orientation_turns_nothing_and_is_noted() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6

    image, facts = decode(encoded("JPEG", exif=exif, quality=95))

    assert image.size == (64, 48)
    assert facts.metadata == "exif"


@pytest.mark.parametrize("quality", [10, 35, 50, 75, 90, 100])
def test_jpeg_quality_is_read_from_the_tables(quality: int) -> None:
    facts = decode(encoded("JPEG", quality=quality))[1]

    assert facts.jpeg_quality == quality
    assert (
        facts.quantisation == decode(encoded("JPEG", quality=quality, image=Image.new("RGB", (9, 9))))[1].quantisation
    )
    assert facts.quantisation != decode(encoded("JPEG", quality=quality - 3))[1].quantisation
    assert decode(encoded("PNG"))[1].jpeg_quality == -1


def test_odd_modes_are_turned_to_rgb_and_noted() -> None:
    grey16 = np.arange(64 * 48, dtype=np.uint16).reshape(48, 64) * 21
    cases = {
        "CMYK": encoded("JPEG", image=Image.fromarray(PHOTO).convert("CMYK")),
        "P": encoded("PNG", image=Image.fromarray(PHOTO).convert("P")),
        "RGBA": encoded("PNG", image=Image.fromarray(PHOTO).convert("RGBA")),
        "L": encoded("PNG", image=Image.fromarray(PHOTO).convert("L")),
        "1": encoded("PNG", image=Image.fromarray(PHOTO).convert("1")),
        "I;16": encoded("PNG", image=Image.fromarray(grey16)),
    }

    found = {mode: decode(data) for mode, data in cases.items()}

    assert all(facts.mode == mode and image.mode == "RGB" for mode, (image, facts) in found.items())
    np.testing.assert_array_equal(np.asarray(found["I;16"][0])[..., 1], grey16 >> 8)


def test_the_first_frame_of_an_animation_is_taken_and_noted() -> None:
    frames = [Image.fromarray(np.full((8, 8, 3), value, np.uint8)) for value in (0, 90, 200)]
    for container in ("GIF", "WEBP", "PNG"):
        data = encoded(container, image=frames[0], save_all=True, append_images=frames[1:], duration=50)

        image, facts = decode(data)

        assert "frames=3" in facts.metadata
        assert np.asarray(image).max() < 10


def test_a_single_pixel_is_an_image() -> None:
    assert decode(encoded("PNG", image=Image.new("RGB", (1, 1), (9, 8, 7))))[1].width == 1


@pytest.mark.parametrize("container", ["PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_truncated_file_is_never_padded(container: str, share: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    noise = Image.fromarray(np.random.default_rng(1).integers(0, 256, size=(64, 64, 3), dtype=np.uint8))
    data = encoded(container, image=noise)

    assert reason(data[: int(len(data) * share)]) in ("truncated", "damaged", "not-an-image")


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", "empty"),
        (b"a text file, not an image\n" * 9, "not-an-image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not-an-image"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 40, "damaged"),
        (b"\xff\xd8\xff\xe0" + b"\0" * 40, "damaged"),
    ],
)
def test_what_is_no_image_says_so(data: bytes, expected: str) -> None:
    found = reason(data)

    assert found == expected or (expected == "damaged" and found in ("not-an-image", "truncated"))


def test_a_decompression_bomb_is_refused_before_its_pixels_are_made() -> None:
    side = int(MAX_PIXELS**0.5) + 10
    header = io.BytesIO()
    Image.new("1", (64, 64)).save(header, "PNG")
    data = bytearray(header.getvalue())
    data[16:24] = side.to_bytes(4, "big") * 2
    import zlib

    data[29:33] = zlib.crc32(bytes(data[12:29])).to_bytes(4, "big")

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert reason(bytes(data)) == "bomb"


def test_a_32_bit_mode_without_a_range_is_refused() -> None:
    assert reason(encoded("TIFF", image=Image.fromarray(np.ones((8, 8), np.float32)))) == "mode"


def test_perceptual_hash_equals_scipys_dct_about_its_median() -> None:
    image = Image.fromarray(PHOTO)
    grey = np.asarray(image.convert("L").resize((32, 32), Image.Resampling.BOX), dtype=np.float64)
    low = dctn(grey, type=2, norm="ortho")[:8, :8]

    expected = int("".join("1" if value > np.median(low) else "0" for value in low.reshape(-1)), 2)

    assert perceptual_hash(image) == expected


def test_perceptual_hash_survives_recompression_and_tells_pictures_apart() -> None:
    hashes = [decode(encoded("JPEG", quality=quality))[1].phash for quality in (95, 40)]
    other = perceptual_hash(Image.fromarray(np.ascontiguousarray(PHOTO[:, ::-1])))

    assert (hashes[0] ^ hashes[1]).bit_count() <= 4
    assert (hashes[0] ^ other).bit_count() >= 12


def test_the_hostile_corpus_is_all_reported_and_none_is_fatal(tmp_path: Path) -> None:
    from fewshot.embeddings.layouts.base import Sample
    from fewshot.embeddings.layouts.folder import Folder
    from fewshot.embeddings.pipeline.prepare import Job, Preparation, prepare

    good = encoded("PNG")
    files = {
        "good.png": good,
        "zero.png": b"",
        "cut.jpg": encoded("JPEG")[:200],
        "wrong-suffix.jpg": good,
        "text.png": b"text",
        os_name(b"not-utf8-\xff.png"): good,
        "n" * 251 + ".png": good,
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    (tmp_path / "dangling.png").symlink_to(tmp_path / "nowhere.png")
    recipe = Preparation((tmp_path,), (Folder(),), ())

    found = {
        name: prepare(recipe, Job(number, 0, Sample(name, "x", False))).failure.split(":")[0]
        for number, name in enumerate([*files, "dangling.png", "m" * 300 + ".png"])
    }

    assert found == dict.fromkeys(files, "") | {
        "zero.png": "empty",
        "cut.jpg": "truncated",
        "text.png": "not-an-image",
        "dangling.png": "missing",
        "m" * 300 + ".png": "unreadable",
    }


def os_name(raw: bytes) -> str:
    """Return a file name as the system gives it, whatever its bytes."""
    import os

    return os.fsdecode(raw)
