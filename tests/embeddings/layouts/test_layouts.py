"""Every layout on a tiny real tree of it, made here, against the samples written down by hand."""

import csv
import io
import json
import os
import shutil
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path

import lmdb
import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from PIL import Image

from fewshot.core.errors import InputError
from fewshot.embeddings.inputs.images import UnreadableImage, decode
from fewshot.embeddings.layouts.base import LAYOUTS, Layout, Sample
from fewshot.embeddings.layouts.collection import collect, layout_of
from fewshot.embeddings.layouts.lmdb import unwrapped


def picture(shade: int) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (4, 4), (shade, 0, 0)).save(stream, "PNG")
    return stream.getvalue()


def plant(root: Path, *paths: str) -> None:
    """Make images of distinct shades."""
    for shade, path in enumerate(paths):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(picture(shade))


def read(layout: Layout, root: Path) -> list[tuple[str, str, bool]]:
    """Return (key, source, synthetic), and check that every sample's bytes decode."""
    samples = list(layout.samples(root))
    for sample in samples:
        decode(layout.read(root, sample))
    return [(sample.key, sample.source, sample.synthetic) for sample in samples]


def auto(root: Path, name: str) -> Layout:
    layout = layout_of(root, "auto")
    assert layout.name == name
    return layout


def shade(layout: Layout, root: Path, sample: Sample) -> int:
    return int(np.asarray(decode(layout.read(root, sample))[0])[0, 0, 0])


# -- folder ------------------------------------------------------------------------------------------------------------


def test_folder_takes_the_source_below_the_class_word_or_above_it(tmp_path: Path) -> None:
    plant(
        tmp_path,
        "natural/camera/a.png",
        "natural/b.JPG",
        "sdxl/1_FAKE/deep/er/c.d.webp",
        "sdxl/0_real/e.Png",
        "AI/f.jpeg",
    )

    assert read(auto(tmp_path, "folder"), tmp_path) == [
        ("AI/f.jpeg", "synthetic", True),
        ("natural/b.JPG", "natural", False),
        ("natural/camera/a.png", "camera", False),
        ("sdxl/0_real/e.Png", "sdxl", False),
        ("sdxl/1_FAKE/deep/er/c.d.webp", "deep", True),
    ]


@pytest.mark.parametrize("word", ["0_real", "real", "nature", "natural", "authentic", "0", "Real", "NATURE"])
def test_every_natural_class_word_is_known(tmp_path: Path, word: str) -> None:
    plant(tmp_path, f"{word}/camera/a.png")

    assert read(layout_of(tmp_path, "folder"), tmp_path)[0][2] is False


@pytest.mark.parametrize("word", ["1_fake", "fake", "ai", "synthetic", "generated", "1", "Fake"])
def test_every_synthetic_class_word_is_known(tmp_path: Path, word: str) -> None:
    plant(tmp_path, f"{word}/gan/a.png")

    assert read(layout_of(tmp_path, "folder"), tmp_path)[0][2] is True


def test_folder_drops_nothing_without_a_word(tmp_path: Path) -> None:
    plant(tmp_path, "real/x/a.png", "fake/y/b.png")
    (tmp_path / "real/x/notes.txt").write_text("text")
    (tmp_path / "real/x/bare").write_text("text")
    (tmp_path / "fake/y/again").symlink_to(tmp_path / "fake")
    (tmp_path / "fake/z").symlink_to(tmp_path / "real/x")
    (tmp_path / "fake/linked.png").symlink_to(tmp_path / "fake/y/b.png")
    layout = layout_of(tmp_path, "folder")

    found = read(layout, tmp_path)

    assert [key for key, _, _ in found] == ["fake/linked.png", "fake/y/b.png", "fake/z/a.png", "real/x/a.png"]
    assert layout.ignored == {
        ".txt: not the suffix of an image": 2,
        "no suffix: not the suffix of an image": 2,
        "link fake/y/again leads back to a folder it lies in": 1,
    }


def test_folder_names_what_it_saw_when_no_class_word_is_known(tmp_path: Path) -> None:
    plant(tmp_path, "yes/a.png", "no/b.png")

    with pytest.raises(InputError, match=r"'no/b.png' is natural or synthetic.*the folders seen are: no\."):
        read(layout_of(tmp_path, "folder"), tmp_path)


