"""Archives of images: a tar shard and an LMDB."""

import io
import json
import tarfile
import zlib
from contextlib import suppress
from itertools import islice
from pathlib import Path

import lmdb
from PIL import Image

from fewshot.embeddings.inputs.images import UnreadableImage
from fewshot.embeddings.layouts.collection import collect


def originals(folder: Path) -> list[Path]:
    _write_tar(folder / "shard.tar")
    with (
        lmdb.open(str(folder / "data.mdb"), subdir=False, lock=False) as environment,
        environment.begin(write=True) as transaction,
    ):
        transaction.put(b"num-samples", b"40")
        for number in range(1, 41):
            label = {"path": f"{number}.png", "src": ("nature", "sd15")[number % 2], "label": number % 2, "id": number}
            transaction.put(b"i-%09d" % number, _picture(number))
            transaction.put(b"l-%09d" % number, zlib.compress(json.dumps(label).encode()))
    return [folder / "shard.tar", folder / "data.mdb"]


def _write_tar(path: Path) -> None:
    with tarfile.open(path, "w") as archive:
        for number in range(10):
            name = f"{'long/' * 30 if number == 5 else ''}{number}"
            beside = json.dumps({"synthetic": number % 2, "source": "sd15"}).encode()
            for suffix, content in ((".png", _picture(number)), (".json", beside)):
                entry = tarfile.TarInfo(name + suffix)
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))


def _picture(number: int) -> bytes:
    stream = io.BytesIO()
    Image.effect_noise((64, 64), 10 + number).convert("RGB").save(stream, "PNG")  # more than a page of an LMDB
    return stream.getvalue()


def enter(path: Path) -> None:
    found = collect([path], one_class=True)
    found.describe()
    for sample in islice(found.samples, 3):
        with suppress(OSError, UnreadableImage):  # listed as this image's failure
            found.layouts[0].read(found.roots[0], sample)
