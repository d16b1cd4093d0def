"""A tar is whole or refused, an LMDB's every offset is checked, and neither can end the process."""

import gzip
import io
import json
import shutil
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path

import lmdb
import numpy as np
import pytest

from fewshot.core.errors import InputError
from fewshot.embeddings.inputs.images import UnreadableImage
from fewshot.embeddings.layouts.collection import collect
from fewshot.embeddings.layouts.lmdb import Lmdb
from fewshot.embeddings.layouts.lmdb_pages import LmdbFile

BLOCK = 512
IMAGE = bytes(range(256)) * 4


def add(archive: tarfile.TarFile, name: str, content: bytes) -> int:
    """Add a member and return the offset of its header."""
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    offset = archive.offset
    archive.addfile(entry, io.BytesIO(content))
    return offset


def shard(path: Path, *, images: int = 4, kind: int = tarfile.PAX_FORMAT) -> list[int]:
    """Write a shard of images with labels, and return the offsets of all headers."""
    with tarfile.open(path, "w", format=kind) as archive:
        return [
            add(archive, f"{number}{suffix}", content)
            for number in range(images)
            for suffix, content in ((".png", IMAGE), (".json", json.dumps({"synthetic": number % 2}).encode()))
        ]


@pytest.mark.parametrize("kind", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
def test_a_whole_shard_is_read(tmp_path: Path, kind: int) -> None:
    shard(tmp_path / "x.tar", kind=kind)

    found = collect([tmp_path])

    assert len(found) == 4
    assert found.layouts[0].read(tmp_path, found.samples[3]) == IMAGE


@pytest.mark.parametrize("number", range(8))
@pytest.mark.parametrize("damage", ["bit", "zeros", "two blocks of zeros", "noise"])
def test_a_damaged_header_is_refused_wherever_it_stands(tmp_path: Path, number: int, damage: str) -> None:
    file = tmp_path / "x.tar"
    offset = shard(file)[number]
    content = bytearray(file.read_bytes())
    if damage == "bit":
        content[offset + 124] ^= 4  # the size
    else:
        length = 2 * BLOCK if damage.startswith("two") else BLOCK
        content[offset : offset + length] = b"\xa5" * length if damage == "noise" else bytes(length)
    file.write_bytes(content)

    with pytest.raises(InputError, match=r"x\.tar"):
        collect([tmp_path], one_class=True)


def test_a_shard_cut_anywhere_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "x.tar"
    end = shard(file)[-1] + 2 * BLOCK
    content = file.read_bytes()

    for length in (*range(0, end, 256), end, end + 1, end + BLOCK, end + 2 * BLOCK - 1):
        file.write_bytes(content[:length])
        with pytest.raises(InputError, match=r"x\.tar|no tar file"):
            collect([tmp_path], one_class=True)
    file.write_bytes(content[: end + 2 * BLOCK])
    assert len(collect([tmp_path])) == 4


@pytest.mark.parametrize("behind", [b"x", bytes(5000) + b"x", b"a second tar"])
def test_data_behind_the_end_is_refused(tmp_path: Path, behind: bytes) -> None:
    file = tmp_path / "x.tar"
    shard(file)
    file.write_bytes(file.read_bytes() + behind)

    with pytest.raises(InputError, match="goes on behind its end"):
        collect([tmp_path])


def test_joined_tars_are_refused(tmp_path: Path) -> None:
    shard(tmp_path / "x.tar")
    (tmp_path / "x.tar").write_bytes((tmp_path / "x.tar").read_bytes() * 2)

    with pytest.raises(InputError, match="a header was lost, or tars were joined"):
        collect([tmp_path])


def test_a_tar_that_is_compressed_says_how_to_read_it(tmp_path: Path) -> None:
    shard(tmp_path / "x.tar")
    (tmp_path / "x.tar").write_bytes(gzip.compress((tmp_path / "x.tar").read_bytes()))

    with pytest.raises(InputError, match="is compressed by gzip; gunzip it"):
        collect([tmp_path])


def link(kind: bytes) -> Callable[[tarfile.TarFile], None]:
    def plant(archive: tarfile.TarFile) -> None:
        entry = tarfile.TarInfo("z.png")
        entry.type, entry.linkname = kind, "/etc/passwd"
        archive.addfile(entry)

    return plant


@pytest.mark.parametrize(
    ("plant", "told"),
    [
        (link(tarfile.SYMTYPE), "not plain files"),
        (link(tarfile.LNKTYPE), "not plain files"),
        (link(tarfile.CHRTYPE), "not plain files"),
        (link(tarfile.BLKTYPE), "not plain files"),
        (link(tarfile.FIFOTYPE), "not plain files"),
        (lambda archive: add(archive, "../z.png", b"x"), "lead out"),
        (lambda archive: add(archive, "a/../../z.png", b"x"), "lead out"),
        (lambda archive: add(archive, "/etc/z.png", b"x"), "lead out"),
    ],
)
def test_members_that_are_no_plain_files_of_the_tar_are_left_out_and_told(
    tmp_path: Path, plant: Callable[[tarfile.TarFile], object], told: str
) -> None:
    with tarfile.open(tmp_path / "x.tar", "w", format=tarfile.GNU_FORMAT) as archive:
        add(archive, "a.png", IMAGE)
        add(archive, "a.cls", b"1")
        plant(archive)

    found = collect([tmp_path], one_class=True)

    assert [sample.member for sample in found.samples] == ["a.png"]
    assert any(told in line for line in found.describe())


@pytest.mark.parametrize("again", ["a.png", "./a.png", "a.png/", ".//a.png"])
def test_two_members_of_one_name_are_refused(tmp_path: Path, again: str) -> None:
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        for name in ("a.png", again):
            add(archive, name, IMAGE)
        add(archive, "a.cls", b"1")

    with pytest.raises(InputError, match="two members"):
        collect([tmp_path], one_class=True)


def forged(size: bytes, *, kind: bytes = tarfile.REGTYPE) -> bytes:
    """Return a tar of one header whose size field is ``size``."""
    entry = tarfile.TarInfo("a.png")
    entry.type = kind
    header = bytearray(entry.tobuf(tarfile.GNU_FORMAT))
    header[124:136] = size
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header) + bytes(20 * BLOCK)