@pytest.mark.parametrize(("name", "word"), [("fakes", "fake"), ("Reals", "real"), ("syntetic", "synthetic")])
def test_folder_names_the_class_word_that_was_meant(tmp_path: Path, name: str, word: str) -> None:
    plant(tmp_path, f"{name}/a.png")

    with pytest.raises(InputError, match=f"the folders seen are: {name}; did you mean '{word}' by '{name}'\\? Rename"):
        read(layout_of(tmp_path, "folder"), tmp_path)


@pytest.mark.parametrize("name", ["faces", "main", "10", "holiday"])
def test_folder_does_not_guess_at_a_name_that_is_no_slip(tmp_path: Path, name: str) -> None:
    plant(tmp_path, f"{name}/a.png")

    with pytest.raises(InputError) as raised:
        read(layout_of(tmp_path, "folder"), tmp_path)
    assert "did you mean" not in str(raised.value)


def test_folder_refuses_class_words_of_both_classes_in_one_path(tmp_path: Path) -> None:
    plant(tmp_path, "real/fake/a.png")

    with pytest.raises(InputError, match="class words of both classes"):
        read(layout_of(tmp_path, "folder"), tmp_path)


def test_names_that_are_not_utf8_are_kept_byte_by_byte(tmp_path: Path) -> None:
    name = os.fsdecode(b"\xff\xfe.png")
    plant(tmp_path, f"real/x/{name}", "fake/y/b.png")

    assert read(layout_of(tmp_path, "folder"), tmp_path)[1][0] == f"real/x/{name}"


# -- table -------------------------------------------------------------------------------------------------------------

ROWS = [
    {"path": "b.png", "source": "gan", "synthetic": 1, "split": "test", "track": "native"},
    {"path": "a.png", "source": "camera", "synthetic": 0, "split": "test", "track": "native"},
]


def write_csv(path: Path) -> None:
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, ROWS[0])
        writer.writeheader()
        writer.writerows(ROWS)


def write_jsonl(path: Path) -> None:
    path.write_text("\n".join(map(json.dumps, ROWS)))


def write_parquet(path: Path) -> None:
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), path)


@pytest.mark.parametrize(
    ("name", "write"),
    [("manifest.csv", write_csv), ("manifest.jsonl", write_jsonl), ("manifest.parquet", write_parquet)],
)
def test_table_keeps_its_order_and_its_columns(tmp_path: Path, name: str, write: Callable[[Path], None]) -> None:
    plant(tmp_path, "a.png", "b.png")
    write(tmp_path / name)

    for root in (tmp_path, tmp_path / name):
        layout = auto(root, "table")
        assert read(layout, root) == [("b.png", "gan", True), ("a.png", "camera", False)]
        sample = next(iter(layout.samples(root)))
        assert (sample.split, sample.extra) == ("test", {"track": "native"})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,source\na.png,x\n", r"row 1: no value for synthetic; .*the columns are path, source"),
        ("path,source,synthetic\na.png,x,maybe\n", r"row 1: synthetic = 'maybe' is neither class; write 0 \(natural\)"),
        ("path,source,synthetic\na.png,x,fakes\n", r"'fakes' is neither class; write 0 .*; did you mean 'fake'\? Rows"),
        ("path,source,synthetic\na.png,x,1\n,y,0\n", "row 2: path or source is empty"),
        ("path,source,synthetic\n", "has no rows"),
    ],
)
def test_a_wrong_table_names_its_row(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "manifest.csv").write_text(text)

    with pytest.raises(InputError, match=message):
        list(layout_of(tmp_path, "table").samples(tmp_path))


def test_a_repeated_row_is_refused(tmp_path: Path) -> None:
    (tmp_path / "manifest.csv").write_text("path,source,synthetic\na.png,x,1\nb.png,y,0\na.png,x,1\n")

    with pytest.raises(InputError, match=r"1 images are listed more than once, the first is 'a.png'"):
        collect([tmp_path])


# -- published trees ---------------------------------------------------------------------------------------------------


