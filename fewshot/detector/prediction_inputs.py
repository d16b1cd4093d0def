"""What a prediction is of: files, folders, patterns, a list on the standard input, stores; listed lazily, in order."""

import glob
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Literal, Protocol

from fewshot.core.errors import InputError, OptionError
from fewshot.core.looked_for import looked_for
from fewshot.detector.fitting_inputs import is_store
from fewshot.embeddings.layouts.tree import image_files, left_out
from fewshot.embeddings.store.reader import FeatureStore

STANDARD_INPUT = "-"
_LIST = 8192  # paths that are listed at a time
_READ_BYTES = 1 << 16
_PATH_BYTES = 1 << 16  # of a line on the standard input


@dataclass(frozen=True)
class ImageFiles:
    """One input that names image files.

    Args:
        given: a file, a folder or a pattern; kind: which of them, or a list on the standard input.
        ignored: what lies in the folders and is no image, in words -> how many; filled by ``count``.
    """

    given: str
    kind: Literal["file", "folder", "pattern", "list"]
    ignored: Counter[str] = field(default_factory=Counter)

    def count(self) -> int | None:
        """Return how many images there are, None where only reading the list says so.

        Raises:
            InputError: none, or a folder that cannot be listed.
        """
        if self.kind == "list":
            return None
        self.ignored.clear()
        found = sum(1 for _ in self.paths(self.ignored))
        if not found and self.kind == "folder":
            raise InputError(
                f"nothing to predict: no image was found in {self.given}{left_out(self.ignored)}; name a folder that "
                f"holds some"
            )
        if not found:
            raise InputError(
                f"nothing to predict: there is no file {self.given}, and none that fits it as a "
                f"pattern{looked_for(self.given)}"
            )
        return found

    def paths(self, ignored: Counter[str]) -> Iterator[Path]:
        """Yield the images in order: those of a folder sorted, those that fit a pattern as well."""
        if self.kind == "file":
            yield Path(self.given)
        elif self.kind == "folder":
            yield from _in_folder(Path(self.given), ignored)
        else:
            for path in _fitting(Path(self.given)):
                yield from _in_folder(path, ignored) if path.is_dir() else [path]


Input = ImageFiles | FeatureStore


class Arriving(Protocol):
    """A stream of bytes that arrive over time, as a buffered reader is."""

    def read1(self, size: int = ..., /) -> bytes:
        """Return what is there, at least one byte until the end."""
        ...


def read_inputs(given: Sequence[Path | str]) -> list[Input]:
    """Return what is to be judged, in the order given; what is given twice is judged twice.

    Args:
        given: image files; folders, whose images are all taken; patterns such as ``inbox/**/*.png``; ``-`` for a list
            of paths on the standard input; feature stores (``.h5``, ``.hdf5``), whose features are judged.

    Raises:
        InputError: one of them is empty.
        OptionError: the standard input is given twice.
        StoreError: a store that is none.
    """
    found = [_input(str(one)) for one in given]
    if not found:
        raise InputError("nothing to predict: no image was given; name files, folders, a store, or - for a list")
    if sum(isinstance(one, ImageFiles) and one.kind == "list" for one in found) > 1:
        raise OptionError("- is given twice, and the list on the standard input can be read once; give it once")
    return found


def path_lists(inputs: Iterable[ImageFiles], stream: Arriving | None) -> Iterator[list[Path]]:
    """Yield the images of some inputs in order, as many at a time as are there, and never so many that memory matters.

    Args:
        stream: the standard input; None where it is closed.

    Raises:
        InputError: the list on the standard input is empty, or no list.
    """
    waiting: list[ImageFiles] = []
    for each in inputs:
        if each.kind == "list":
            yield from _joined(waiting)
            waiting = []
            yield from _listed(stream)
        else:
            waiting.append(each)
    yield from _joined(waiting)


def _input(given: str) -> Input:
    if not given:
        raise InputError("nothing to predict: one of the inputs is empty; name a file or folder")
    if given == STANDARD_INPUT:
        return ImageFiles(given, "list")
    path = Path(given).expanduser()
    if is_store(path):
        return FeatureStore(path)
    if path.is_dir():
        return ImageFiles(str(path), "folder")
    if glob.has_magic(given) and not os.path.lexists(path):
        return ImageFiles(str(path), "pattern")
    return ImageFiles(str(path), "file")


def _fitting(pattern: Path) -> list[Path]:
    """Return what fits a pattern, sorted; where it reaches below folders by ``**``, files only. Links are no folders.

    Names that begin with a dot fit only a pattern that has such a name, as in a shell.
    """
    deep = "**" in pattern.parts
    relative = pattern.relative_to(pattern.anchor) / ("*" if pattern.name == "**" else "")
    found = [path for path in Path(pattern.anchor).glob(str(relative)) if not (deep and path.is_dir())]
    dotted = _dotted(pattern)
    return sorted((path for path in found if dotted or not _dotted(path)), key=os.fsencode)


def _dotted(path: Path) -> bool:
    return any(part.startswith(".") and part != ".." for part in path.parts)


def _in_folder(folder: Path, ignored: Counter[str]) -> Iterator[Path]:
    return (folder / name for name in image_files(folder, ignored=ignored))


def _joined(inputs: Sequence[ImageFiles]) -> Iterator[list[Path]]:
    ignored: Counter[str] = Counter()
    paths = (path for each in inputs for path in each.paths(ignored))
    while some := list(islice(paths, _LIST)):
        yield some


def _listed(stream: Arriving | None) -> Iterator[list[Path]]:
    """Yield the paths of a list as they come, so that whoever writes it slowly gets answers meanwhile.

    A path ends with its line, or with a NUL where the list begins with such (``find -print0``).
    """
    if stream is None:
        raise InputError("nothing to predict: - reads a list from the standard input, which is closed")
    rest, end, found = b"", b"", False
    while block := _some_of(stream):
        end = end or (b"\0" if b"\0" in block else b"\n")
        *whole, rest = (rest + block).split(end)
        if len(rest) > _PATH_BYTES:
            raise InputError(
                f"the list on the standard input has a line of more than {_PATH_BYTES:,} bytes, which is no path; "
                f"give one path a line"
            )
        if paths := _paths(whole):
            found = True
            yield paths
    if paths := _paths([rest]):
        found = True
        yield paths
    if not found:
        raise InputError("nothing to predict: the list on the standard input is empty; give one path a line")


def _some_of(stream: Arriving) -> bytes:
    """Return what is there to read, at least one byte until the end; never waits for more."""
    try:
        return stream.read1(_READ_BYTES)
    except OSError as error:
        raise InputError(f"the list on the standard input cannot be read ({error.strerror or error})") from error


def _paths(lines: Iterable[bytes]) -> list[Path]:
    stripped = (line.removesuffix(b"\r") for line in lines)
    return [Path(os.fsdecode(line)).expanduser() for line in stripped if line.strip()]