@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME])
@pytest.mark.parametrize(
    "size", [b"77777777777\0", b"\x80" + (1 << 60).to_bytes(11, "big"), b"\xff" * 12, b"\xff" * 10 + b"\xfe\x00"]
)
def test_forged_sizes_are_refused_without_reading_them(tmp_path: Path, kind: bytes, size: bytes) -> None:
    (tmp_path / "x.tar").write_bytes(forged(size, kind=kind))

    with pytest.raises(InputError, match=r"x\.tar"):
        collect([tmp_path], one_class=True)


# -- LMDB --------------------------------------------------------------------------------------------------------------


def database(root: Path, *, entries: int = 500, image: int = 3000) -> dict[bytes, bytes]:
    """Write an LMDB as FiSeR's script does, of several levels and of small and large values; return what it holds."""
    rng = np.random.default_rng(0)
    held = {b"num-samples": b"%d" % entries}
    for number in range(1, entries + 1):
        source = ("nature", "sd15")[number % 2]
        held[b"l-%09d" % number] = zlib.compress(json.dumps({"src": source, "path": f"{number}.png"}).encode())
        held[b"i-%09d" % number] = rng.bytes(image if number % 3 else 100)
    with lmdb.open(str(root), map_size=1 << 28) as environment, environment.begin(write=True) as transaction:
        for key, value in held.items():
            transaction.put(key, value)
    return held


def test_values_are_those_of_the_library(tmp_path: Path) -> None:
    held = database(tmp_path / "db", entries=2000)

    file = LmdbFile(tmp_path / "db" / "data.mdb")

    assert {key: file.get(key) for key in held} == held
    assert [file.get(key) for key in (b"", b"a", b"i-", b"i-000000000", b"l-000002001", b"z" * 500)] == [None] * 6