def test_cnndet_with_and_without_class_folders(tmp_path: Path) -> None:
    plant(
        tmp_path,
        "test/progan/cat/0_real/a.png",
        "test/progan/cat/1_fake/b.png",
        "test/biggan/0_real/c.png",
        "test/biggan/1_fake/d.png",
        "train/horse_gan/1_fake/e.png",
    )
    layout = auto(tmp_path, "cnndet")

    assert read(layout, tmp_path) == [
        ("test/biggan/0_real/c.png", "biggan", False),
        ("test/biggan/1_fake/d.png", "biggan", True),
        ("test/progan/cat/0_real/a.png", "progan", False),
        ("test/progan/cat/1_fake/b.png", "progan", True),
        ("train/horse_gan/1_fake/e.png", "horse_gan", True),
    ]
    samples = list(layout.samples(tmp_path))
    assert [(sample.split, sample.dataset, sample.category) for sample in samples[1:5:2]] == [
        ("test", "ForenSynths", ""),
        ("test", "ForenSynths", "cat"),
    ]
    assert samples[4].dataset == ""


def test_genimage_as_released_and_as_passed_on(tmp_path: Path) -> None:
    plant(
        tmp_path / "one",
        "ADM/train/ai/a.png",
        "ADM/train/nature/b.JPEG",
        "ADM/val/ai/c.png",
        "glide/imagenet_ai_0001_glide/val/nature/d.png",
    )
    plant(tmp_path / "two", "test/sdv5_imagenet/ai/a.png", "test/sdv5_imagenet/nature/b.png")

    one, two = (auto(tmp_path / name, "genimage") for name in ("one", "two"))

    assert read(one, tmp_path / "one") == [
        ("ADM/train/ai/a.png", "ADM", True),
        ("ADM/train/nature/b.JPEG", "ADM", False),
        ("ADM/val/ai/c.png", "ADM", True),
        ("glide/imagenet_ai_0001_glide/val/nature/d.png", "glide", False),
    ]
    assert [sample.split for sample in one.samples(tmp_path / "one")] == ["train", "train", "test", "test"]
    assert [row[1:] for row in read(two, tmp_path / "two")] == [("sdv5", True), ("sdv5", False)]


def test_aigibench_has_the_method_outside(tmp_path: Path) -> None:
    plant(tmp_path, "test/FLUX/dev/0_real/a.png", "test/FLUX/dev/1_fake/b.png", "test/Infinite-ID/x/1_fake/c.png")
    layout = auto(tmp_path, "aigibench")

    assert read(layout, tmp_path) == [
        ("test/FLUX/dev/0_real/a.png", "FLUX", False),
        ("test/FLUX/dev/1_fake/b.png", "FLUX", True),
        ("test/Infinite-ID/x/1_fake/c.png", "Infinite-ID", True),
    ]
    assert next(iter(layout.samples(tmp_path))).category == "dev"


def test_chameleon_is_one_source(tmp_path: Path) -> None:
    root = tmp_path / "Chameleon"
    plant(root, "test/0_real/a.png", "test/1_fake/b.png")
    shutil.copytree(root, tmp_path / "mine")

    assert read(auto(root, "chameleon"), root) == [
        ("test/0_real/a.png", "chameleon", False),
        ("test/1_fake/b.png", "chameleon", True),
    ]
    assert auto(tmp_path / "mine", "folder").name == "folder"


@pytest.mark.parametrize(
    ("suffix", "write"),
    [
        (".jsonl", lambda paths: "\n".join(json.dumps({"path": path}) for path in paths)),
        (".json", json.dumps),
        (".csv", lambda paths: "\n".join(["image_path", *paths])),
        (".txt", "\n".join),
    ],
)
def test_wildfake_takes_membership_from_its_lists(
    tmp_path: Path, suffix: str, write: Callable[[list[str]], str]
) -> None:
    listed = ["GAN_based/Typical/styleGAN/x.png", "Real/FFHQ/y.png"]
    plant(tmp_path / "Images", *listed, "Other_based/VQ/unlisted.png")
    with pytest.raises(InputError, match="has no list of the split"):
        read(layout_of(tmp_path, "wildfake"), tmp_path)
    (tmp_path / f"test{suffix}").write_text(write(listed))

    layout = auto(tmp_path, "wildfake")

    assert read(layout, tmp_path) == [
        ("Images/GAN_based/Typical/styleGAN/x.png", "styleGAN", True),
        ("Images/Real/FFHQ/y.png", "FFHQ", False),
    ]
    assert {sample.split for sample in layout.samples(tmp_path)} == {"test"}


