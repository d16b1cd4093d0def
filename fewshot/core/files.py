"""Write a file whole or not at all, and hash one: every output of the package is written here.

The content goes to a temporary file beside the target, which is flushed to the disk and then renamed over it. A write
that fails, or a process that is killed, leaves the old file as it was. Where the target is a symbolic link, the link is
replaced and the file that it names is left alone.
"""

import errno
import hashlib
import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from fewshot.core.errors import OutputError
from fewshot.core.outputs import FileKind, require_kind

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
_NOT_ALLOWED = (errno.EACCES, errno.EPERM)
_TOKEN_BYTES = 8
_NAME_BYTES = 200  # file systems take names of 255 bytes


@contextmanager
def atomic_write(path: Path | str, *, option: str = "-o", kind: FileKind | None = None) -> Iterator[BinaryIO]:
    """Yield a binary stream whose content becomes the file ``path`` when the block ends without an error.

    Args:
        path: the file to write; an existing one is replaced and keeps its permissions.
        option: what the user changes to write elsewhere, for the message.
        kind: what is written; an existing file of another kind is not replaced. None for files that only we name.

    Raises:
        OutputError: the file cannot be written; the old one is untouched.
    """
    with atomic_path(path, option=option, kind=kind) as temporary, temporary.open("r+b") as stream:
        yield stream


@contextmanager
def atomic_path(path: Path | str, *, option: str = "-o", kind: FileKind | None = None) -> Iterator[Path]:
    """Yield the path of an empty temporary file that becomes ``path`` when the block ends without an error.

    For writers that open their file by name. They must have closed it when the block ends.

    Args:
        path, option, kind: as for ``atomic_write``.

    Raises:
        OutputError: the file cannot be written; the old one is untouched.
    """
    target = Path(path)
    _require_kind(target, kind, option)
    try:
        temporary = create_temporary(target)
        try:
            yield temporary
            _require_kind(target, kind, option)  # it may be there only since
            publish(temporary, target)
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise
    except OSError as error:
        raise output_error(target, error, option=option) from error


@contextmanager
def atomic_folder(path: Path, *, option: str = "-o") -> Iterator[Path]:
    """Yield an empty temporary folder that becomes the new folder ``path`` when the block ends without an error.

    Args:
        path, option: as for ``atomic_write``.

    Raises:
        OutputError: it cannot be written; nothing is left.
    """
    temporary = path.with_name(_temporary_name(path))
    try:
        temporary.mkdir()
        try:
            yield temporary
            temporary.rename(path)
            fsync_folder(path.parent)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
    except OSError as error:
        raise output_error(path, error, option=option) from error


def write_text(path: Path | str, text: str, *, option: str = "-o", kind: FileKind | None = None) -> Path:
    """Write ``text`` as UTF-8 and return the path; see ``atomic_write``.

    Raises:
        OutputError: the file cannot be written.
    """
    return write_bytes(path, text.encode("utf-8"), option=option, kind=kind)


def write_bytes(path: Path | str, content: bytes, *, option: str = "-o", kind: FileKind | None = None) -> Path:
    """Write ``content`` and return the path; see ``atomic_write``.

    Raises:
        OutputError: the file cannot be written.
    """
    with atomic_write(path, option=option, kind=kind) as stream:
        stream.write(content)
    return Path(path)


