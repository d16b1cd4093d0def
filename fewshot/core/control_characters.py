"""Text that is safe to print: no character of a name moves the cursor, forges a line, or hides what stands beside it.

Names of files, sources, columns and layers come from others. Whatever shows one passes it through ``escape_control``.
"""

import json
import math
from collections.abc import Mapping
from typing import Any

_DELETE = "\x7f"  # the one control character that JSON lets through


def escape_control(text: object) -> str:
    r"""Return ``text`` on one line, with every character that cannot be seen as it is written in a Python string.

    These are control characters (C0, C1, DEL, newlines), marks of direction and of no width, unusual blanks, lone
    surrogates (bytes of a file's name that are not UTF-8), and what Unicode has not assigned; see ``str.isprintable``.

    >>> print(escape_control("a\x1b[2Jb\nc \u202etxt"))
    a\x1b[2Jb\nc \u202etxt
    """
    shown = str(text)
    if shown.isprintable():
        return shown
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode("ascii") for one in shown)


def escape_lines(text: object) -> str:
    """Return a text of several lines with each line as ``escape_control`` returns it; only newlines part them."""
    return "\n".join(escape_control(line) for line in str(text).split("\n"))


def json_text(document: object, *, indent: int | None = None) -> str:
    """Return JSON in printable ASCII. A number that is not finite, which JSON does not know, becomes null."""
    try:
        text = json.dumps(document, indent=indent, allow_nan=False)
    except ValueError:
        text = json.dumps(_finite(document), indent=indent, allow_nan=False)
    return text.replace(_DELETE, "\\u007f")


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {name: _finite(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(part) for part in value]
    return value
