"""What a command may write over: a file of the kind that it writes, never another one, never one that it reads.

``FileKind`` says how a file shows of which kind it is. Commands call ``require_outputs`` before they work, and whoever
writes names its kind to ``fewshot.core.files``, which looks again at the moment of writing.
"""

import os
import re
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from fewshot.core.errors import OutputError
from fewshot.core.regular_files import open_regular

_LOOKED_AT_BYTES = 1 << 16  # of the beginning, and as many of the end


@dataclass(frozen=True)
class FileKind:
    """A kind of file that fewshot writes.

    Args:
        name: as a sentence calls it, for example ``a report``.
        begins: its first bytes.
        marks: patterns, each to be found near its beginning or its end.
        holds: a further condition on the file.
    """

    name: str
    begins: bytes
    marks: tuple[bytes, ...] = ()
    holds: Callable[[Path], bool] = field(default=lambda path: True)

    def fits(self, path: Path) -> bool:
        """Return whether a regular file is of this kind, or empty and so of none.

        Raises:
            OSError: it cannot be read.
        """
        with open_regular(path) as stream:
            head = stream.read(_LOOKED_AT_BYTES)
            size = os.fstat(stream.fileno()).st_size
            stream.seek(max(size - _LOOKED_AT_BYTES, 0))
            seen = head + b"\n" + stream.read(_LOOKED_AT_BYTES)
        if not size and not head:
            return True
        return head.startswith(self.begins) and all(re.search(mark, seen) for mark in self.marks) and self.holds(path)


@dataclass(frozen=True)
class Output:
    """A file that a command is to write.

    Args:
        path: where; None for none.
        kind: what it writes there.
        option: which option named it.
    """

    path: Path | None
    kind: FileKind
    option: str = "-o"


def require_outputs(outputs: Iterable[Output], *, inputs: Iterable[Path | str | None] = ()) -> None:
    """Refuse, before anything is done, to write over an input, over a file of another kind, or two things to one file.

    Args:
        outputs: what is to be written.
        inputs: files that the same command reads; links and second names of them count as well. There is no way round.

    Raises:
        OutputError: one of these, or there is no folder to write to.
    """
    read = [Path(path) for path in inputs if path is not None]
    written: list[tuple[Path, Output]] = []
    for output in outputs:
        if output.path is None:
            continue
        for before, other in written:
            if _same(output.path, before):
                raise OutputError(
                    f"{output.path} is to be written by {other.option} and by {output.option}; name another file for "
                    f"one of them"
                )
        written.append((output.path, output))
        require_no_input(output.path, read, option=output.option)
        if not output.path.parent.is_dir():
            raise OutputError(
                f"{output.path} cannot be written: there is no folder {output.path.parent}; make it, or give another "
                f"path by {output.option}"
            )
        require_kind(output.path, output.kind, option=output.option)


def require_no_input(path: Path, inputs: Iterable[Path], *, option: str = "-o") -> None:
    """Refuse to write over a file that is read.

    Raises:
        OutputError: ``path`` is one of ``inputs``, also by a link or a second name.
    """
    for read in inputs:
        if _same(path, read):
            raise OutputError(
                f"{path} is read by this command ({read}) and would be written over; name another file by {option}"
            )


def require_kind(path: Path, kind: FileKind, *, option: str = "-o") -> None:
    """Refuse to write over what is not of a kind.

    Raises:
        OutputError: something else is there: another file, a folder, a device or a pipe.
    """
    if not os.path.lexists(path) or (path.is_symlink() and not path.exists()):
        return
    if path.is_dir():
        raise OutputError(f"{path} cannot be written: it is a folder; give {option} the name of a file")
    if not path.is_file():
        raise OutputError(
            f"{path} cannot be written: it is a device or a pipe, not a file; give {option} the name of a file"
        )
    try:
        fits = kind.fits(path)
    except OSError:
        fits = False  # what cannot be read is not known to be ours
    if not fits:
        raise OutputError(
            f"{path} is there already and is not {kind.name} of fewshot, so that it is not written over; move it away, "
            f"or name another file by {option}"
        )


def _same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except (OSError, ValueError):
        return os.path.abspath(one) == os.path.abspath(other)  # noqa: PTH100  # neither needs to be there


def _has_scores(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            names = {name.removesuffix(".npy") for name in archive.namelist()}
    except (zipfile.BadZipFile, OSError, ValueError):
        return False
    return {"key", "source", "answer"} <= names or any("|" in name for name in names)


REPORT = FileKind("a report", b"{", (rb'"schema"\s*:', rb'"protocol"\s*:|"rows"\s*:'))
SCORES = FileKind("a file of kept scores", b"PK\x03\x04", holds=_has_scores)
PAGE = FileKind("a page", b"<!DOCTYPE html>", (rb'content="fewshot"|default-src \'none\'; style-src',))
PNG = FileKind("a picture", b"\x89PNG\r\n\x1a\n", (rb"Software\x00fewshot",))
SVG = FileKind("a figure", b"<?xml", (rb"<svg", rb"<dc:title>fewshot<"))
PDF = FileKind("a figure", b"%PDF-", (rb"/Creator \(fewshot\)",))
PINNED = FileKind("a list of pinned SHA-256", b"{", (rb'": "[0-9a-f]{64}"',))
INDEX_DESCRIPTION = FileKind("the description of an index", b"{", (rb'"index_sha256"\s*:', rb'"layer_digest"\s*:'))
INDEX = FileKind("an index", b"I", holds=lambda path: INDEX_DESCRIPTION.fits(path.with_name(path.name + ".json")))
STORE = FileKind("a feature store", b"\x89HDF\r\n\x1a\n")
DETECTOR = FileKind("a detector", b"PK\x03\x04", (rb"fewshot-detector \d{1,9} [0-9a-f]{64}$",))
FEEDBACK = FileKind("a file of feedback", b'{"feedback": ')
AUDIT_LOG = FileKind("an audit log", b'{"audit": ')
VERDICT_TABLE = FileKind("a table of verdicts", b"image,verdict,score,probability_low,")
VERDICT_LINES = FileKind("a file of verdicts", b'{"image": ', (rb'"failure": ', rb'"pixel_id": '))
VERDICT_PARQUET = FileKind("a Parquet file of verdicts", b"PAR1", (rb"fewshot\W{1,3}verdicts",))
HEAD = FileKind("a saved head", b"", (rb'"__metadata__":\s*\{"head"',))
FIGURES = {"png": PNG, "svg": SVG, "pdf": PDF}