def test_values_after_many_changes_are_those_of_the_library(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    with lmdb.open(str(tmp_path / "db"), map_size=1 << 28) as environment:
        for _ in range(20):
            with environment.begin(write=True) as transaction:
                for number in rng.integers(0, 2000, 200).tolist():
                    if rng.random() < 0.3:
                        transaction.delete(b"%d" % number)
                    else:
                        transaction.put(b"%d" % number, rng.bytes(int(rng.integers(1, 9000))))
        with environment.begin() as transaction:
            expected = {b"%d" % number: transaction.get(b"%d" % number) for number in range(2000)}

    file = LmdbFile(tmp_path / "db" / "data.mdb")

    assert {key: file.get(key) for key in expected} == expected


def test_an_empty_database_and_one_of_many_values_per_key_are_refused(tmp_path: Path) -> None:
    with lmdb.open(str(tmp_path / "empty")):
        pass
    with (
        lmdb.open(str(tmp_path / "named"), max_dbs=1) as environment,
        environment.begin(write=True, db=environment.open_db(b"inner")) as transaction,
    ):
        transaction.put(b"num-samples", b"1")

    for name in ("empty", "named"):
        with pytest.raises(InputError, match=r"num-samples|not a readable LMDB"):
            collect([tmp_path / name], one_class=True)


@pytest.mark.parametrize("source", ["Nature", "NATURE", "nature ", "", None, 3.5, ["nature"], {"a": 1}, "nan"])
def test_a_source_that_is_not_quite_one_is_refused(tmp_path: Path, source: object) -> None:
    with lmdb.open(str(tmp_path / "db")) as environment, environment.begin(write=True) as transaction:
        transaction.put(b"num-samples", b"1")
        transaction.put(b"l-000000001", zlib.compress(json.dumps({"src": source}).encode()))

    with pytest.raises(InputError, match="l-000000001"):
        collect([tmp_path / "db"], one_class=True)


def test_a_cut_database_is_refused_wherever_it_was_cut(tmp_path: Path) -> None:
    database(tmp_path / "db")
    file = tmp_path / "db" / "data.mdb"
    content = file.read_bytes()

    for length in (0, 1, 16, 100, 4095, 4096, 4200, 8192, len(content) // 2, len(content) - 4096, len(content) - 1):
        file.write_bytes(content[:length])
        with pytest.raises(InputError, match="is not a readable LMDB"):
            collect([tmp_path / "db"])


def test_a_damaged_page_ends_in_a_sentence(tmp_path: Path) -> None:
    database(tmp_path / "db", entries=300)
    file = tmp_path / "db" / "data.mdb"
    content = file.read_bytes()
    rng = np.random.default_rng(0)
    refused = 0

    for page in range(2, len(content) // 4096):
        damaged = bytearray(content)
        start = page * 4096 + int(rng.integers(0, 64))
        damaged[start : start + 16] = rng.bytes(16)
        file.write_bytes(damaged)
        try:
            found = collect([tmp_path / "db"])
            for sample in found.samples:
                found.layouts[0].read(tmp_path / "db", sample)
        except (InputError, UnreadableImage):
            refused += 1

    assert refused > 50


def test_a_damaged_value_is_the_failure_of_its_image_alone(tmp_path: Path) -> None:
    held = database(tmp_path / "db", entries=30)
    file = tmp_path / "db" / "data.mdb"
    content = file.read_bytes()
    value = content.index(held[b"i-000000001"])
    file.write_bytes(content[: value - 16] + bytes(16) + content[value:])  # the header of the value's page

    found = collect([tmp_path / "db"])

    with pytest.raises(UnreadableImage, match=r"damaged: .*is not a readable LMDB"):
        found.layouts[0].read(tmp_path / "db", found.samples[0])
    assert found.layouts[0].read(tmp_path / "db", found.samples[1]) == held[b"i-000000002"]


def test_a_copy_under_another_name_is_no_lmdb_of_ours(tmp_path: Path) -> None:
    database(tmp_path / "db", entries=3)
    shutil.copy(tmp_path / "db" / "data.mdb", tmp_path / "other.mdb")

    assert Lmdb().recognises(tmp_path / "db")
    assert not Lmdb().recognises(tmp_path / "other.mdb")


def test_what_lies_beside_shards_is_told(tmp_path: Path) -> None:
    shard(tmp_path / "x.tar")
    database(tmp_path / "db", entries=2)
    for folder in (tmp_path, tmp_path / "db"):
        (folder / "real").mkdir()
        (folder / "loose.png").touch()
        (folder / ".DS_Store").touch()

    for folder in (tmp_path, tmp_path / "db"):
        told = " ".join(collect([folder]).describe())
        assert "x folder beside the archives, which alone are read" in told
        assert "1 x .png: an image beside the archives, which alone are read" in told
        assert "1 x .DS_Store: a file of macOS, not data" in told


def test_a_shard_that_was_cut_since_it_was_listed_is_the_failure_of_its_image(tmp_path: Path) -> None:
    shard(tmp_path / "x.tar")
    found = collect([tmp_path])
    with (tmp_path / "x.tar").open("r+b") as stream:
        stream.truncate(3000)

    with pytest.raises(OSError, match="was cut"):
        found.layouts[0].read(tmp_path, found.samples[3])
