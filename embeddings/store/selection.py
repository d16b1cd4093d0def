"""Which rows of a store have given values in their columns: ``--where`` of the commands."""

import csv
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fewshot.core.arrays import IntArray
from fewshot.core.errors import InputError, OptionError, nearest_name

_SHOWN = 20  # values of a column that a message lists
_SEARCHED = 10_000  # values of a column among which a near one is looked for

Wanted = str | Sequence[str]


class Columns(Protocol):
    """Rows with columns, as a store has them."""

    def __len__(self) -> int: ...

    def column(self, name: str) -> NDArray[Any]:
        """Return one column: (N,)."""
        ...


def rows_where(rows: Columns, wanted: Mapping[str, Wanted], *, what: str, also: Sequence[Columns] = ()) -> IntArray:
    """Return the rows whose columns have one of the wanted values each, ascending: (n,) int64.

    Args:
        rows: a store; what: its name, for messages.
        wanted: column -> values, compared as text: a sequence of them, or text as ``values_of`` reads it.
        also: other stores of the same experiment; a value that only they hold is no typing error.

    Raises:
        UnknownNameError: no such column.
        OptionError: text that ``values_of`` refuses.
        InputError: a value that no row has, or no row is left.
    """
    keep = np.ones(len(rows), bool)
    for name, text in wanted.items():
        values = values_of(text, option=f"{name}={text}") if isinstance(text, str) else list(text)
        held = _as_text(rows.column(name))
        matching = np.isin(held, np.array(values, dtype=str)) if values else np.zeros(len(rows), bool)
        _require_known(values, held, [_as_text(each.column(name)) for each in also], name=name, text=text, what=what)
        keep &= matching
    if not keep.any():
        raise InputError(f"no image of {what} fits all of {dict(wanted)}")
    return np.flatnonzero(keep).astype(np.int64)


def values_of(text: str, *, option: str) -> list[str]:
    """Return the values that commas separate; one in double quotes is taken as it stands, two quotes in it mean one.

    Raises:
        OptionError: a quote that is not closed, or text behind a closed one.

    >>> values_of('cam,"a, b",""', option="source")
    ['cam', 'a, b', '']
    """
    if '"' not in text:
        return text.split(",")
    try:
        (values,) = csv.reader([text], strict=True)
    except (csv.Error, ValueError) as error:
        raise OptionError(
            f"{option}: quotes that do not fit ({error}); write a value with a comma or a quote in double quotes, "
            f"and a quote inside it twice"
        ) from error
    return values


def _as_text(values: NDArray[Any]) -> NDArray[Any]:
    return values.astype(int).astype(str) if values.dtype.kind == "b" else values.astype(str)


def _require_known(
    values: Sequence[str], held: NDArray[Any], others: Sequence[NDArray[Any]], *, name: str, text: Wanted, what: str
) -> None:
    """Raise for the values that no row has, each with the nearest one that some row has."""
    known = set(held.tolist())
    unknown = [value for value in values if value not in known.union(*(other.tolist() for other in others))]
    if unknown or not known.intersection(values):
        wrong = unknown or list(values)
        listed = ", ".join(map(_shown, sorted(known)[:_SHOWN])) + (" ..." if len(known) > _SHOWN else "")
        whole = isinstance(text, str) and text in known and f'; for the one value write {name}="{text}"'
        raise InputError(
            f"no image of {what} has {name}={','.join(map(_shown, wrong))}{whole or _nearest(wrong, known)}; the "
            f"column holds: {listed}"
        )


def _nearest(wrong: Sequence[str], known: set[str]) -> str:
    """Return the nearest known value of each wrong one, for a message."""
    pool = sorted(known)[:_SEARCHED]
    found = []
    for value in wrong[:5]:
        same = [each for each in pool if each.strip().casefold() == value.strip().casefold()]
        near = same[0] if same else nearest_name(value, pool)
        found += [] if near is None else [f"{near!r} for {value!r}"]
    return f"; did you mean {', '.join(found)}?" if found else ""


def _shown(value: str) -> str:
    """Return a value as ``values_of`` reads it."""
    quoted = not value or value != value.strip() or "," in value or '"' in value
    return '"' + value.replace('"', '""') + '"' if quoted else value
