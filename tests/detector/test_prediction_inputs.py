"""What a prediction is of: files, folders, patterns, lists and stores, in the order given and listed lazily."""

import io
import os
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest

from fewshot.core.errors import InputError, OptionError, StoreError
from fewshot.detector.prediction_inputs import ImageFiles, path_lists, read_inputs


def listed(*given: Path | str, stdin: bytes | None = None) -> list[str]:
    stream = None if stdin is None else io.BytesIO(stdin)
    inputs = [each for each in read_inputs(given) if isinstance(each, ImageFiles)]
    return [str(path) for some in path_lists(inputs, stream) for path in some]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("in/b.png", "in/a.JPG", "in/c/d.webp", "in/notes.txt", "in/.hidden.png", "in/._b.png", "[1].png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def test_inputs_are_taken_in_the_order_given_and_folders_sorted(folder: Path) -> None:
    assert listed("none.png", "in", "in/b.png") == [
        "none.png",
        "in/.hidden.png",
        "in/a.JPG",
        "in/b.png",
        "in/c/d.webp",
        "in/b.png",
    ]


def test_what_lies_in_a_folder_and_is_no_image_is_counted(folder: Path) -> None:
    (only,) = read_inputs(["in"])

    assert isinstance(only, ImageFiles)
    assert only.count() == only.count() == 4
    assert only.ignored == Counter({".txt: not the suffix of an image": 1, "._*: a file of macOS, not data": 1})


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("in/*.png", ["in/b.png"]),
        ("in/*", ["in/a.JPG", "in/b.png", "in/c/d.webp", "in/notes.txt"]),
        ("in/**/*.webp", ["in/c/d.webp"]),
        ("in/**", ["in/a.JPG", "in/b.png", "in/c/d.webp", "in/notes.txt"]),
        ("in/.h*", ["in/.hidden.png"]),
        ("./in/?.png", ["in/b.png"]),
        ("in/../in/?.png", ["in/../in/b.png"]),
        ("[1].png", ["[1].png"]),
    ],
)
def test_a_pattern_gives_what_fits_it_sorted(folder: Path, pattern: str, found: list[str]) -> None:
    assert listed(pattern) == found


def test_an_absolute_pattern_gives_absolute_paths(folder: Path) -> None:
    assert listed(f"{folder}/in/?.*") == [f"{folder}/in/a.JPG", f"{folder}/in/b.png"]


def test_links_are_followed_but_not_in_circles(folder: Path) -> None:
    (folder / "in" / "back").symlink_to(folder / "in")
    (folder / "in" / "link.png").symlink_to(folder / "in" / "b.png")
    (folder / "outside").symlink_to(folder / "in" / "c")

    assert "in/link.png" in listed("in")
    assert not [path for path in listed("in") if "back" in path]
    assert listed("outside") == ["outside/d.webp"]
    assert listed("in/**/*.webp") == ["in/c/d.webp"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([], "nothing to predict: no image was given"),
        ([""], "nothing to predict: one of the inputs is empty"),
        (["none*.png"], r"nothing to predict: there is no file none\*\.png, and none that fits it as a pattern"),
        (["empty"], r"nothing to predict: no image was found in empty \(left out: 1 x \.txt: not the suffix"),
    ],
)
def test_nothing_to_predict_is_an_error_that_says_so(folder: Path, given: list[str], said: str) -> None:
    (folder / "empty").mkdir()
    (folder / "empty" / "notes.txt").touch()

    with pytest.raises(InputError, match=said):
        [each.count() for each in read_inputs(given) if isinstance(each, ImageFiles)]


def test_what_is_no_store_is_refused_before_anything_is_judged(folder: Path) -> None:
    (folder / "photos.h5").write_bytes(b"nope")

    with pytest.raises(StoreError, match=r"photos\.h5"):
        read_inputs(["in", "photos.h5"])


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"a.png\nb c.png\n", ["a.png", "b c.png"]),
        (b"a.png\r\n\n  \nlast.png", ["a.png", "last.png"]),
        (b"a\nb.png\0c.png\0", ["a\nb.png", "c.png"]),
        (b"\xff.png\n", [os.fsdecode(b"\xff.png")]),
    ],
)
def test_a_list_on_the_standard_input_has_a_path_a_line(content: bytes, found: list[str]) -> None:
    assert listed("-", stdin=content) == found


def test_a_list_stands_where_it_was_given(folder: Path) -> None:
    assert listed("x.png", "-", "in/b.png", stdin=b"1.png\n2.png\n") == ["x.png", "1.png", "2.png", "in/b.png"]


@pytest.mark.parametrize("content", [b"", b"\n\n", b" \r\n"])
def test_an_empty_list_is_an_error(content: bytes) -> None:
    with pytest.raises(InputError, match="nothing to predict: the list on the standard input is empty"):
        listed("-", stdin=content)


def test_a_closed_standard_input_is_an_error() -> None:
    with pytest.raises(InputError, match="standard input, which is closed"):
        listed("-")


def test_a_list_without_line_breaks_is_refused_and_not_read_for_ever() -> None:
    class Endless:
        def read1(self, size: int = -1, /) -> bytes:
            return b"x" * size

    with pytest.raises(InputError, match="has a line of more than 65,536 bytes"):
        list(path_lists([ImageFiles("-", "list")], Endless()))


def test_the_standard_input_is_read_once() -> None:
    with pytest.raises(OptionError, match="- is given twice"):
        read_inputs(["-", "-"])


class Slow:
    """An endless list whose writer gives a line at a time."""

    def __init__(self) -> None:
        self.given = 0

    def read1(self, _: int = -1, /) -> bytes:
        self.given += 1
        return f"{self.given}.png\n".encode()


def test_an_endless_list_is_taken_as_it_comes() -> None:
    slow = Slow()
    lists: Iterator[list[Path]] = path_lists([ImageFiles("-", "list")], slow)

    assert list(islice(lists, 3)) == [[Path("1.png")], [Path("2.png")], [Path("3.png")]]
    assert slow.given == 3


def test_many_files_are_listed_some_at_a_time() -> None:
    inputs = [ImageFiles(f"{number}.png", "file") for number in range(20_000)]

    assert [len(some) for some in path_lists(inputs, None)] == [8192, 8192, 3616]
