"""A whole run over bad files: each is listed with its reason; none is fatal, padded, or takes another along."""

import io
import json
import os
import subprocess
import sys
import tempfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from fewshot.embeddings.extract import extract
from fewshot.embeddings.inputs.images import MAX_PIXELS
from fewshot.embeddings.store.export import export
from fewshot.embeddings.store.reader import FeatureStore

PHOTO = np.random.default_rng(0).integers(0, 256, size=(48, 64, 3), dtype=np.uint8)
LONG = "n" * 300 + ".png"
pytestmark = pytest.mark.usefixtures("fakes")


def encoded(container: str, image: Image.Image, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, container, **options)
    return stream.getvalue()


def bomb() -> bytes:
    """A PNG whose header claims more pixels than the limit."""
    data = bytearray(encoded("PNG", Image.new("1", (64, 64))))
    data[16:24] = (int(MAX_PIXELS**0.5) + 10).to_bytes(4, "big") * 2
    data[29:33] = zlib.crc32(bytes(data[12:29])).to_bytes(4, "big")
    return bytes(data)


def odd_files() -> dict[str, tuple[bytes, str]]:
    """Return {name: (content, the reason it is refused for, or nothing)}."""
    photo = Image.fromarray(PHOTO)
    jpeg, png, webp = (encoded(container, photo) for container in ("JPEG", "PNG", "WEBP"))
    grey16 = Image.fromarray(np.arange(64 * 48, dtype=np.uint16).reshape(48, 64) * 21)
    frames = [Image.fromarray(np.full((8, 8, 3), value, np.uint8)) for value in (0, 90, 200)]
    return {
        "zero.png": (b"", "empty"),
        "cut.jpg": (jpeg[: len(jpeg) // 2], "truncated"),
        "cut.png": (png[: len(png) // 2], "truncated"),
        "cut.webp": (webp[: len(webp) // 2], "damaged"),
        "text.png": (b"a text file\n", "not-an-image"),
        "bomb.png": (bomb(), "bomb"),
        os.fsdecode(b"bad-\xfe.png"): (b"", "empty"),
        "wrong-suffix.jpg": (png, ""),
        "cmyk.jpg": (encoded("JPEG", photo.convert("CMYK")), ""),
        "sixteen.png": (encoded("PNG", grey16), ""),
        "animated.webp": (encoded("WEBP", frames[0], save_all=True, append_images=frames[1:]), ""),
        "animated.gif": (encoded("GIF", frames[0], save_all=True, append_images=frames[1:]), ""),
        "one.png": (encoded("PNG", Image.new("RGB", (1, 1), (9, 8, 7))), ""),
        os.fsdecode(b"not-utf8-\xff.png"): (png, ""),
        "n" * 251 + ".png": (png, ""),
        "UPPER.a.b.PNG": (png, ""),
    }


def plant(root: Path) -> dict[str, str]:
    """Write the corpus, with good images of both classes; return {key: reason} of what must fail."""
    (root / "natural/x").mkdir(parents=True)
    (root / "synthetic/y").mkdir(parents=True)
    (root / "synthetic/y/good.png").write_bytes(encoded("PNG", Image.fromarray(PHOTO)))
    for name, (content, _) in odd_files().items():
        (root / "natural/x" / name).write_bytes(content)
    (root / "natural/x/dangling.png").symlink_to(root / "nowhere.png")
    (root / "natural/x/loop-a.png").symlink_to("loop-b.png")
    (root / "natural/x/loop-b.png").symlink_to("loop-a.png")
    (root / "natural/x/back").symlink_to(root / "natural")
    failures = {f"natural/x/{name}": reason for name, (_, reason) in odd_files().items() if reason}
    broken = {"natural/x/dangling.png": "missing"}
    return failures | broken | dict.fromkeys(["natural/x/loop-a.png", "natural/x/loop-b.png"], "unreadable")


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("decoder", ["pillow", "torchvision"])
def test_every_bad_file_is_reported_none_is_fatal_and_none_is_padded(
    tmp_path: Path, workers: int, decoder: str
) -> None:
    if workers and decoder != "pillow":
        return  # its workers import torch, which takes long; test_decoders.py has one
    expected = plant(tmp_path / "images")

    done = extract(
        tmp_path / "images",
        backbones="mean-colour",
        out=tmp_path / "a.h5",
        workers=workers,
        decoder=decoder,
        quiet=True,
    )

    store = done.outcome.store
    assert store is not None
    assert {key: reason.partition(":")[0] for key, reason in done.outcome.failures.items()} == expected
    assert done.outcome.images == len(odd_files()) + 1 + 3 == len(store) + len(expected)
    assert f"{done.outcome.images} images in = {len(store)} rows + {len(expected)} failures" in done.summary()[-1]
    assert not set(store.column("key")) & set(expected)
    rows = {os.fsencode(str(key)): row for row, key in enumerate(store.column("key"))}
    features = store.read(None, "mean-colour", "mean")
    single = features[rows[b"natural/x/one.png"]]
    np.testing.assert_allclose(single, np.array([9, 8, 7]) / 255, rtol=1e-6)
    same = [features[rows[name]] for name in (b"natural/x/not-utf8-\xff.png", b"natural/x/UPPER.a.b.PNG")]
    np.testing.assert_array_equal(same[0], features[rows[b"synthetic/y/good.png"]])
    np.testing.assert_array_equal(same[1], same[0])


def test_a_name_of_300_characters_in_a_table_is_one_failure(tmp_path: Path) -> None:
    plant(tmp_path)
    table = tmp_path / "table.csv"
    table.write_text(f"path,source,synthetic\nsynthetic/y/good.png,y,1\nnatural/x/one.png,x,0\nnatural/x/{LONG},x,0\n")

    done = extract(table, backbones="mean-colour", out=tmp_path / "a.h5", workers=0, quiet=True)

    assert list(done.outcome.failures) == [f"natural/x/{LONG}"]
    assert "File name too long" in done.outcome.failures[f"natural/x/{LONG}"]
    assert done.outcome.rows == 2


def test_a_file_without_permission_is_one_failure() -> None:
    """Root may read everything, so a process of its own gives its rights away first."""
    script = (
        "import json, os, sys\n"
        "import conftest\n"
        "conftest.load_fakes()\n"
        "from fewshot.embeddings.extract import extract\n"
        "run, root = dict(backbones='mean-colour', workers=0, quiet=True), sys.argv[1]\n"
        "extract(root + '/open', out=root + '/first.h5', **run)\n"
        "if os.geteuid() == 0:\n"
        "    os.setgroups([])\n"
        "    os.setresgid(65534, 65534, 65534)\n"
        "    os.setresuid(65534, 65534, 65534)\n"
        "done = extract(root + '/shut', out=root + '/a.h5', **run)\n"
        "print(json.dumps([done.outcome.failures, done.outcome.rows]))\n"
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o777)
        for root in ("open", "shut"):
            for place in ("natural/x", "synthetic/y"):
                (folder / root / place).mkdir(parents=True)
                (folder / root / place / "a.png").write_bytes(encoded("PNG", Image.fromarray(PHOTO)))
        shut = folder / "shut/natural/x/shut.png"
        shut.write_bytes(encoded("PNG", Image.fromarray(PHOTO)))
        shut.chmod(0)
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parent)}

        said = subprocess.run(
            [sys.executable, "-c", script, name], capture_output=True, text=True, env=environment, check=False
        )

    assert said.returncode == 0, said.stderr
    assert json.loads(said.stdout) == [{"natural/x/shut.png": "unreadable: Permission denied (EACCES)"}, 2]


def test_names_that_are_not_utf8_are_printed_and_exported(tmp_path: Path) -> None:
    plant(tmp_path / "images")
    script = [sys.executable, str(Path(__file__).with_name("fakes.py"))]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUTF8": "1"}

    said = subprocess.run(
        [*script, "embed", str(tmp_path / "images"), "-b", "mean-colour", "-o", str(tmp_path / "a.h5"), "-q"],
        capture_output=True,
        env=environment,
        check=False,
    )
    with FeatureStore(tmp_path / "a.h5") as store:
        export(store, tmp_path / "out")

    assert said.returncode == 0, said.stderr
    assert rb"failed: natural/x/bad-\udcfe.png: empty" in said.stdout
    names = pd.read_parquet(tmp_path / "out/samples.parquet")["key"]
    assert r"natural/x/not-utf8-\udcff.png" in set(names)


@pytest.mark.parametrize("workers", [0, 1])
def test_files_that_would_end_or_hold_up_a_run_are_listed_and_the_rest_is_stored(tmp_path: Path, workers: int) -> None:
    natural, synthetic = tmp_path / "images/natural/camera", tmp_path / "images/synthetic/gan"
    natural.mkdir(parents=True)
    synthetic.mkdir(parents=True)
    photo, text = Image.fromarray(PHOTO), PngInfo()
    text.add_text("long", "a" * (3 << 20), zip=True)
    jpeg = encoded("JPEG", photo, progressive=True)
    last = jpeg.rindex(b"\xff\xda")
    os.mkfifo(natural / "fifo.jpg")
    (natural / "zero.png").symlink_to("/dev/zero")
    (natural / "scans.jpg").write_bytes(jpeg[:last] + jpeg[last:-2] * 1000 + jpeg[-2:])
    (natural / "wide.png").write_bytes(encoded("PNG", Image.new("RGB", (70_000, 1))))
    (natural / "text.png").write_bytes(encoded("PNG", photo, pnginfo=text))
    (synthetic / "good.png").write_bytes(encoded("PNG", photo))

    done = extract(
        tmp_path / "images",
        backbones="mean-colour",
        match_format="webp:80",
        out=tmp_path / "a.h5",
        workers=workers,
        quiet=True,
    )

    assert {key.rpartition("/")[2]: reason.partition(":")[0] for key, reason in done.outcome.failures.items()} == {
        "fifo.jpg": "unreadable",
        "zero.png": "unreadable",
        "scans.jpg": "bomb",
        "wide.png": "view",
    }
    assert done.outcome.rows == 2
