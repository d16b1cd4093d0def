"""What libtiff says while Pillow decodes: it prints its errors to the standard error and goes on after some of them."""

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

_ERROR = re.compile(r"^[\w.]+: .+\.$")  # "Fax4Decode: Bad code word at line 148 of strip 0 (x 366)."
_ONE_AT_A_TIME = Lock()
_STDERR = 2


@contextmanager
def libtiff_messages() -> Iterator[list[str]]:
    """Collect libtiff's messages of the enclosed decoding; what else was printed meanwhile is printed afterwards."""
    found: list[str] = []
    with _ONE_AT_A_TIME, tempfile.TemporaryFile() as caught:
        kept = os.dup(_STDERR)
        try:
            os.dup2(caught.fileno(), _STDERR)
            yield found
        finally:
            os.dup2(kept, _STDERR)
            os.close(kept)
            caught.seek(0)
            lines = caught.read().decode(errors="replace").splitlines(keepends=True)
            found += [line.strip() for line in lines if _ERROR.match(line.strip())]
            others = "".join(line for line in lines if not _ERROR.match(line.strip()))
            if others:
                os.write(_STDERR, others.encode(errors="replace"))
