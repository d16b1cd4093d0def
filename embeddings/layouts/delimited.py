"""Rows of a text table: separators, encodings and quoting read with certainty or refused, in bounded memory."""

import csv
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path
from typing import TextIO

from fewshot.core.errors import InputError
from fewshot.core.regular_files import open_regular
from fewshot.embeddings.layouts.names import MAX_CELL, require_text

MAX_COLUMNS = 1_000
MAX_BYTES = 4 << 30  # of one text table: 20 million rows of 200 characters
MAX_LINE = 4 << 20  # characters
_SEPARATORS = (",", ";", "\t", "|")
# Byte order marks; UTF-32's begins as UTF-16's does, and is looked for first.
_MARKS = (
    (b"\xff\xfe\0\0", "utf-32"),
    (b"\0\0\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
    (b"\xef\xbb\xbf", "utf-8-sig"),
)


def csv_rows(
    file: Path, *, fits: Callable[[Sequence[str]], bool], ignored: Counter[str]
) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield (row number from 1, cells by column) of a CSV file.

    The separator is the one of comma, semicolon, tab and bar under which the header ``fits``, else the comma. Columns
    without a name (what ``DataFrame.to_csv`` writes for its index) are left out and counted.

    Args:
        file: UTF-8, or UTF-16 or UTF-32 with a byte order mark; bytes that are not UTF-8 are kept as names have them.
        fits: whether a header has what is needed.
        ignored: what was left out.

    Raises:
        InputError: a column twice, rows of another length than the header, an open quote, or more than the limits.
    """
    with text_of(file) as stream:
        lines = bounded_lines(stream, file)
        first = next((line for line in lines if line.strip()), "")
        declared = first.lower().startswith("sep=")  # what Excel writes and reads as the first line
        header_line = next(lines, "") if declared else first
        separator = next((each for each in _SEPARATORS if fits(_cells(header_line, each))), ",")
        header = _cells(header_line, separator)
        if header_line.strip() and not header:
            raise InputError(
                f"the header of the table {file} cannot be read: a quote is open at its end, or a column's name holds "
                f"a line break; write the names of all columns in one line"
            )
        _require_header(header, file)
        named = [number for number, name in enumerate(header) if name.strip()]
        if len(named) < len(header):
            ignored[f"column of {file.name} without a name"] += len(header) - len(named)
        reader = csv.reader(lines, delimiter=separator, strict=True)
        for number, cells in enumerate((cells for cells in reader if cells), start=1):
            _require_cells(cells, header, f"{file}, row {number}")
            yield number, {header[column]: cells[column] for column in named}


@contextmanager
def text_of(file: Path, *, limit: int = MAX_BYTES) -> Iterator[TextIO]:
    """Open a regular text file of at most ``limit`` bytes, decoded by its byte order mark, else as UTF-8.

    Raises:
        OSError: see ``open_regular``.
    """
    with open_regular(file, limit=limit) as binary:
        beginning = binary.read(4)
        binary.seek(0)
        marked = next((encoding for mark, encoding in _MARKS if beginning.startswith(mark)), "")
        errors = "strict" if marked.startswith(("utf-16", "utf-32")) else "surrogateescape"
        with TextIOWrapper(binary, encoding=marked or "utf-8", errors=errors, newline="") as stream:
            yield stream


def bounded_lines(stream: TextIO, file: Path) -> Iterator[str]:
    """Yield the lines of a text file.

    Raises:
        InputError: a line of more than ``MAX_LINE`` characters, or one that holds a NUL.
    """
    number = 0
    while line := stream.readline(MAX_LINE):
        number += 1
        if len(line) == MAX_LINE and line[-1] not in "\r\n":
            raise InputError(
                f"{file}, line {number} has more than {MAX_LINE:,} characters; give a table with one image per line"
            )
        if "\0" in line:
            raise InputError(
                f"{file}, line {number} holds NUL characters, as UTF-16 without a byte order mark does; save the table "
                f"as UTF-8"
            )
        yield line


def require_columns(names: Collection[str], file: Path) -> None:
    """Refuse more columns than ``MAX_COLUMNS``.

    Raises:
        InputError: too many.
    """
    if len(names) > MAX_COLUMNS:
        raise InputError(
            f"the table {file} has {len(names):,} columns, and at most {MAX_COLUMNS:,} are read; keep those that "
            f"describe the images"
        )


def _cells(line: str, separator: str) -> list[str]:
    """Return the cells of a header line, [] when it cannot be read with this separator."""
    try:
        return next(csv.reader([line], delimiter=separator, strict=True), [])
    except csv.Error:
        return []


def _require_header(header: Sequence[str], file: Path) -> None:
    require_columns(header, file)
    for name, count in Counter(name for name in header if name.strip()).items():
        if count > 1:
            raise InputError(f"the table {file} has the column {name!r} {count} times; keep one of them")
        require_text(name, where=f"the table {file}: the column")


def _require_cells(cells: Sequence[str], header: Sequence[str], where: str) -> None:
    if len(cells) != len(header):
        raise InputError(
            f"{where} has {len(cells)} cells and the header has {len(header)}; quote cells that hold the separator, "
            f"and complete rows that were cut"
        )
    longest = max(map(len, cells))
    if longest > MAX_CELL:
        raise InputError(f"{where} has a cell of {longest:,} characters, and at most {MAX_CELL:,} are kept; shorten it")
