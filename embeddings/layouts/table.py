"""A CSV, JSONL or Parquet table of images: ``path, source, synthetic``, and whatever other columns it has."""

import csv
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, final

from fewshot.core.errors import InputError
from fewshot.embeddings.layouts.base import Layout, Sample, label

REQUIRED = ("path", "source", "synthetic")
OPTIONAL = ("split", "dataset", "category", "group", "member")
SUFFIXES = (".csv", ".jsonl", ".parquet")
MANIFESTS = tuple(f"manifest{suffix}" for suffix in SUFFIXES)


@final
class Table(Layout):
    """A table beside its images; the root is the table itself, or a folder with ``manifest.csv|jsonl|parquet``.

    Paths are relative to the table's folder. ``synthetic`` is 0 or 1, true or false, or a class word. Rows keep the
    table's order.
    """

    name: ClassVar[str] = "table"
    priority: ClassVar[int] = 100

    def recognises(self, root: Path) -> bool:
        """A table file, or a folder that holds a manifest; its header must have the required columns."""
        path = table_file(root)
        return path is not None and set(REQUIRED) <= set(next(iter(_rows(path)), {}))

    def samples(self, root: Path) -> Iterator[Sample]:
        """Yield the rows in order; a missing column, an empty path or an unknown label is an error with its line."""
        path = table_file(root)
        if path is None:
            raise InputError(f"{root} is not a table ({', '.join(SUFFIXES)}) and holds none of {', '.join(MANIFESTS)}")
        number = 0
        for number, row in enumerate(_rows(path), start=1):
            yield _sample(path, number, row)
        if number == 0:
            raise InputError(f"the table {path} has no rows; it must list one image per row: {', '.join(REQUIRED)}")

    def location(self, root: Path, sample: Sample) -> Path:
        """Return the image's path beside the table."""
        return (root if root.is_dir() else root.parent) / sample.path


def table_file(root: Path) -> Path | None:
    """Return the table that ``root`` is or holds, None when there is none."""
    if root.is_file():
        return root if root.suffix.lower() in SUFFIXES else None
    return next((root / name for name in MANIFESTS if (root / name).is_file()), None)


def _sample(table: Path, number: int, row: Mapping[str, Any]) -> Sample:
    missing = [name for name in REQUIRED if row.get(name) is None]
    if missing:
        raise InputError(
            f"{table}, row {number}: no value for {', '.join(missing)}; every row needs {', '.join(REQUIRED)}, "
            f"and the columns are {', '.join(map(str, row))}"
        )
    synthetic = label(row["synthetic"])
    if synthetic is None:
        raise InputError(
            f"{table}, row {number}: synthetic = {row['synthetic']!r} is neither class; write 0 (natural) or 1 "
            f"(synthetic)"
        )
    path, source = str(row["path"]).replace("\\", "/"), str(row["source"])
    if not path or not source:
        raise InputError(f"{table}, row {number}: path or source is empty")
    optional = {name: _text(row.get(name)) for name in OPTIONAL}
    extra = {str(name): _text(value) for name, value in row.items() if name not in (*REQUIRED, *OPTIONAL)}
    return Sample(path=path, source=source, synthetic=synthetic, extra=extra, **optional)


def _text(value: Any) -> str:
    return "" if value is None or value != value else str(value)


def _rows(table: Path) -> Iterator[Mapping[str, Any]]:
    reader = {".csv": _csv_rows, ".jsonl": _jsonl_rows, ".parquet": _parquet_rows}[table.suffix.lower()]
    try:
        yield from reader(table)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"the table {table} cannot be read ({error}); repair it or name another") from error


def _csv_rows(table: Path) -> Iterator[Mapping[str, Any]]:
    with table.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as stream:
        for row in csv.DictReader(stream):
            yield {name: value for name, value in row.items() if name is not None}


def _jsonl_rows(table: Path) -> Iterator[Mapping[str, Any]]:
    with table.open(encoding="utf-8-sig", errors="surrogateescape") as stream:
        for number, line in enumerate(stream, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except ValueError as error:
                raise InputError(f"{table}, line {number} is not JSON ({error}); repair the line") from error
            if not isinstance(row, dict):
                raise InputError(f"{table}, line {number}: wanted an object {{...}}, found {type(row).__name__}")
            yield row


def _parquet_rows(table: Path) -> Iterator[Mapping[str, Any]]:
    from pyarrow import ArrowException
    from pyarrow.parquet import ParquetFile

    try:
        with ParquetFile(table) as file:
            for batch in file.iter_batches():
                yield from batch.to_pylist()
    except ArrowException as error:
        raise InputError(
            f"the table {table} is not a readable Parquet file ({error}); repair it or name another"
        ) from error
