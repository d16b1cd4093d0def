"""Names of sources and other text of samples: what cannot be told apart later is refused at the door."""

import unicodedata
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from fewshot.core.errors import InputError
from fewshot.core.names import value_fault
from fewshot.embeddings.layouts.labels import shortened
from fewshot.embeddings.layouts.look_alikes import visible

# A cell of Excel holds 32,767 characters; in a store every row is as wide as the widest.
MAX_CELL = 32_767
# What is written for a missing value by pandas, NumPy, SQL, R and Excel; as a source it would be one more generator.
_MISSING = frozenset({"nan", "none", "null", "nil", "n/a", "#n/a", "<na>", "nat", "-nan"})


def source_name(value: Any, *, where: str) -> str:
    """Return a source's name from a row.

    Args:
        value: text or a whole number; where: file and row, for the message.

    Raises:
        InputError: missing, of another type, or a name that ``require_source`` refuses.
    """
    if value is None or value == "" or value != value:
        raise InputError(f"{where}: path or source is empty; name the generator or the natural collection")
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise InputError(f"{where}: the source is {shortened(value)}, of type {type(value).__name__}; write it as text")
    name = str(value)
    require_source(name, where=where)
    if not name.isascii() and any("\udc80" <= letter <= "\udcff" for letter in name):
        raise InputError(f"{where}: the source {name!a} is not UTF-8; save the file as UTF-8")
    return name


def require_source(name: str, *, where: str) -> None:
    """Refuse a name that would be taken for another source's, or for a missing value.

    Raises:
        InputError: blanks around it, a control character, or the text of a missing value.
    """
    problem = _problem(name)
    if problem:
        raise InputError(f"{where}: {problem}")
    require_text(name, where=f"{where}: the source")


@lru_cache(maxsize=1024)  # a few names stand in millions of rows
def _problem(name: str) -> str:
    """Return what is wrong with a source's name and what to do, empty when it can be told apart from every other."""
    if not name.strip():
        return "path or source is empty; name the generator or the natural collection"
    if name != name.strip():
        return (
            f"the source {name!r} has blanks around it, and would be another source than {name.strip()!r}; take them "
            f"away"
        )
    if name.casefold() in _MISSING:
        return (
            f"the source {name!r} is what a missing value looks like as text; name the generator or the natural "
            f"collection"
        )
    if any(unicodedata.category(letter) in ("Cc", "Zl", "Zp") for letter in name):
        return f"the source {name[:80]!r} holds a line break or another control character; rename it"
    return ""


def require_text(text: str, *, where: str) -> None:
    """Refuse text that a store cannot give back as it was.

    Raises:
        InputError: a NUL, half of a surrogate pair, or more than ``MAX_CELL`` characters.
    """
    if len(text) > MAX_CELL:
        raise InputError(f"{where} has {len(text):,} characters, and at most {MAX_CELL:,} are kept; shorten it")
    if fault := value_fault(text):
        raise InputError(f"{where} {text[:80]!r} has {fault} in it, which no store can keep; write it again as UTF-8")


def require_distinct(sources: Iterable[str], *, where: str) -> list[str]:
    """Refuse sources whose names look the same, and return warnings of those that differ only in case or width.

    Args:
        sources: distinct names; where: the roots, for the message.

    Raises:
        InputError: two names are the same text in another Unicode normalisation, or apart from invisible characters.
    """
    seen: dict[str, str] = {}
    folded: dict[str, str] = {}
    warnings = []
    for name in sorted(sources):
        same = seen.setdefault(visible(name, form="NFC"), name)
        if same != name:
            raise InputError(
                f"{where}: the sources {same!r} ({same!a}) and {name!r} ({name!a}) look the same and would be "
                f"two sources; write the name alike everywhere"
            )
        alike = folded.setdefault(unicodedata.normalize("NFKC", visible(name, form="NFC")).casefold(), name)
        if alike != name:
            warnings.append(f"the sources {alike!r} and {name!r} differ only in case or width; they stay two sources")
    return warnings
