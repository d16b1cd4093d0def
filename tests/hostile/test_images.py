"""Hostile image files: none holds a run up, asks for unbounded memory, ends it, or is listed for a false reason."""

import io
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from fewshot.embeddings.inputs.images import UnreadableImage, decode, pixel_id
from fewshot.embeddings.inputs.transforms import Squash
from fewshot.embeddings.inputs.views import parse
from fewshot.embeddings.layouts.base import Sample
from fewshot.embeddings.layouts.folder import Folder
from fewshot.embeddings.pipeline.decode_pool import WorkerPool, prepared_in_order
from fewshot.embeddings.pipeline.prepare import Input, Job, Preparation, Prepared, prepare
from fewshot.embeddings.pipeline.settings import PixelSettings

PHOTO = np.random.default_rng(0).integers(0, 256, size=(24, 32, 3), dtype=np.uint8)
ENDLESS = ("fifo.jpg", "zero.jpg", "proc.jpg", "sparse.jpg", "folder.jpg")


def encoded(container: str, image: Image.Image | None = None, **options: Any) -> bytes:
    stream = io.BytesIO()
    (image or Image.fromarray(PHOTO)).save(stream, container, **options)
    return stream.getvalue()


def many_scans(count: int) -> bytes:
    """A progressive JPEG whose last scan comes ``count`` times."""
    data = encoded("JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * count + b"\xff\xd9"


def many_pages(count: int) -> bytes:
    """A TIFF whose first page is followed by ``count`` small ones."""
    data = bytearray(encoded("TIFF"))
    first = int.from_bytes(data[4:8], "little")
    entries = int.from_bytes(data[first : first + 2], "little")
    at = first + 2 + 12 * entries
    data += b"\0" * (len(data) % 2)
    for _ in range(count):
        data[at : at + 4] = len(data).to_bytes(4, "little")
        data += struct.pack("<HHHIII", 1, 256, 4, 1, 1, 0)
        at = len(data) - 4
    return bytes(data)


def many_frames(count: int) -> bytes:
    """A GIF whose first frame is followed by ``count`` of one pixel."""
    frame = b"," + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x4c\x01\x00"
    return encoded("GIF")[:-1] + frame * count + b";"


def inflating_text() -> bytes:
    text = PngImagePlugin.PngInfo()
    text.add_text("long", "a" * (3 << 20), zip=True)
    return encoded("PNG", pnginfo=text)


def inflating_profile() -> bytes:
    data = encoded("PNG")
    content = b"profile\0\0" + zlib.compress(bytes(3 << 20))
    chunk = struct.pack(">I", len(content)) + b"iCCP" + content + struct.pack(">I", zlib.crc32(b"iCCP" + content))
    return data[:33] + chunk + data[33:]


def preparation(folder: Path, *views: str, reencode: str = "clean") -> Preparation:
    inputs = tuple(Input(parse(view).pixels, (Squash(8, 8),)) for view in ("clean", *views))
    return Preparation((folder,), (Folder(),), inputs, PixelSettings(reencode=parse(reencode).pixels))


def jobs(*names: str) -> list[Job]:
    return [Job(number, 0, Sample(name, "x", False)) for number, name in enumerate(names)]


def prepared(data: bytes, folder: Path, *views: str, reencode: str = "clean") -> Prepared:
    (folder / "image").write_bytes(data)
    return prepare(preparation(folder, *views, reencode=reencode), jobs("image")[0])


@pytest.fixture
def endless(tmp_path: Path) -> Path:
    """A folder of what is no regular file, or too large a one, and of one good image."""
    os.mkfifo(tmp_path / "fifo.jpg")
    (tmp_path / "zero.jpg").symlink_to("/dev/zero")
    (tmp_path / "proc.jpg").symlink_to("/proc/version")
    with (tmp_path / "sparse.jpg").open("wb") as sparse:
        sparse.truncate(10 << 30)
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "good.png").write_bytes(encoded("PNG"))
    return tmp_path


@pytest.mark.parametrize("workers", [0, 1])
def test_only_regular_files_of_some_size_are_read(endless: Path, workers: int) -> None:
    found = list(prepared_in_order(preparation(endless), jobs(*ENDLESS, "good.png"), workers=workers))

    reasons = [result.failure.split(":")[0] for result in found]
    assert reasons == ["unreadable", "unreadable", "not-an-image", "unreadable", "unreadable", ""]
    assert "a named pipe" in found[0].failure
    assert "a device" in found[1].failure
    assert "10.7 GB, and at most" in found[3].failure


