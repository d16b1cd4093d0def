"""A CSV, TSV, JSONL or Parquet table of images: ``path, source, synthetic``, and whatever other columns it has."""

import csv
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, final

from fewshot.core.errors import InputError
from fewshot.embeddings.layouts.base import Layout, Sample
from fewshot.embeddings.layouts.columnar import parquet_rows
from fewshot.embeddings.layouts.delimited import bounded_lines, csv_rows, require_columns, text_of
from fewshot.embeddings.layouts.labels import LabelReader, shortened
from fewshot.embeddings.layouts.names import require_text, source_name

REQUIRED = ("path", "source", "synthetic")
OPTIONAL = ("split", "dataset", "category", "group", "member")
SUFFIXES = (".csv", ".tsv", ".jsonl", ".parquet")
MANIFESTS = tuple(f"manifest{suffix}" for suffix in SUFFIXES)
# A manifest in another form is no reason to guess labels from folder names.
_UNREADABLE = tuple(
    f"manifest{suffix}"
    for suffix in (".json", ".ndjson", ".txt", ".xlsx", ".xls", ".ods", ".arrow", ".feather", ".orc", ".npy", ".npz")
) + tuple(f"{name}{packed}" for name in MANIFESTS for packed in (".gz", ".bz2", ".xz", ".zst", ".zip"))

Row = Mapping[str, Any]


@final
class Table(Layout):
    """A table beside its images; the root is the table itself, or a folder with ``manifest.csv|tsv|jsonl|parquet``.

    Paths are relative to the table's folder. ``synthetic`` is 0 or 1, true or false, or a class word. Rows keep the
    table's order.
    """

    name: ClassVar[str] = "table"
    priority: ClassVar[int] = 100

    def recognises(self, root: Path) -> bool:
        """A table file, or a folder that holds a manifest in any form: one that cannot be read is never passed over."""
        return (root.is_file() and root.suffix.lower() in SUFFIXES) or bool(_manifests(root))

    def samples(self, root: Path) -> Iterator[Sample]:
        """Yield the rows in order; a missing column, an empty path or an unknown label is an error with its line."""
        table = table_file(root)
        labels = LabelReader(wanted="write 0 (natural) or 1 (synthetic)")
        number = 0

        def rows() -> Iterator[tuple[Path, int, Row, LabelReader]]:
            nonlocal number
            for number, row in _rows(table, self.ignored):
                yield table, number, row, labels

        with _reading(table):
            yield from self.labelled(_sample, rows())
        if number == 0:
            raise InputError(f"the table {table} has no rows; it must list one image per row: {', '.join(REQUIRED)}")

    def location(self, root: Path, sample: Sample) -> Path:
        """Return the image's path beside the table."""
        return (root if root.is_dir() else root.parent) / sample.path


def table_file(root: Path) -> Path:
    """Return the table that ``root`` is or holds.

    Raises:
        InputError: there is none, several of them, or one in a form that is not read.
    """
    if not root.is_dir():
        if root.suffix.lower() in SUFFIXES:
            return root
        raise InputError(f"{root} is not a table ({', '.join(SUFFIXES)})")
    found = _manifests(root)
    if not found:
        raise InputError(f"{root} holds none of {', '.join(MANIFESTS)}; name the table itself")
    if len(found) > 1:
        raise InputError(f"{root} holds several manifests ({', '.join(found)}); name the one that counts as the ROOT")
    if found[0].lower() in _UNREADABLE:
        raise InputError(
            f"{root / found[0]} is a manifest in a form that is not read; save it as one of {', '.join(MANIFESTS)}, or "
            f"have the folders read without it by --layout folder"
        )
    return root / found[0]


def _manifests(root: Path) -> list[str]:
    """Return the names of whatever lies in the folder ``root`` as a manifest, read or not."""
    try:
        return sorted(path.name for path in root.iterdir() if path.name.lower() in (*MANIFESTS, *_UNREADABLE))
    except OSError:
        return []


