"""What lies among images and is none is left out and told; names of splits are splits."""

import io
import os
import tarfile
from pathlib import Path

import pytest

from fewshot.core.errors import InputError
from fewshot.embeddings.layouts.collection import collect
from fewshot.embeddings.layouts.system_files import system_path

CLUTTER = (
    ".ipynb_checkpoints/a-checkpoint.png",
    ".Trash-1000/files/a.png",
    ".Trash/a.png",
    "@eaDir/a.jpg/SYNOPHOTO_THUMB_M.jpg",
    "__MACOSX/real/._a.png",
    "$RECYCLE.BIN/S-1-5/a.png",
    "System Volume Information/a.png",
    "lost+found/a.png",
    ".thumbnails/normal/a.png",
    ".cache/a.png",
    ".git/a.png",
    "#recycle/a.png",
    ".AppleDouble/a.png",
    "._a.png",
    "Thumbs.db",
    ".DS_Store",
    "desktop.ini",
)
SPLITS = ("train", "Train", "VAL", "valid", "Validation", "test")


def plant(root: Path, *paths: str) -> None:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(b"x")


@pytest.mark.parametrize("clutter", CLUTTER)
@pytest.mark.parametrize("below", ["", "real/", "real/cam/"])
def test_what_systems_leave_among_folders_is_left_out_and_told(tmp_path: Path, clutter: str, below: str) -> None:
    plant(tmp_path, "real/cam/a.png", "fake/sd/b.png", below + clutter)

    found = collect([tmp_path])

    assert [(sample.path, sample.source) for sample in found.samples] == [
        ("fake/sd/b.png", "sd"),
        ("real/cam/a.png", "cam"),
    ]
    told = [line for line in found.describe() if "left out" in line]
    assert len(told) == 1
    assert told[0].endswith("not data")


@pytest.mark.parametrize("clutter", CLUTTER)
@pytest.mark.parametrize("below", ["", "real/"])
def test_what_systems_leave_in_archives_is_left_out_and_told(tmp_path: Path, clutter: str, below: str) -> None:
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        for name, content in {"a.png": b"x", "a.cls": b"0", below + clutter: b"x"}.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))

    found = collect([tmp_path], one_class=True)

    assert [sample.member for sample in found.samples] == ["a.png"]
    assert [line for line in found.describe() if "left out" in line and line.endswith("not data")]


@pytest.mark.parametrize("path", ["a.png", "real/trash/a.png", "cache/a.png", "git/a.png", "real/.hidden.png", "_.png"])
def test_ordinary_names_are_data(path: str) -> None:
    assert system_path(path) == ""


def test_shards_that_systems_left_are_no_shards(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        for name, content in {"a.png": b"x", "a.cls": b"0"}.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    plant(tmp_path, "._x.tar")

    assert len(collect([tmp_path], one_class=True)) == 1


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize(
    ("natural", "synthetic", "sources"),
    [
        ("{}/REAL/a.png", "{}/FAKE/b.png", ["natural", "synthetic"]),
        ("REAL/{}/a.png", "FAKE/{}/b.png", ["natural", "synthetic"]),
        ("{}/real/cam/a.png", "{}/fake/sd/b.png", ["cam", "sd"]),
        ("real/{}/cam/a.png", "fake/{}/sd/b.png", ["cam", "sd"]),
        ("real/cam/{}/a.png", "fake/sd/{}/b.png", ["cam", "sd"]),
        ("data/{}/real/a.png", "data/{}/fake/b.png", ["data", "data"]),
        ("{}/sd/real/a.png", "{}/sd/fake/b.png", ["sd", "sd"]),
    ],
)
def test_a_split_is_never_a_source(
    tmp_path: Path, split: str, natural: str, synthetic: str, sources: list[str]
) -> None:
    plant(tmp_path, natural.format(split), synthetic.format(split))

    found = sorted(collect([tmp_path]).samples, key=lambda sample: sample.synthetic)

    assert [sample.source for sample in found] == sources
    assert {sample.split for sample in found} == {split.lower()}


def test_folders_of_two_splits_in_one_path_are_refused(tmp_path: Path) -> None:
    plant(tmp_path, "train/real/test/a.png", "train/fake/b.png")

    with pytest.raises(InputError, match=r"lies below folders of several splits \(train, test\)"):
        collect([tmp_path])


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize(
    ("layout", "paths", "source"),
    [
        ("cnndet", ("{}/biggan/0_real/a.png", "{}/biggan/1_fake/b.png"), "biggan"),
        ("aigibench", ("{}/FLUX/dev/0_real/a.png", "{}/FLUX/dev/1_fake/b.png"), "FLUX"),
        ("chameleon", ("{}/0_real/a.png", "{}/1_fake/b.png"), "chameleon"),
    ],
)
def test_every_split_is_known_in_published_trees(
    tmp_path: Path, split: str, layout: str, paths: tuple[str, ...], source: str
) -> None:
    root = tmp_path / "chameleon" if layout == "chameleon" else tmp_path
    plant(root, *(path.format(split) for path in paths))

    found = collect([root])

    assert found.layouts[0].name == layout
    assert {(sample.source, sample.split) for sample in found.samples} == {(source, split.lower())}


@pytest.mark.parametrize(("split", "stored"), [("Train", "train"), ("VAL", "test"), ("valid", "test")])
def test_the_splits_of_genimage_are_known_in_any_case(tmp_path: Path, split: str, stored: str) -> None:
    plant(tmp_path, f"ADM/{split}/ai/a.png", f"ADM/{split}/nature/b.png")

    found = collect([tmp_path])

    assert found.layouts[0].name == "genimage"
    assert {(sample.source, sample.split) for sample in found.samples} == {("ADM", stored)}


@pytest.mark.parametrize("split", SPLITS)
def test_lists_of_every_split_are_known_to_wildfake(tmp_path: Path, split: str) -> None:
    plant(tmp_path, "Images/Real/FFHQ/a.png", "Images/GAN_based/x/styleGAN/b.png")
    (tmp_path / f"{split}.txt").write_text("Real/FFHQ/a.png\nGAN_based/x/styleGAN/b.png\n")

    assert {sample.split for sample in collect([tmp_path]).samples} == {split.lower()}


@pytest.mark.parametrize("split", SPLITS)
def test_a_shard_named_by_a_split_is_no_source(tmp_path: Path, split: str) -> None:
    with tarfile.open(tmp_path / f"{split}-000.tar", "w") as archive:
        for name, content in {"a.png": b"x", "a.cls": b"0", "b.png": b"x", "b.cls": b"1"}.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))

    found = collect([tmp_path])

    assert [(sample.source, sample.split) for sample in found.samples] == [
        ("natural", split.lower()),
        ("synthetic", split.lower()),
    ]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("a.tar.gz", "2 x .tar.gz: gunzip it; a .tar is read as it is"),
        ("a.tgz", "2 x .tgz: gunzip it"),
        ("a.zip", "2 x .zip: unpack it"),
        ("a.dng", "2 x .dng: not the suffix of an image"),
        ("._a.png", r"2 x \._\*: a file of macOS, not data"),
    ],
)
def test_a_refusal_repeats_what_was_left_out(tmp_path: Path, name: str, told: str) -> None:
    plant(tmp_path, "fake/sd/b.png", f"real/cam/{name}", f"real/phone/{name}")

    with pytest.raises(InputError, match=rf"all 1 images .* are synthetic \(sources: sd\) \(left out: {told}"):
        collect([tmp_path])


