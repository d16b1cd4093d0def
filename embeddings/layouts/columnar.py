"""Read rows of Parquet files and Arrow streams one at a time, without holding a file's images in memory."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fewshot.core.errors import InputError
from fewshot.core.regular_files import require_regular
from fewshot.embeddings.inputs.images import UnreadableImage
from fewshot.embeddings.layouts.delimited import require_columns
from fewshot.embeddings.layouts.names import require_text

_FILES_KEPT = 4
_BATCH_ROWS = 4096


class ParquetRows:
    """Random access to Parquet rows; keeps one row group of the column last read. Travels without its cache."""

    def __init__(self) -> None:
        self._group: tuple[Path, str, int] | None = None
        self._column: Any = None
        self._starts: dict[Path, list[int]] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {"_group": None, "_column": None, "_starts": {}}

    def without_images(self, file: Path, *, images: Sequence[str]) -> Iterator[dict[str, Any]]:
        """Yield every row as a mapping, without the image columns."""
        wanted = [name for name in parquet_columns(file) if name not in images]
        with parquet_file(file) as opened:
            yield from _rows_of(opened.iter_batches(batch_size=_BATCH_ROWS, columns=wanted))

    def cell(self, file: Path, row: int, column: str) -> Any:
        """Return one value."""
        starts = self._starts_of(file)
        group = max(number for number, start in enumerate(starts) if start <= row)
        if self._group != (file, column, group):
            with parquet_file(file) as opened:
                self._column = opened.read_row_group(group, columns=[column]).column(0)
                self._column.validate(full=True)
            self._group = (file, column, group)
        return self._column[row - starts[group]].as_py()

    def _starts_of(self, file: Path) -> list[int]:
        if file not in self._starts:
            if len(self._starts) >= _FILES_KEPT:
                self._starts.clear()
            with parquet_file(file) as opened:
                starts = [0]
                for number in range(opened.num_row_groups - 1):
                    starts.append(starts[-1] + opened.metadata.row_group(number).num_rows)
            self._starts[file] = starts
        return self._starts[file]


class ArrowRows:
    """Random access to the rows of Arrow stream files, memory-mapped. Travels without its open files."""

    def __init__(self) -> None:
        self._tables: dict[Path, Any] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {"_tables": {}}

    def table(self, file: Path) -> Any:
        """Return the file as a ``pyarrow.Table`` over the mapped file, every offset in it checked."""
        import pyarrow

        if file not in self._tables:
            with _reading(file, "Arrow stream"):
                require_regular(file)
                found = pyarrow.ipc.open_stream(pyarrow.memory_map(str(file))).read_all()
                found.validate(full=True)
                require_columns(found.column_names, file)
                self._tables[file] = found
        return self._tables[file]

    def without_images(self, file: Path, *, images: Sequence[str]) -> Iterator[dict[str, Any]]:
        """Yield every row as a mapping, without the image columns."""
        table = self.table(file)
        with _reading(file, "Arrow stream"):
            yield from _rows_of(table.drop_columns(list(images)).to_batches(max_chunksize=_BATCH_ROWS))

    def cell(self, file: Path, row: int, column: str) -> Any:
        """Return one value."""
        return self.table(file).column(column)[row].as_py()


def parquet_rows(file: Path, *, ignored: Counter[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (row number from 1, cells by column) of a Parquet table; columns of bytes are left out and counted.

    Raises:
        InputError: not a readable Parquet file, a column twice, or too many of them.
    """
    from pyarrow import types

    with parquet_file(file) as opened:
        schema = opened.schema_arrow
        wanted = []
        for field in schema:
            if not field.name.strip():
                ignored[f"column of {file.name} without a name"] += 1
            elif types.is_binary(field.type) or types.is_large_binary(field.type):
                ignored[f"column {field.name} of {file.name}: bytes, not text"] += 1
            else:
                wanted.append(field.name)
        rows = _rows_of(opened.iter_batches(batch_size=_BATCH_ROWS, columns=wanted))
        yield from enumerate(rows, start=1)


def _rows_of(batches: Iterator[Any] | Sequence[Any]) -> Iterator[dict[str, Any]]:
    for batch in batches:
        batch.validate(full=True)
        yield from batch.to_pylist()


def parquet_columns(file: Path) -> list[str]:
    """Return the names of a Parquet file's columns."""
    with parquet_file(file) as opened:
        names: list[str] = opened.schema_arrow.names
        return names


def arrow_schema(file: Path) -> Any:
    """Return the ``pyarrow.Schema`` of a Parquet or Arrow stream file."""
    import pyarrow

    if file.suffix == ".parquet":
        with parquet_file(file) as opened:
            return opened.schema_arrow
    with _reading(file, "Arrow stream"):
        require_regular(file)
        with pyarrow.memory_map(str(file)) as mapped:
            schema = pyarrow.ipc.open_stream(mapped).schema
        _require_schema(schema, file)
        return schema


def image_bytes(rows: ParquetRows | ArrowRows, file: Path, row: int, column: str) -> bytes:
    """Return the encoded bytes of an image cell, which is bytes or ``{bytes, path}``.

    Raises:
        UnreadableImage: the cell cannot be read; the other images of the file may still be.
        FileNotFoundError: the cell holds no bytes.
    """
    try:
        cell = rows.cell(file, row, column)
    except (InputError, LookupError) as error:
        raise UnreadableImage("damaged", str(error)) from error
    if isinstance(cell, dict):
        cell = cell.get("bytes")
    if not isinstance(cell, bytes):
        raise FileNotFoundError(2, "the row holds no image bytes")
    return cell


@contextmanager
def parquet_file(file: Path) -> Iterator[Any]:
    """Open a Parquet file; whatever goes wrong while it is open is one sentence.

    Raises:
        InputError: not a regular file, or not a readable Parquet file; a column twice, or too many.
    """
    from pyarrow.parquet import ParquetFile

    with _reading(file, "Parquet file"):
        require_regular(file)
        with ParquetFile(file, page_checksum_verification=True) as opened:
            _require_schema(opened.schema_arrow, file)
            yield opened


def _require_schema(schema: Any, file: Path) -> None:
    require_columns(schema.names, file)
    twice = [name for name, count in Counter(schema.names).items() if count > 1]
    if twice:
        raise InputError(f"{file} has the column {twice[0]!r} twice; keep one of them")
    for name in schema.names:
        require_text(name, where=f"{file}: the column")


@contextmanager
def _reading(file: Path, what: str) -> Iterator[None]:
    """Turn whatever pyarrow raises for a damaged file into one sentence."""
    import pyarrow

    try:
        yield
    except (
        OSError,
        pyarrow.ArrowException,
        ValueError,
        OverflowError,
        RecursionError,
        MemoryError,
        TypeError,
    ) as error:
        raise InputError(f"{file} is not a readable {what} ({error}); fetch it again") from error