def _sample(table: Path, number: int, row: Row, labels: LabelReader) -> Sample:
    where = f"{table}, row {number}"
    _require_values(row, where)
    synthetic = labels.read(row["synthetic"], where=f"{where}: synthetic")
    source = source_name(row["source"], where=where)
    optional = {name: _text(row.get(name), where, name) for name in OPTIONAL}
    extra = {name: _text(value, where, name) for name, value in row.items() if name not in (*REQUIRED, *OPTIONAL)}
    return Sample(_path(row["path"], where), source, synthetic, extra=extra, **optional)


def _require_values(row: Row, where: str) -> None:
    if row.get("path") is None or row.get("source") is None or row.get("synthetic") is None:
        missing = [name for name in REQUIRED if row.get(name) is None]
        columns = ", ".join(map(str, [*row][:50]))
        raise InputError(
            f"{where}: no value for {', '.join(missing)}; every row needs {', '.join(REQUIRED)}, and the columns are "
            f"{columns}{_absent(missing, [*row])}{_alike(missing, [*row])}"
        )


def _absent(missing: Sequence[str], columns: Sequence[str]) -> str:
    """Return which of the columns are not there at all, rather than without a value in this row."""
    absent = [name for name in missing if name not in columns]
    return f"; missing {', '.join(absent)}" if absent else ""


def _alike(missing: Sequence[str], columns: Sequence[str]) -> str:
    """Return a hint at columns that are missing only by their case or by blanks."""
    found = [name for name in columns if name not in missing and name.strip().lower() in missing]
    return f" (rename {', '.join(map(repr, found))}: names are compared letter by letter)" if found else ""


def _path(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise InputError(f"{where}: the path is {shortened(value)}, of type {type(value).__name__}; write it as text")
    if not value:
        raise InputError(f"{where}: path or source is empty; name the image's file")
    require_text(value, where=f"{where}: the path")
    return value.replace("\\", "/")


def _text(value: Any, where: str, column: str) -> str:
    if value is None or value != value or value == "":
        return ""
    text = str(value)
    require_text(text, where=f"{where}: the value of {column!r}")
    return text


@contextmanager
def _reading(table: Path) -> Iterator[None]:
    """Turn whatever readers of text raise into one sentence."""
    try:
        yield
    except (OSError, ValueError, csv.Error, RecursionError, MemoryError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
        raise InputError(f"the table {table} cannot be read ({reason}); repair it or name another") from error


def _rows(table: Path, ignored: Counter[str]) -> Iterator[tuple[int, Row]]:
    suffix = table.suffix.lower()
    if suffix == ".parquet":
        return parquet_rows(table, ignored=ignored)
    if suffix == ".jsonl":
        return _jsonl_rows(table, ignored)
    return csv_rows(table, fits=lambda header: set(REQUIRED) <= set(header), ignored=ignored)


def _jsonl_rows(table: Path, ignored: Counter[str]) -> Iterator[tuple[int, Row]]:
    columns: dict[str, None] = {}
    with text_of(table) as stream:
        rows = 0
        for number, line in enumerate(bounded_lines(stream, table), start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line, object_pairs_hook=_once)
            except ValueError as error:
                raise InputError(f"{table}, line {number} is not JSON ({error}); repair the line") from error
            if not isinstance(row, dict):
                raise InputError(f"{table}, line {number}: wanted an object {{...}}, found {type(row).__name__}")
            _require_names([name for name in row if name not in columns], table, ignored)
            columns.update(dict.fromkeys(row))
            require_columns(columns, table)
            rows += 1
            yield rows, {name: value for name, value in row.items() if name.strip()}


def _require_names(names: Sequence[str], table: Path, ignored: Counter[str]) -> None:
    for name in names:
        require_text(name, where=f"the table {table}: the column")
        if not name.strip():
            ignored[f"column of {table.name} without a name"] += 1


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the object of these pairs; a name that stands twice would leave open which value counts."""
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
        raise ValueError(f"the name {twice[:80]!r} stands twice")
    return found
