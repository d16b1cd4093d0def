"""Which texts can name a column, layer, backbone or source: checked where they come in, before any work."""

import re

from fewshot.core.errors import InputError

MOST_BYTES = 1000  # HDF5 keeps a link's name in a header of at most 64 KiB
LINE_BYTES = 255  # of a name that a file of others brings
_NOT_ONE_LINE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_NO_VALUE = re.compile("[\x00\ud800-\udc7f\udd00-\udfff]")  # what is left are bytes of file names that are not UTF-8


def require_name(name: object, *, what: str, where: str) -> str:
    """Return a name under which a store can keep a column, a layer or a backbone.

    Args:
        name: the name; what: what it names, for example ``column``; where: the file or row it stands in.

    Raises:
        InputError: it is no text, empty or blank, ``.`` or ``..``, too long, or has a NUL or a lone surrogate in it.
    """
    wrong = _wrong_name(name)
    if wrong or not isinstance(name, str):
        raise InputError(f"{where}: {what} {_short(name)} {wrong}; give it another name")
    return name


def value_fault(text: str) -> str:
    """Return what in a text a store cannot give back as it is; empty where there is nothing.

    >>> value_fault("a\\0b"), value_fault("\\ud800"), value_fault("h\u00f6he")
    ('a NUL', 'half a surrogate pair', '')
    """
    found = None if text.isascii() and "\0" not in text else _NO_VALUE.search(text)
    return "" if found is None else "a NUL" if found[0] == "\0" else "half a surrogate pair"


def is_one_line(text: str) -> bool:
    """Return whether a text has neither control characters, nor breaks of lines, nor half a surrogate pair."""
    return _NOT_ONE_LINE.search(text) is None


def line_fault(name: str) -> str:
    """Return in words why a text that a file of others brings cannot be a name; empty when it can.

    This is stricter than ``require_name``: what names an image, source, layer or backbone there must fit one line.

    >>> line_fault("dinov3/layer 7"), line_fault("..")
    ('', 'it means a folder')
    """
    if not name.strip():
        return "it is empty"
    if name in (".", ".."):
        return "it means a folder"
    if not is_one_line(name):
        return "it has control characters, or halves of a character"
    if len(name.encode()) > LINE_BYTES:
        return f"it has more than {LINE_BYTES} bytes"
    return ""


def require_value(value: str, *, what: str, where: str) -> None:
    """Refuse a text that a store cannot give back as it is: one with a NUL, or with half a surrogate pair.

    Args:
        value: the text; what: which column; where: the file or row it stands in.

    Raises:
        InputError: it is such a text.
    """
    if sign := value_fault(value):
        raise InputError(
            f"{where}: {what} {_short(value)} has {sign} in it, which no store can keep; correct the value"
        )


def _wrong_name(name: object) -> str:
    if not isinstance(name, str):
        return "is no text"
    if not name.strip():
        return "is empty"
    if name in (".", ".."):
        return "means a folder"
    if sign := value_fault(name):
        return f"has {sign} in it"
    if len(name.encode("utf-8", "surrogateescape")) > MOST_BYTES:
        return f"has more than {MOST_BYTES} bytes"
    return ""


def _short(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 80 else f"{shown[:77]}..."
