"""The standard streams of the process: open, able to take any name, and free of what a terminal would obey."""

import codecs
import io
import os
import sys
import traceback
import warnings
from types import TracebackType

from fewshot.core.control_characters import escape_control, escape_lines

_MODE = "PYTHONUTF8"  # of Python: 1 reads and writes UTF-8 whatever the locale says


def prepare_streams() -> None:
    """Prepare stdout and stderr of this process for names of others; for the program, not for the library."""
    _fill_gaps()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a file's name may not fit the locale's encoding
    warnings.formatwarning = _warning
    sys.excepthook = _print_error


def restart_in_utf8() -> None:
    """Start the program anew in Python's UTF-8 mode where the locale would read names of files as something else.

    Under an ASCII or Latin-1 locale with UTF-8 mode switched off, names of files would not be those that stores hold.
    """
    if codecs.lookup(sys.getfilesystemencoding()).name == "utf-8" or os.environ.get(_MODE) == "1":
        return
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**os.environ, _MODE: "1"})


def _fill_gaps() -> None:
    """Open what the caller closed (``>&-``) on nothing, so that no file of ours takes the number of a stream."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # the lowest free number is this one


def _warning(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
) -> str:
    return f"{escape_control(filename)}:{lineno}: {category.__name__}: {escape_control(message)}\n"


def _print_error(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    text = "".join(traceback.format_exception(kind, error, trace))
    if sys.stderr is not None:
        sys.stderr.write(escape_lines(text.rstrip("\n")) + "\n")