def test_community_reads_both_image_columns_by_row(tmp_path: Path) -> None:
    for number, column in enumerate(("image_data", "image")):
        cells = [picture(10 * number + row) for row in range(5)]
        rows = {
            column: cells if column == "image_data" else [{"bytes": cell, "path": None} for cell in cells],
            "model_name": ["sd", "sd", "camera", "gan", "gan"],
            "label": [1, 1, 0, 1, 1],
            "split": ["train"] * 5,
        }
        target = tmp_path / "data" / ("manual", "systematic")[number] / "0.parquet"
        target.parent.mkdir(parents=True)
        pyarrow.parquet.write_table(pyarrow.table(rows), target, row_group_size=2)
    layout = auto(tmp_path, "community")

    found = read(layout, tmp_path)

    assert [row[1:] for row in found] == 2 * [
        ("sd", True),
        ("sd", True),
        ("nature", False),
        ("gan", True),
        ("gan", True),
    ]
    assert found[6][0] == "data/systematic/0.parquet!1"
    shades = [shade(layout, tmp_path, sample) for sample in layout.samples(tmp_path)]
    assert shades == [0, 1, 2, 3, 4, 10, 11, 12, 13, 14]


def test_webdataset_joins_members_of_one_stem(tmp_path: Path) -> None:
    members = {
        "a.b.png": picture(1),
        "a.b.json": json.dumps({"synthetic": 1, "source": "gan", "prompt": "a cat"}).encode(),
        "sub/c.PNG": picture(2),
        "sub/c.cls": b"0",
        "sub/notes.txt": b"text",
    }
    with tarfile.open(tmp_path / "phone-000.tar", "w") as archive:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
        link = tarfile.TarInfo("d.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    layout = auto(tmp_path, "webdataset")

    assert read(layout, tmp_path) == [
        ("phone-000.tar!a.b.png", "gan", True),
        ("phone-000.tar!sub/c.PNG", "phone-000", False),
    ]
    assert [shade(layout, tmp_path, sample) for sample in layout.samples(tmp_path)] == [1, 2]
    assert next(iter(layout.samples(tmp_path))).extra == {"prompt": "a cat"}
    assert layout.ignored["members of a tar that are not plain files"] == 1
    assert layout.ignored[".txt: not an image or label of a tar"] > 0


@pytest.mark.parametrize("kind", ["arrow", "parquet"])
def test_hf_finds_the_image_by_its_feature_and_reads_class_names(tmp_path: Path, kind: str) -> None:
    features = {"picture": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": ["fake", "real"]}}
    table = pyarrow.table(
        {
            "picture": [{"bytes": picture(7), "path": None}, {"bytes": picture(8), "path": None}],
            "label": [0, 1],
            "generator": ["gan", "camera"],
            "prompt": ["cat", ""],
        }
    ).replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    (tmp_path / "train").mkdir()
    if kind == "arrow":
        with pyarrow.ipc.new_stream(tmp_path / "train" / "data-00000-of-00001.arrow", table.schema) as writer:
            writer.write_table(table)
    else:
        pyarrow.parquet.write_table(table, tmp_path / "train" / "0.parquet")
    layout = auto(tmp_path, "hf")

    samples = list(layout.samples(tmp_path))

    assert [(sample.source, sample.synthetic, sample.split) for sample in samples] == [
        ("gan", True, "train"),
        ("camera", False, "train"),
    ]
    assert [shade(layout, tmp_path, sample) for sample in samples] == [7, 8]
    assert samples[0].extra == {"prompt": "cat"}


# -- lmdb --------------------------------------------------------------------------------------------------------------


def test_lmdb_follows_the_source_not_the_stored_label(tmp_path: Path) -> None:
    entries = [("nature", 1, picture(3)), ("sdxl", 0, picture(4))]
    with lmdb.open(str(tmp_path / "db")) as environment, environment.begin(write=True) as transaction:
        transaction.put(b"num-samples", b"2")
        for number, (source, stored, image) in enumerate(entries, start=1):
            label = {"path": f"{number}.png", "src": source, "label": stored, "id": number}
            transaction.put(b"i-%09d" % number, image)
            transaction.put(b"l-%09d" % number, zlib.compress(json.dumps(label).encode()))
    root = tmp_path / "db"
    layout = auto(root, "lmdb")

    assert read(layout, root) == [("data.mdb!i-000000001", "nature", False), ("data.mdb!i-000000002", "sdxl", True)]
    assert [sample.extra["original"] for sample in layout.samples(root)] == ["1.png", "2.png"]


def frozen(protocol: int, image: bytes) -> bytes:
    """Return a pickled ``[image]``, written by hand from the opcodes of the protocol."""
    head = b"\x80" + bytes([protocol])
    constant = (b"C" + bytes([len(image)])) if len(image) < 256 else b"B" + len(image).to_bytes(4, "little")
    if protocol == 3:
        return head + b"]q\x00" + constant + image + b"q\x01a."
    body = b"]\x94" + constant + image + b"\x94a."
    return head + b"\x95" + len(body).to_bytes(8, "little") + body


@pytest.mark.parametrize("protocol", [3, 4, 5])
@pytest.mark.parametrize("length", [10, 1000])
def test_the_frozen_shape_of_a_legacy_value_is_taken_apart(protocol: int, length: int) -> None:
    import pickle  # noqa: TID251  # only here, to show that the bytes are the library's

    image = bytes(range(256)) * 4
    value = frozen(protocol, image[:length])

    assert value == pickle.dumps([image[:length]], protocol=protocol)
    assert unwrapped(value) == image[:length]


@pytest.mark.parametrize(
    "forged",
    [
        b"\x80\x04cos\nsystem\n\x94\x8c\x02id\x94\x85R.",
        b"\x80\x03]q\x00cos\nsystem\nq\x01a.",
        b"\x80\x03]q\x00C\x02abq\x01a.trailing",
        b"\x80\x03]q\x00C\x02abq\x01C\x02cdq\x02a.",
        b"\x80\x03",
        b"\x80\x03]q\x00B\xff\xff\xff\xffab",
    ],
)
def test_any_other_pickle_is_refused_unopened(forged: bytes) -> None:
    with pytest.raises(UnreadableImage, match="it was not opened"):
        unwrapped(forged)


def test_a_label_that_inflates_without_end_is_refused(tmp_path: Path) -> None:
    with lmdb.open(str(tmp_path / "db")) as environment, environment.begin(write=True) as transaction:
        transaction.put(b"num-samples", b"1")
        transaction.put(b"l-000000001", zlib.compress(b" " * (5 << 20)))

    with pytest.raises(InputError, match=r"l-000000001 is damaged \(it inflates to more than"):
        list(layout_of(tmp_path / "db", "lmdb").samples(tmp_path / "db"))


# -- all ---------------------------------------------------------------------------------------------------------------


def test_every_registered_layout_is_named_as_its_file_and_travels_to_workers() -> None:
    from multiprocessing.reduction import ForkingPickler

    for name in LAYOUTS.names():
        layout = LAYOUTS.load(name)()
        assert layout.name == name
        assert LAYOUTS.load(name).__module__.endswith(f".layouts.{name.replace('-', '_')}")
        assert len(ForkingPickler.dumps(layout)) < 1000


def test_several_roots_get_their_names_before_the_keys(tmp_path: Path) -> None:
    plant(tmp_path / "one", "real/x/a.png")
    plant(tmp_path / "two", "fake/y/a.png")

    found = collect([tmp_path / "one", tmp_path / "two"])

    assert found.keys == ["one/real/x/a.png", "two/fake/y/a.png"]
    assert found.root == [0, 1]


def test_limit_spreads_over_the_list(tmp_path: Path) -> None:
    plant(tmp_path, *[f"real/x/{number}.png" for number in range(6)], *[f"fake/y/{number}.png" for number in range(4)])

    found = collect([tmp_path], limit=5)

    assert found.keys == ["fake/y/0.png", "fake/y/2.png", "real/x/0.png", "real/x/2.png", "real/x/4.png"]
