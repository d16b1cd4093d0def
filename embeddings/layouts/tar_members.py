"""Where the plain files of a tar lie in it; a tar that does not end as tars end is refused, whatever it holds."""

import tarfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from posixpath import normpath
from typing import Any, BinaryIO

from fewshot.core.errors import InputError
from fewshot.core.regular_files import open_regular
from fewshot.embeddings.layouts.names import require_text
from fewshot.embeddings.layouts.system_files import system_path

_BLOCK = 512
_END = bytes(2 * _BLOCK)  # POSIX.1-2001, pax: two blocks of zeros end an archive
_MAX_PADDING = 16 << 20  # zeros behind the end: tar pads to its blocking factor, 10 KiB unless told otherwise
_MAX_HEADER = 1 << 20  # of one extended header; names and times take far less
_COMPRESSED = {
    b"\x1f\x8b": "gzip; gunzip it",
    b"BZh": "bzip2; bunzip2 it",
    b"\xfd7zXZ": "xz; unxz it",
    b"\x28\xb5\x2f\xfd": "zstd; unzstd it",
    b"PK\x03\x04": "zip; unpack it",
}


@dataclass(frozen=True)
class Member:
    """Where a plain file of a tar lies: the first byte's offset and the number of bytes."""

    offset: int
    size: int


def tar_members(shard: Path, *, ignored: Counter[str]) -> dict[str, Member]:
    """Return {name: member} of the plain files, in the tar's order.

    Links, devices and sparse files, names that lead out of the tar, and what operating systems leave behind are
    counted in ``ignored``.

    Raises:
        InputError: not a tar, compressed, a damaged header, no end of archive (the rest is missing), data behind the
            end, or two members of one name.
    """
    try:
        with open_regular(shard) as stream:
            _require_uncompressed(stream, shard)
            return _members(stream, shard, ignored)
    except (OSError, tarfile.TarError, ValueError, OverflowError, RecursionError, LookupError, MemoryError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
        raise InputError(f"{shard} is not a readable tar ({reason}); fetch it again") from error


def _members(stream: BinaryIO, shard: Path, ignored: Counter[str]) -> dict[str, Member]:
    members: dict[str, Member] = {}
    names: set[str] = set()
    headers: Any = _HeaderReader(stream)  # the three methods that tarfile calls
    with tarfile.open(fileobj=headers, mode="r:") as archive:
        before = -1
        while (entry := archive.next()) is not None:
            archive.members.clear()  # type: ignore[attr-defined]  # tarfile would keep every entry
            if entry.size < 0 or archive.offset <= before:
                raise ValueError(f"a header that leads backwards, at byte {entry.offset:,}")
            before = archive.offset
            reason = _not_data(entry)
            if reason:
                ignored[reason] += 1
            elif not entry.isdir():
                if normpath(entry.name) in names:
                    raise InputError(f"{shard} has two members {entry.name!r}; write the shard again")
                require_text(entry.name, where=f"{shard}: the member")
                names.add(normpath(entry.name))
                members[entry.name] = Member(entry.offset_data, entry.size)
        _require_end(stream, shard, archive.offset)
    return members


def _not_data(entry: tarfile.TarInfo) -> str:
    """Return what is counted of an entry that is left out, empty when it is a plain file or a folder."""
    if not entry.isdir() and (not entry.isreg() or entry.issparse()):
        return "members of a tar that are not plain files"
    if entry.name.startswith("/") or ".." in entry.name.split("/"):
        return "members of a tar whose names lead out of it"
    return "" if entry.isdir() else system_path(entry.name)


def _require_uncompressed(stream: BinaryIO, shard: Path) -> None:
    beginning = stream.read(6)
    stream.seek(0)
    for mark, remedy in _COMPRESSED.items():
        if beginning.startswith(mark):
            raise InputError(f"{shard} is compressed by {remedy}: members are read where they lie, in a plain tar")


def _require_end(stream: BinaryIO, shard: Path, offset: int) -> None:
    """Raise unless two blocks of zeros begin at ``offset``, and nothing but zeros follows."""
    stream.seek(0, 2)
    size = stream.tell()
    stream.seek(offset)
    found = stream.read(len(_END))
    if len(found) < len(_END):
        raise InputError(
            f"{shard} ends at byte {size:,} without the mark of a tar's end: the rest is missing; fetch it again"
        )
    if found != _END:
        raise InputError(
            f"{shard} has a damaged header at byte {offset:,}, and what follows it cannot be read; fetch it again"
        )
    if size - stream.tell() > _MAX_PADDING or stream.read(_MAX_PADDING).strip(b"\0"):
        raise InputError(
            f"{shard} goes on behind its end at byte {offset:,}: a header was lost, or tars were joined; fetch it "
            f"again, or write one tar"
        )


class _HeaderReader:
    """The stream as tarfile reads headers from it: never more at once than a header has."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= _MAX_HEADER:
            raise ValueError(f"a header of {size:,} bytes, and at most {_MAX_HEADER:,} are read")
        return self._stream.read(size)

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        return self._stream.tell()
