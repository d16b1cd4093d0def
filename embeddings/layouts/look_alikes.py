"""Which name in a folder looks like one that is not there: another case or normalisation, blanks, invisible letters."""

import os
import unicodedata
from functools import lru_cache
from pathlib import Path
from typing import Literal

_MAX_ENTRIES = 100_000  # of one folder that are looked through


def look_alike(path: Path) -> str:
    """Return what to say of a path that does not exist, for the end of a message; empty when nothing looks like it."""
    for folder, name in reversed([(each.parent, each.name) for each in (path, *path.parents) if each.name]):
        if not os.path.lexists(folder / name):
            found = _names(str(folder)).get(_looks(name), "")
            if not found:
                return ""
            kind = "folder" if (folder / found).is_dir() else "file"
            return f" (there is a {kind} of a look-alike name: {found!r}, {found!a}, for {name!a})"
    return ""


@lru_cache(maxsize=8)
def _names(folder: str) -> dict[str, str]:
    """Return {what it looks like: name} of the entries of a folder."""
    found: dict[str, str] = {}
    try:
        with os.scandir(folder) as entries:
            for _, entry in zip(range(_MAX_ENTRIES), entries, strict=False):
                found.setdefault(_looks(entry.name), entry.name)
    except (OSError, ValueError):
        return {}
    return found


def _looks(name: str) -> str:
    try:  # bytes that were written in Western Europe's old encoding, beside the same name in UTF-8
        name = name.encode("utf-8", "surrogateescape").decode("utf-8")
    except UnicodeDecodeError:
        name = os.fsencode(name).decode("cp1252", "replace")
    except UnicodeEncodeError:
        pass
    return visible(name, form="NFKC").casefold()


def visible(name: str, *, form: Literal["NFC", "NFKC"]) -> str:
    """Return a name in one normalisation, blanks of one kind, and without invisible characters."""
    seen = "".join(letter for letter in name if unicodedata.category(letter) != "Cf")
    return " ".join(unicodedata.normalize(form, seen).split())
