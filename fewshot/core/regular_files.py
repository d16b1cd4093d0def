"""Read regular files only: a pipe, a device or a folder at a path that a user names is refused before it can block.

Whoever reads a file that a user or another program made opens it here, then maps the ``OSError`` to a sentence of its
own.
"""

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

_BLOCK_BYTES = 1 << 20
_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISSOCK, "a socket"),
)


def require_regular(path: Path | str, *, limit: int | None = None) -> None:
    """Raise unless ``path`` is a regular file, or a link to one, of at most ``limit`` bytes. Nothing is opened.

    Raises:
        OSError: it does not exist, is a pipe, device, socket or folder, or (EFBIG) is larger than ``limit``.
    """
    _require(path, Path(path).stat(), limit)


def open_regular(path: Path | str, *, limit: int | None = None) -> BinaryIO:
    """Open a regular file for reading; never waits for another process, as opening a pipe does.

    Args:
        path: the file.
        limit: most bytes it may have, as its size says.

    Raises:
        OSError: as ``require_regular``, or it may not be read.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_NONBLOCK", 0))
    try:
        _require(path, os.fstat(descriptor), limit)
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_regular(path: Path | str, *, limit: int) -> bytes:
    """Return the content of a regular file of at most ``limit`` bytes, whatever size it claims (files of /proc say 0).

    Raises:
        OSError: as ``open_regular``.
    """
    with open_regular(path, limit=limit) as stream:
        size = os.fstat(stream.fileno()).st_size
        parts, left = [stream.read(size)], limit + 1 - size
        while left > 0 and (part := stream.read(min(left, _BLOCK_BYTES))):  # a read sets all of its bytes aside at once
            parts.append(part)
            left -= len(part)
    if left <= 0:
        raise _too_large(path, f"more than {_gigabytes(limit)}", limit)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _require(path: Path | str, status: os.stat_result, limit: int | None) -> None:
    for is_kind, name in _KINDS:
        if is_kind(status.st_mode):
            number = errno.EISDIR if name == "a folder" else errno.EINVAL
            raise OSError(number, f"it is {name}, not a regular file", os.fspath(path))
    if limit is not None and status.st_size > limit:
        raise _too_large(path, _gigabytes(status.st_size), limit)


def _too_large(path: Path | str, found: str, limit: int) -> OSError:
    return OSError(errno.EFBIG, f"it has {found}, and at most {_gigabytes(limit)} are read", os.fspath(path))


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size:,} bytes"
