"""Whether a store of known size fits where it shall be written, asked before HDF5 begins, which survives no refusal."""

import os
import shutil
from pathlib import Path

from fewshot.core.errors import OutputError


def require_room(path: Path, size: int) -> None:
    """Raise unless ``size`` bytes fit on the disk of ``path`` and within this process's limit of a file's size.

    A folder that is not there is left to whoever opens the file.

    Raises:
        OutputError: they do not fit.
    """
    try:
        free = shutil.disk_usage(path.parent).free
    except OSError:
        return
    if size > free:
        raise OutputError(
            f"{path} cannot be written: it needs about {size} bytes, and its disk has {free} left; free some and run "
            f"the same command again, or give another path by -o"
        )
    limit = _file_limit()
    if limit is not None and size > limit:
        raise OutputError(
            f"{path} cannot be written: it needs about {size} bytes, and a file may have {limit} here (ulimit -f); "
            f"raise the limit"
        )


def _file_limit() -> int | None:
    """Return the most bytes that this process may give a file, None where the system sets no limit."""
    if os.name != "posix":
        return None
    import resource

    limit, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    return None if limit == resource.RLIM_INFINITY else limit
