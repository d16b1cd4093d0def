"""Image files of every container that is read, on the path of the decoding processes."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, PngImagePlugin

from fewshot.core.errors import InputError
from fewshot.embeddings.inputs.transforms import Squash
from fewshot.embeddings.inputs.views import parse
from fewshot.embeddings.layouts.base import Sample
from fewshot.embeddings.layouts.folder import Folder
from fewshot.embeddings.pipeline.prepare import Input, Job, Preparation, prepare

_INPUTS = (Input((), (Squash(16, 16),)), Input(parse("resize:0.5+webp:80").pixels, ()))
_OWN_WORDS = ("not-an-image", "truncated", "damaged", "empty", "bomb", "mode", "memory")


def originals(folder: Path) -> list[Path]:
    ramp = np.arange(40 * 48 * 3, dtype=np.uint32).reshape(40, 48, 3) * 40503 >> 7
    photo = Image.fromarray(ramp.astype(np.uint8))
    deep = Image.fromarray((ramp[..., 0] * 11).astype(np.uint16))
    exif = Image.Exif()
    exif[0x0112] = 6
    text = PngImagePlugin.PngInfo()
    text.add_text("parameters", "a picture " * 50, zip=True)
    photo.save(folder / "a.jpg", quality=80, exif=exif, icc_profile=b"profile" * 9)
    photo.save(folder / "progressive.jpg", progressive=True, comment=b"a comment")
    photo.convert("CMYK").save(folder / "cmyk.jpg")
    photo.save(folder / "a.mpo", **_frames(photo))
    photo.save(folder / "a.png", pnginfo=text, exif=exif, icc_profile=b"profile" * 9)
    photo.quantize(9).save(folder / "palette.png", bits=4, transparency=3)
    photo.save(folder / "animated.png", **_frames(photo))
    deep.save(folder / "deep.png")
    photo.save(folder / "a.webp", quality=80, exif=exif)
    photo.convert("RGBA").save(folder / "animated.webp", lossless=True, **_frames(photo))
    photo.save(folder / "a.gif", **_frames(photo))
    photo.save(folder / "a.bmp")
    photo.copy().save(folder / "pages.tiff", **_frames(photo))
    for compression in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"):
        photo.save(folder / f"{compression}.tiff", compression=compression)
    photo.convert("1").save(folder / "fax.tiff", compression="group4")
    deep.save(folder / "deep.tiff")
    photo.save(folder / "a.jp2")
    photo.save(folder / "a.ppm")
    (folder / "deep.pgm").write_bytes(b"P5 # 16 bits\n48 40\n65535\n" + np.asarray(deep).astype(">u2").tobytes())
    photo.save(folder / "a.tga", compression="tga_rle")
    photo.save(folder / "a.ico", sizes=[(32, 32)])
    return sorted(folder.iterdir())


def _frames(photo: Image.Image) -> dict[str, Any]:
    return {"save_all": True, "append_images": [photo.rotate(90), photo.rotate(180)]}


def enter(path: Path) -> None:
    preparation = Preparation((path.parent,), (Folder(),), _INPUTS)
    prepared = prepare(preparation, Job(0, 0, Sample(path.name, "x", False)))
    if prepared.failure:
        kind = prepared.failure.partition(":")[0]
        assert kind in _OWN_WORDS, prepared.failure
        assert prepared.failure.isprintable()
        raise InputError(prepared.failure)
    assert prepared.metadata is not None
    assert not any(isinstance(array, str) for array in prepared.inputs)
