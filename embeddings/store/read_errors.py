"""What the system and HDF5 say when a store cannot be read, each in a sentence with its own remedy."""

import errno
import re
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fewshot.core.errors import StoreError

# What h5py, and the reading of headers by hand, raise about damaged metadata or values, besides OSError.
_H5PY_ERRORS = (RuntimeError, KeyError, ValueError, TypeError, OverflowError, MemoryError, SystemError, struct.error)

_LOCKED = (errno.EAGAIN, errno.EWOULDBLOCK, errno.EDEADLK)
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP)
_REASONS = {
    **dict.fromkeys(
        _LOCKED,
        "another program holds it open for writing, and the file itself may be whole; close that program, or wait "
        "until it has ended, then run the same again",
    ),
    **dict.fromkeys(
        NO_LOCKS,
        "its file system knows no locks; set HDF5_USE_FILE_LOCKING=FALSE and run the same again, or copy the file to a "
        "local disk",
    ),
    **dict.fromkeys(
        (errno.EACCES, errno.EPERM), "you may not read it; give yourself the right to, or have its owner do so"
    ),
    errno.EIO: "the disk or network reports a fault; copy the file to another disk and name the copy",
    errno.ESTALE: "it was replaced or removed on its network file system meanwhile; run the same again",
    errno.ENOENT: "it is gone; name a file that is there",
    errno.EMFILE: "too many files are open; raise the limit (`ulimit -n`)",
    errno.ENFILE: "too many files are open on this machine; close some",
    errno.ENOMEM: "the memory does not suffice; close other programs, or use a machine with more",
}


def cannot_read(path: Path, error: BaseException) -> StoreError:
    """Return the error for a store that cannot be opened or read: why, and what to do about it."""
    return StoreError(f"{path} {_sentence(error)}")


@contextmanager
def naming_errors(path: Path, what: str = "") -> Iterator[None]:
    """Turn whatever the system or h5py raises in the block into an error that names the file.

    Args:
        path: the file; what: the part of it that is read, for the message.

    Raises:
        StoreError: the file cannot be read.
    """
    try:
        yield
    except OSError as error:
        if error_number(error) in _REASONS or not what:
            raise cannot_read(path, error) from error
        raise _damaged(path, what, error) from error
    except _H5PY_ERRORS as error:
        raise _damaged(path, what or "its structure", error) from error


def error_number(error: BaseException | None) -> int | None:
    """Return the system's error number; HDF5 may name it in its text alone."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    found = re.search(r"errno = (\d+)", str(error))
    return int(found[1]) if found else None


def _damaged(path: Path, what: str, error: BaseException) -> StoreError:
    return StoreError(f"{path}: {what} is damaged ({_first_line(error)}); restore the file from a copy, or embed again")


def _sentence(error: BaseException) -> str:
    number, text = error_number(error), str(error)
    if number in _REASONS:
        return f"cannot be read now: {_REASONS[number]}"
    cut = re.search(r"eof = (\d+).*stored_eof = (\d+)", text)
    if cut:
        return (
            f"cannot be read as HDF5: it is cut short, {int(cut[1]):,} of {int(cut[2]):,} bytes are there; copy it "
            f"again from where it is whole, or make it again with `fewshot embed`"
        )
    if "signature not found" in text:
        return "cannot be read as HDF5: it is another kind of file; name one made by `fewshot embed`"
    if "already open for write" in text or "consistency flags" in text:
        return (
            "cannot be read now: its mark says that a program writes to it; close that program, or if none does, take "
            "the mark off with `h5clear -s` and run the same again"
        )
    if number in (errno.EINVAL, errno.EISDIR, errno.EFBIG) and isinstance(error, OSError):
        return f"cannot be read as HDF5: {error.strerror}; name a store made by `fewshot embed`"
    if number is not None and isinstance(error, OSError) and error.strerror:
        return f"cannot be opened: {error.strerror}; name a store made by `fewshot embed`"
    return (
        f"cannot be read as HDF5 ({_first_line(error)}): it is damaged; restore it from a copy, or make it again with "
        f"`fewshot embed`"
    )


def _first_line(error: BaseException) -> str:
    if isinstance(error, MemoryError):
        return "it asks for more memory than there is"
    return (str(error).splitlines() or [type(error).__name__])[0]
