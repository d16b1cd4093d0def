"""What HDF5 raises when the disk refuses a write, as errors of ours."""

import errno
import os
import re
from pathlib import Path

from fewshot.core.errors import OutputError
from fewshot.core.files import output_error

_REFUSED = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG, errno.EIO)


def is_write_error(error: BaseException | None) -> bool:
    """Return whether the disk refused a write; HDF5 raises RuntimeError, not OSError, when closing fails."""
    return isinstance(error, (OSError, RuntimeError)) and ("write failed" in str(error) or _errno(error) in _REFUSED)


def cannot_write(path: Path, error: BaseException | None) -> OutputError:
    """Return the error for a store that cannot be written; HDF5 names the system's error in its own text."""
    number = _errno(error)
    return output_error(path, OSError(number, os.strerror(number)) if number else OSError(str(error)))


def _errno(error: BaseException | None) -> int | None:
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    found = re.search(r"errno = (\d+)", str(error))
    return int(found[1]) if found else None
