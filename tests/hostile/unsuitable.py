"""What a path can lead to that is no file of data: nothing may wait for it, or read it to its end."""

import os
from pathlib import Path

GIB = 1 << 30


def make_unsuitable(path: Path, kind: str) -> None:
    """Make one of them: a ``pipe``, an endless ``device``, a ``folder``, or a ``sparse`` file (``sparse of N GB``)."""
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "folder":
        path.mkdir()
    else:
        size = int(kind.removeprefix("sparse of ").removesuffix(" GB")) if " " in kind else 10
        with path.open("wb") as stream:
            stream.truncate(size * GIB)
