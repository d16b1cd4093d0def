"""The files of a parts folder that say what was done: ledgers and the sample list, checked when they are read.

Each carries the hash of what it says, since a flipped bit in a ledger would count images as done that were not. Files
of earlier versions have none, and are still read.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from fewshot.core.errors import StoreError
from fewshot.core.files import write_text
from fewshot.core.regular_files import read_regular

_FORMAT = 2
_MOST_BYTES = 4 << 30
_MOST_IMAGES = 1 << 20  # of one unit; the largest that is ever cut has 1,024

_Count = Annotated[int, msgspec.Meta(ge=0, lt=1 << 40)]
_Sha256 = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
_Name = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{24}\.h5$")]


class Entry(msgspec.Struct, forbid_unknown_fields=True):
    """One finished unit as a ledger names it; ``positions`` are [start, stop) runs."""

    file: _Name
    sha256: _Sha256
    rows: _Count
    failures: _Count
    tasks: list[tuple[str, str, tuple[str, ...], str]]
    positions: list[tuple[_Count, _Count]]


class _First(msgspec.Struct, forbid_unknown_fields=True, tag_field="format", tag=1):
    parts: list[Entry]


class _Ledger(msgspec.Struct, forbid_unknown_fields=True, tag_field="format", tag=_FORMAT):
    parts: list[Entry]
    parts_sha256: _Sha256


def read_entries(path: Path) -> list[Entry]:
    """Return what a ledger names; nothing where there is none.

    Raises:
        StoreError: it is damaged, or of another version.
    """
    try:
        read = msgspec.convert(json.loads(read_regular(path, limit=_MOST_BYTES)), _First | _Ledger)
    except FileNotFoundError:
        return []
    except (OSError, ValueError, RecursionError, msgspec.ValidationError) as error:
        raise _damaged(path, error) from error
    if isinstance(read, _Ledger) and read.parts_sha256 != _digest(read.parts):
        raise _damaged(path, "its units are not those that were written")
    for entry in read.parts:
        if sum(max(0, stop - start) for start, stop in entry.positions) > _MOST_IMAGES:
            raise _damaged(path, f"the unit {entry.file} has more than {_MOST_IMAGES:,} images")
    return read.parts


def write_entries(path: Path, entries: Sequence[Entry]) -> None:
    """Write a ledger.

    Raises:
        OutputError: it cannot be written.
    """
    ledger = {"format": _FORMAT, "parts": msgspec.to_builtins(list(entries)), "parts_sha256": _digest(entries)}
    write_text(path, json.dumps(ledger))


def samples_text(rows: Sequence[tuple[str, str, bool]]) -> str:
    """Return the sample list as lines of JSON, closed by a line with the hash of those before it."""
    lines = "".join(json.dumps([key, source, int(synthetic)]) + "\n" for key, source, synthetic in rows)
    return lines + json.dumps({"sha256": hashlib.sha256(lines.encode()).hexdigest()}) + "\n"


def read_samples(path: Path) -> list[tuple[str, str, bool]] | None:
    """Return (key, source, synthetic) of every sample, None when there is no list.

    Raises:
        StoreError: the list is damaged.
    """
    try:
        content = read_regular(path, limit=_MOST_BYTES)
        lines = content.splitlines(keepends=True)
        last = json.loads(lines[-1]) if lines else None
        if isinstance(last, dict):
            recorded = msgspec.convert(last, dict[Literal["sha256"], _Sha256])["sha256"]
            if hashlib.sha256(b"".join(lines[:-1])).hexdigest() != recorded:
                raise ValueError("its lines are not those that were written")
            lines = lines[:-1]
        rows = [msgspec.convert(json.loads(line), tuple[str, str, Literal[0, 1]]) for line in lines]
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, RecursionError, msgspec.ValidationError) as error:
        raise _damaged(path, error) from error
    return [(key, source, bool(synthetic)) for key, source, synthetic in rows]


def _digest(entries: Sequence[Entry]) -> str:
    said: Any = msgspec.to_builtins(list(entries))
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def _damaged(path: Path, why: object) -> StoreError:
    return StoreError(
        f"{path} is damaged ({why}); delete the folder {path.parent}, which holds nothing but unfinished work, and run "
        f"the same command again"
    )
