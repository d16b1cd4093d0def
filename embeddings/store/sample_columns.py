"""The sample columns of a store: handed over one at a time, and in the form in which they lie in the file."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fewshot.embeddings.store.schema import COLUMNS, Column

if TYPE_CHECKING:
    import pandas as pd

_NUMPY = {"bool": np.bool_, "uint64": np.uint64, "int64": np.int64}
_TEXT = Column("text", "")


class SampleColumns(Protocol):
    """The samples of a store, handed out one column at a time so that millions of them need not lie in memory."""

    def __len__(self) -> int: ...

    @property
    def names(self) -> Sequence[str]:
        """The names of the columns."""
        ...

    def column(self, name: str) -> NDArray[Any]:
        """Return one column: (N,) numbers, Python text, or UTF-8 bytes (``S`` dtype)."""
        ...


@dataclass(frozen=True)
class FrameColumns:
    """The samples of a frame."""

    frame: "pd.DataFrame"

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def names(self) -> Sequence[str]:
        """The names of the columns."""
        return [str(name) for name in self.frame]

    def column(self, name: str) -> NDArray[Any]:
        """Return one column; missing values become empty text."""
        import pandas as pd

        values = self.frame[name]
        if name in COLUMNS:
            return np.asarray(values, dtype=object)
        return np.asarray(["" if pd.isna(value) else str(value) for value in values], dtype=object)


def stored_columns(samples: SampleColumns) -> Iterator[tuple[str, NDArray[Any]]]:
    """Yield (name, values as they lie in the file): the built-in columns in the schema's order, the others sorted."""
    names = set(samples.names)
    for name, column in COLUMNS.items():
        yield name, as_stored(samples.column(name), column) if name in names else _unknown(column, len(samples))
    for name in sorted(names.difference(COLUMNS)):
        yield name, as_stored(samples.column(name), _TEXT)


def stored_text(values: Sequence[str]) -> NDArray[Any]:
    """Return text as it lies in the file: (N,) UTF-8 bytes (``S`` dtype) of one width."""
    return as_stored(np.array(values, dtype=object), _TEXT)


def as_stored(values: NDArray[Any], column: Column) -> NDArray[Any]:
    """Return a column as it lies in the file: numbers of the column's type, or UTF-8 bytes of one width."""
    if column.kind != "text":
        return values.astype(_NUMPY[column.kind])
    if values.dtype.kind == "S":
        return values
    written = [str(value) for value in values]
    try:
        return np.array(written, dtype="S")  # fast, and for ASCII alone
    except UnicodeEncodeError:
        return np.array([text.encode("utf-8", "surrogateescape") for text in written], dtype="S")


def _unknown(column: Column, rows: int) -> NDArray[Any]:
    """Return a column of which nothing is known, as it lies in the file."""
    if column.kind == "text":
        return np.zeros(rows, "S1")
    return np.full(rows, column.missing, _NUMPY[column.kind])
