"""Read rows of Parquet files and Arrow streams one at a time, without holding a file's images in memory."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from fewshot.core.errors import InputError

_FILES_KEPT = 4


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
        with _parquet(file) as opened:
            for batch in opened.iter_batches(columns=wanted):
                yield from batch.to_pylist()

    def cell(self, file: Path, row: int, column: str) -> Any:
        """Return one value."""
        starts = self._starts_of(file)
        group = max(number for number, start in enumerate(starts) if start <= row)
        if self._group != (file, column, group):
            with _parquet(file) as opened:
                self._column = opened.read_row_group(group, columns=[column]).column(0)
            self._group = (file, column, group)
        return self._column[row - starts[group]].as_py()

    def _starts_of(self, file: Path) -> list[int]:
        if file not in self._starts:
            if len(self._starts) >= _FILES_KEPT:
                self._starts.clear()
            with _parquet(file) as opened:
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
        """Return the file as a ``pyarrow.Table`` over the mapped file."""
        import pyarrow

        if file not in self._tables:
            try:
                self._tables[file] = pyarrow.ipc.open_stream(pyarrow.memory_map(str(file))).read_all()
            except pyarrow.ArrowException as error:
                raise InputError(f"{file} is not a readable Arrow stream ({error}); save the data set again") from error
        return self._tables[file]

    def cell(self, file: Path, row: int, column: str) -> Any:
        """Return one value."""
        return self.table(file).column(column)[row].as_py()


def parquet_columns(file: Path) -> list[str]:
    """Return the names of a Parquet file's columns."""
    with _parquet(file) as opened:
        names: list[str] = opened.schema_arrow.names
        return names


def arrow_schema(file: Path) -> Any:
    """Return the ``pyarrow.Schema`` of a Parquet or Arrow stream file."""
    import pyarrow

    if file.suffix == ".parquet":
        with _parquet(file) as opened:
            return opened.schema_arrow
    try:
        with pyarrow.memory_map(str(file)) as mapped:
            return pyarrow.ipc.open_stream(mapped).schema
    except pyarrow.ArrowException as error:
        raise InputError(f"{file} is not a readable Arrow stream ({error}); save the data set again") from error


def image_bytes(cell: Any) -> bytes:
    """Return the encoded bytes of an image cell, which is bytes or ``{bytes, path}``."""
    if isinstance(cell, dict):
        cell = cell.get("bytes")
    if not isinstance(cell, bytes):
        raise FileNotFoundError(2, "the row holds no image bytes")
    return cell


def _parquet(file: Path) -> Any:
    import pyarrow
    from pyarrow.parquet import ParquetFile

    try:
        return ParquetFile(file)
    except (OSError, pyarrow.ArrowException) as error:
        raise InputError(f"{file} is not a readable Parquet file ({error}); fetch it again") from error