@pytest.mark.parametrize("workers", [0, 1])
def test_scans_pages_and_frames_without_end_hold_nothing_up(tmp_path: Path, workers: int) -> None:
    (tmp_path / "scans.jpg").write_bytes(many_scans(20_000))
    (tmp_path / "pages.tiff").write_bytes(many_pages(100_000))
    (tmp_path / "frames.gif").write_bytes(many_frames(100_000))

    names = ("scans.jpg", "pages.tiff", "frames.gif")
    scans, pages, frames = prepared_in_order(preparation(tmp_path), jobs(*names), workers=workers, decode_seconds=30)

    assert scans.failure.startswith("bomb: more than 500 scans")
    assert pages.metadata is not None
    assert frames.metadata is not None
    assert "frames=100001" in pages.metadata.metadata
    assert "frames=100001" in frames.metadata.metadata
    assert pages.metadata.id == pixel_id(PHOTO)


def test_a_picture_beyond_the_memory_of_a_decode_is_listed_and_takes_no_other_along(tmp_path: Path) -> None:
    Image.new("1", (12_000, 12_000)).save(tmp_path / "large.png", compress_level=1)
    (tmp_path / "good.png").write_bytes(encoded("PNG"))

    with WorkerPool(preparation(tmp_path), 1, decode_bytes=400 << 20) as pool:
        found = list(pool.run(jobs("good.png", "large.png", "good.png")))

    assert [result.failure.partition(":")[0] for result in found] == ["", "memory", ""]


@pytest.mark.parametrize("content", [inflating_text, inflating_profile])
def test_metadata_that_inflates_is_left_unread_and_the_pixels_are_embedded(content: Callable[[], bytes]) -> None:
    image, metadata = decode(content())

    np.testing.assert_array_equal(np.asarray(image), PHOTO)
    assert metadata.metadata == ("text,unread" if content is inflating_text else "icc,unread")


@pytest.mark.parametrize("container", ["TIFF", "GIF"])
def test_a_file_cut_in_a_later_page_gives_its_first_and_says_so(container: str, tmp_path: Path) -> None:
    frames = [Image.fromarray(PHOTO // part) for part in (2, 3, 4)]
    data = encoded(container, Image.fromarray(PHOTO), save_all=True, append_images=frames)
    whole = decode(data)[1]
    assert "unread" not in whole.metadata

    for length in range(len(data) * 3 // 5, len(data) - 1, 97):
        found = prepared(data[:length], tmp_path)
        if not found.failure:
            assert found.metadata is not None
            assert found.metadata.id == whole.id
            assert "unread" in found.metadata.metadata or (container, found.metadata.metadata) == ("TIFF", "frames=4")
        else:
            assert found.failure.split(":")[0] in ("truncated", "damaged"), found.failure


@pytest.mark.parametrize(
    ("view", "size", "limit"),
    [("webp:80", (16_384, 2), "16383"), ("webp:80", (2, 20_000), "16383"), ("jpeg:90", (65_501, 1), "65500")],
)
def test_a_side_that_an_encoder_does_not_hold_is_the_images_own_failure(
    view: str, size: tuple[int, int], limit: str, tmp_path: Path
) -> None:
    data = encoded("PNG", Image.new("RGB", size))

    as_view = prepared(data, tmp_path, view)
    as_format = prepared(data, tmp_path, reencode=view)

    assert [isinstance(array, str) for array in as_view.inputs] == [False, True]
    assert f"holds at most {limit} on a side" in str(as_view.inputs[1])
    assert as_format.failure.startswith("view: ValueError")
    assert f"holds at most {limit} on a side" in as_format.failure


@pytest.mark.parametrize(
    "raised", [MemoryError(), RecursionError("deep"), OverflowError("large"), struct.error("short"), SyntaxError("odd")]
)
@pytest.mark.parametrize(
    "where", ["decoders.metadata_of", "images.pixel_id", "images.perceptual_hash", "images.rgb_of"]
)
def test_whatever_is_raised_of_one_image_is_its_failure(
    raised: Exception, where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise raised

    monkeypatch.setattr(f"fewshot.embeddings.inputs.{where}", fail)
    if where.startswith("decoders"):
        monkeypatch.setattr("fewshot.embeddings.inputs.images.metadata_of", fail)

    failure = prepared(encoded("PNG"), tmp_path).failure

    assert failure.startswith("memory: " if isinstance(raised, MemoryError) else f"damaged: {type(raised).__name__}")


@pytest.mark.parametrize("damage", [b"II*\0\xff\xff\xff\xff", b"MM\0*\0\0\0\x08\xff\xff", b"garbage", b""])
def test_exif_data_that_cannot_be_read_costs_no_image(damage: bytes, tmp_path: Path) -> None:
    for container in ("JPEG", "PNG", "WEBP"):
        found = prepared(encoded(container, exif=b"Exif\0\0" + damage), tmp_path)

        assert found.failure == "", container
        assert found.metadata is not None


def test_a_failure_is_one_printable_line_of_bounded_length() -> None:
    text = str(UnreadableImage("damaged", "a\nb\x1b[2J\x00\udcff" + "x" * 5000))

    assert text.isprintable()
    assert len(text) < 400