@pytest.mark.parametrize(("name", "remedy"), [("x.tar.gz", "gunzip it"), ("x.zip", "unpack it"), ("x.7z", "unpack it")])
def test_an_archive_that_is_not_read_gets_its_own_remedy(tmp_path: Path, name: str, remedy: str) -> None:
    plant(tmp_path, name)

    with pytest.raises(InputError, match=rf"fits none of the layouts .*{remedy}"):
        collect([tmp_path / name])


def test_a_folder_of_nothing_but_clutter_says_so(tmp_path: Path) -> None:
    plant(tmp_path, "real/._a.png", "real/x.txt")

    with pytest.raises(InputError, match=r"no image was found .*left out: 1 x \._\*: a file of macOS.*; 1 x \.txt"):
        collect([tmp_path])


def test_links_in_a_circle_and_files_in_a_folders_place_are_survived(tmp_path: Path) -> None:
    plant(tmp_path, "real/cam/a.png", "fake/sd/b.png", "test", "Images", "train")
    (tmp_path / "real/loop").symlink_to(tmp_path / "real/loop")
    (tmp_path / "real/up").symlink_to(tmp_path)
    (tmp_path / "fake/gone.png").symlink_to(tmp_path / "nowhere.png")

    found = collect([tmp_path])

    assert [sample.path for sample in found.samples] == ["fake/gone.png", "fake/sd/b.png", "real/cam/a.png"]
    assert any("leads back" in line for line in found.describe())


@pytest.mark.parametrize(
    "layout",
    [
        "folder", "cnndet", "genimage", "genimage-fsd", "omnifake", "treasure", "aigenimages2026", "wildfake", "hf",
        "community", "table", "lmdb", "webdataset",
    ],
)  # fmt: skip
@pytest.mark.parametrize("root", ["file", "pipe", "missing", "empty"])
def test_every_layout_refuses_a_root_that_is_not_its_own(tmp_path: Path, layout: str, root: str) -> None:
    path = tmp_path / "root"
    if root == "file":
        path.touch()
    elif root == "pipe":
        os.mkfifo(path)
    elif root == "empty":
        path.mkdir()

    with pytest.raises(InputError):
        collect([path], layout=layout)


@pytest.mark.parametrize("layout", ["auto", "folder", "hf", "community", "wildfake", "webdataset"])
def test_a_folder_that_may_not_be_listed_is_named(tmp_path: Path, layout: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(tmp_path, "real/cam/a.png", "fake/sd/b.png")

    def forbidden(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", forbidden)
    monkeypatch.setattr(os, "listdir", forbidden)

    with pytest.raises(InputError, match=r"Permission denied|holds no tar file"):
        collect([tmp_path], layout=layout)
