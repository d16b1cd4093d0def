"""The faster decoder against the reference: the same facts and refusals, and pixels within one grey level."""

import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import fewshot
from fewshot.core.errors import DeviceError, StoreError, UnknownNameError
from fewshot.embeddings.inputs.decoders import decoder_of, resize_of
from fewshot.embeddings.inputs.images import UnreadableImage, decode
from fewshot.embeddings.inputs.rule import InputRule
from fewshot.embeddings.inputs.transforms import AtLeast, CenterCrop, Interpolation, ShorterSide, Squash, pillow_resize

NOISE = np.random.default_rng(0).integers(0, 256, size=(9, 12, 3), dtype=np.uint8).repeat(6, axis=0).repeat(6, axis=1)
GREY_LEVELS = 1


def encoded(container: str, *, image: Image.Image | None = None, **options: Any) -> bytes:
    stream = io.BytesIO()
    (image or Image.fromarray(NOISE)).save(stream, container, **options)
    return stream.getvalue()


def outcome(decoder: str, data: bytes) -> tuple[object, str]:
    """Return the facts or the refusal, and the pixels' shape."""
    try:
        image, facts = decoder_of(decoder)(data)
    except UnreadableImage as error:
        return error.reason, ""
    return {name: value for name, value in facts.columns().items() if name not in ("id", "phash")}, str(image.size)


def assert_near(data: bytes) -> None:
    pixels = [np.asarray(decoder_of(name)(data)[0], dtype=int) for name in ("pillow", "torchvision")]
    assert np.abs(pixels[0] - pixels[1]).max() <= GREY_LEVELS
    assert outcome("torchvision", data) == outcome("pillow", data)


@pytest.mark.parametrize("options", [{}, {"quality": 30}, {"quality": 95, "subsampling": 0}, {"progressive": True}])
def test_jpeg_pixels_are_within_one_grey_level(options: dict[str, Any]) -> None:
    assert_near(encoded("JPEG", **options))


@pytest.mark.parametrize("container", ["WEBP", "PNG", "BMP", "TIFF", "GIF", "JPEG2000"])
def test_every_container_has_the_references_pixels_and_facts(container: str) -> None:
    assert_near(encoded(container))


def test_odd_modes_and_animations_are_decoded_as_by_the_reference() -> None:
    photo = Image.fromarray(NOISE)
    exif = Image.Exif()
    exif[0x0112] = 6
    for data in (
        encoded("JPEG", image=photo.convert("CMYK")),
        encoded("JPEG", image=photo.convert("L")),
        encoded("JPEG", exif=exif, comment=b"hello"),
        encoded("WEBP", image=photo.convert("RGBA"), lossless=True),
        encoded("WEBP", image=photo, save_all=True, append_images=[photo.rotate(90)]),
        encoded("PNG", image=photo.convert("P")),
        encoded("MPO", image=photo, save_all=True, append_images=[photo.rotate(180)]),
    ):
        assert_near(data)


@pytest.mark.parametrize("container", ["JPEG", "WEBP"])
def test_a_file_cut_anywhere_is_refused_with_the_references_reason(container: str) -> None:
    data = encoded(container)

    for length in range(0, len(data), 3):
        cut = data[:length]
        assert outcome("torchvision", cut) == outcome("pillow", cut), length


def test_real_photographs_are_within_one_grey_level(shared: Path) -> None:
    files = sorted((shared / "data" / "native").rglob("*.jpg"))[::12] + sorted((shared / "data").rglob("*.png"))[::40]

    assert len(files) > 10
    for file in files:
        assert_near(file.read_bytes())


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear", "nearest"])
@pytest.mark.parametrize("size", [(224, 224), (60, 90), (300, 200)])
def test_resized_bytes_are_within_one_grey_level(interpolation: Interpolation, size: tuple[int, int]) -> None:
    image = Image.fromarray(np.random.default_rng(1).integers(0, 256, size=(150, 210, 3), dtype=np.uint8))
    step = Squash(*size, interpolation)

    fast, reference = (np.asarray(step.by(image, resize_of(name)), dtype=int) for name in ("torchvision", "pillow"))

    assert fast.shape == (*size, 3)
    assert np.abs(fast - reference).max() <= GREY_LEVELS


def test_every_resizing_step_uses_the_resizing_it_is_given() -> None:
    asked = []

    def note(image: Image.Image, size: tuple[int, int], interpolation: Interpolation) -> Image.Image:
        asked.append((size, interpolation))
        return pillow_resize(image, size, interpolation)

    image = Image.fromarray(NOISE)
    for steps in ((Squash(5, 6, "bicubic"),), (ShorterSide(30), CenterCrop(9, 9)), (AtLeast(80),), (CenterCrop(9, 9),)):
        rule = InputRule(steps)
        np.testing.assert_array_equal(rule(image, resize=note), rule(image))

    assert asked == [((6, 5), "bicubic"), ((40, 30), "bilinear"), ((106, 80), "bilinear")]


def test_an_unknown_decoder_and_a_missing_gpu_get_their_sentence() -> None:
    with pytest.raises(UnknownNameError, match=r"no decoder 'torchvison'.*did you mean 'torchvision'"):
        decoder_of("torchvison")
    if not torch.cuda.is_available():
        with pytest.raises(DeviceError, match="--decoder nvjpeg needs a CUDA device"):
            decoder_of("nvjpeg")


def test_the_reference_imports_no_torch() -> None:
    code = (
        "import sys; from fewshot.embeddings.inputs.decoders import decoder_of, resize_of; "
        "decoder_of('pillow'), resize_of('pillow'); print('torch' in sys.modules)"
    )

    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "False"


@pytest.mark.usefixtures("fakes")
def test_another_decoder_is_recorded_and_refused_with_what_differs(tree: Path, tmp_path: Path) -> None:
    for number, path in enumerate(sorted(tree.rglob("*.png"))):
        if number % 2:
            Image.open(path).save(path.with_suffix(".jpg"), quality=90)
            path.unlink()
    out = tmp_path / "a.h5"
    options: dict[str, Any] = {"quiet": True, "backbones": ["mean-colour"]}
    plain = fewshot.embed(tree, out=tmp_path / "b.h5", workers=0, **options)

    store = fewshot.embed(tree, out=out, decoder="torchvision", workers=1, **options)

    made = store.info("mean-colour", "mean").provenance
    assert made["decoder"] == "torchvision"
    assert made["decoder_version"].startswith("torchvision of torchvision")
    np.testing.assert_allclose(
        store.read(None, "mean-colour", "mean"), plain.read(None, "mean-colour", "mean"), atol=GREY_LEVELS / 255
    )
    with pytest.raises(StoreError, match=r'the decoder \(then "torchvision", now "pillow"\)'):
        fewshot.embed(tree, out=out, workers=0, **options)


def test_the_reference_is_what_images_decode_gives() -> None:
    assert decoder_of("pillow") is decode