def make_folder(path: Path, *, option: str = "-o") -> Path:
    """Make a folder, and those above it, unless it is there already; return it.

    Raises:
        OutputError: it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        why = "it is a file" if path.is_file() else error.strerror or str(error)
        raise OutputError(f"the folder {path} cannot be made: {why}; give another path by {option}") from error
    return path


def create_temporary(path: Path) -> Path:
    """Return a new empty file beside ``path``, with a name that nobody can guess and the permissions of ``path``.

    It is created exclusively, so that a file or link already at that name is never opened. A new file has the
    permissions that the process's umask leaves.

    Raises:
        OSError: it cannot be created, or ``path`` is something other than a file.
    """
    _require_replaceable(path)
    temporary = path.with_name(_temporary_name(path))
    descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        with suppress(FileNotFoundError):
            os.fchmod(descriptor, stat.S_IMODE(path.stat().st_mode))
    finally:
        os.close(descriptor)
    return temporary


def require_room(folder: Path, size: int, *, beside: int = 0) -> None:
    """Raise where a folder's disk has no room for ``size`` bytes, or where no file may grow so large.

    Args:
        size: bytes that are still to be written; beside: bytes that the file has already.

    Raises:
        OSError: ENOSPC or EFBIG.
    """
    limit = _file_limit()
    if limit is not None and size + beside > limit:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), str(folder))
    disk = shutil.disk_usage(folder)
    if disk.total and size > disk.free:  # some file systems do not count
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))


def _file_limit() -> int | None:
    """Return the most bytes that this process may give a file, None where the system sets no limit."""
    if os.name != "posix":
        return None
    import resource

    limit, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    return None if limit == resource.RLIM_INFINITY else limit


def publish(temporary: Path, path: Path) -> None:
    """Flush a finished temporary file to the disk and rename it to ``path``, so that both survive a power cut.

    Raises:
        OSError: the disk refused it.
    """
    with temporary.open("rb") as stream:
        os.fsync(stream.fileno())
    temporary.replace(path)
    fsync_folder(path.parent)


def remove_abandoned(path: Path) -> None:
    """Delete the temporary files of ``path`` that killed processes left; call it only under a lock on ``path``."""
    abandoned = re.compile(rf"{re.escape(_temporary_stem(path))}\.[0-9a-f]{{{2 * _TOKEN_BYTES}}}\.tmp")
    for left in path.parent.iterdir():
        if abandoned.fullmatch(left.name):
            left.unlink(missing_ok=True)


def fsync_folder(folder: Path) -> None:
    """Make a rename in ``folder`` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some network file systems know no fsync of a folder
            raise
    finally:
        os.close(descriptor)


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, or of all files of a folder in name order: 64 hex digits."""
    return file_digest(path, "sha256")


def file_digest(path: Path, algorithm: str) -> str:
    """Return the same by another algorithm of ``hashlib``, as hex digits."""
    digest = hashlib.new(algorithm)
    files = [path] if not path.is_dir() else sorted(child for child in path.rglob("*") if child.is_file())
    for file in files:
        with file.open("rb") as stream:
            hashlib.file_digest(stream, lambda: digest)
    return digest.hexdigest()


def output_error(path: Path, error: OSError, *, option: str = "-o") -> OutputError:
    """Return the error for an output that cannot be written: why, and what to do about it."""
    return OutputError(f"{path} cannot be written: {_reason(path, error, option)}")


def _errno(error: OSError) -> int | None:
    """Return the system's number of an error, also of one that another library only tells in words."""
    told = (number for number in (*_NO_ROOM, errno.EFBIG, errno.EROFS) if os.strerror(number) in str(error))
    return error.errno if error.errno is not None else next(told, None)


def _reason(path: Path, error: OSError, option: str) -> str:
    number = _errno(error)
    if number in _NO_ROOM:
        return "no space is left on its disk; free some and run the same command again"
    if number in _NOT_ALLOWED:
        return f"you may not write to {path.parent}; give another path by {option}"
    if number == errno.EFBIG:
        return f"files may not grow so large here; raise the limit (`ulimit -f`), or give another path by {option}"
    if number == errno.EROFS:
        return f"its file system is read-only; give another path by {option}"
    if path.is_dir():
        return f"it is a folder; give {option} the name of a file"
    if path.exists() and not path.is_file():
        return f"it is a device or a pipe, not a file; give {option} the name of a file"
    if not path.parent.is_dir():
        return f"there is no folder {path.parent}; make it, or give another path by {option}"
    return f"{error.strerror or error}; give another path by {option}"


def _require_kind(path: Path, kind: FileKind | None, option: str) -> None:
    if kind is not None:
        require_kind(path, kind, option=option)


def _require_replaceable(path: Path) -> None:
    """Raise where a rename would replace a device, a pipe or a folder by a file."""
    if path.exists() and not path.is_file():
        raise OSError(errno.EISDIR if path.is_dir() else errno.EINVAL, "not a file", str(path))


def _temporary_name(path: Path) -> str:
    return f"{_temporary_stem(path)}.{secrets.token_hex(_TOKEN_BYTES)}.tmp"


def _temporary_stem(path: Path) -> str:
    """Return how the temporary names of ``path`` begin: its own name unless that leaves no room for more."""
    name = os.fsencode(path.name)
    return path.name if len(name) <= _NAME_BYTES else hashlib.sha256(name).hexdigest()[:32]
