"""Verdicts as files, an image a row: CSV, JSON lines or Parquet, written as they come and there when all are.

``COLUMNS`` are those of CSV and Parquet. After them come the score of each member where a detector has several, the
verdict under each re-encoding, and the provenance as JSON text, where these were wanted. JSON lines hold all that is
said of an image (``Judgement.to_json``).
"""

import csv
import io
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, ClassVar, final

from fewshot.core.control_characters import escape_control, json_text
from fewshot.core.errors import OptionError
from fewshot.core.files import atomic_path, output_error
from fewshot.core.outputs import VERDICT_LINES, VERDICT_PARQUET, VERDICT_TABLE, FileKind
from fewshot.detector.judgement import Judged
from fewshot.detector.spreadsheet_text import shown_path, shown_text

COLUMNS: Mapping[str, str] = {
    "image": "string",
    "verdict": "string",
    "score": "float64",
    "probability_low": "float64",
    "probability_high": "float64",
    "unknown": "bool",
    "p_value": "float64",
    "nearest_source": "string",
    "nearest_image": "string",
    "reason": "string",
    "failure": "string",
    "sha256": "string",
    "pixel_id": "string",
}
_ROW_GROUP = 16_384


def verdict_kind(path: Path) -> FileKind:
    """Return what kind of file is written to a path, by its suffix.

    Raises:
        OptionError: by a suffix of none.
    """
    return _format(path).kind


def to_json(judged: Judged) -> dict[str, Any]:
    """Return what became of one image as JSON values; without a judgement only ``image``, hashes and ``failure``."""
    said = {} if judged.judgement is None else judged.judgement.to_json()
    beside = {"provenance": dict(judged.provenance)} if judged.provenance else {}
    return {
        "image": judged.image,
        **said,
        "failure": judged.failure,
        "sha256": judged.file_sha256,
        "pixel_id": judged.pixel_id,
        **beside,
    }


def to_row(judged: Judged) -> dict[str, Any]:
    """Return what became of one image by the names of ``COLUMNS``; None where there is no value."""
    row: dict[str, Any] = dict.fromkeys(COLUMNS)
    row |= {
        "image": judged.image,
        "failure": judged.failure,
        "sha256": judged.file_sha256,
        "pixel_id": judged.pixel_id,
    }
    if (said := judged.judgement) is None:
        return row
    low, high = said.probability
    return row | {
        "verdict": said.verdict,
        "score": said.score,
        "probability_low": low,
        "probability_high": high,
        "unknown": said.unknown,
        "p_value": said.p_value,
        "nearest_source": said.sources[0].source if said.sources else "",
        "nearest_image": said.neighbours[0].key if said.neighbours else "",
        "reason": said.reason,
    }


class VerdictFile(ABC):
    """A file of verdicts that is being written; ``columns`` are its columns with their types.

    Args:
        stream: where its bytes go.
        members: names of the detector's members; views: re-encodings; provenance: whether it has that column.
    """

    kind: ClassVar[FileKind]

    def __init__(self, stream: BinaryIO, *, members: Sequence[str], views: Sequence[str], provenance: bool) -> None:
        self.stream = stream
        self.columns = {
            **COLUMNS,
            **{f"score {name}": "float64" for name in (members if len(members) > 1 else ())},
            **{f"under {view}": "string" for view in views},
            **({"provenance": "string"} if provenance else {}),
        }

    def row(self, judged: Judged) -> dict[str, Any]:
        """Return one row, a value of every column."""
        found = to_row(judged)
        if judged.judgement is not None:
            found |= {f"score {name}": score for name, score in judged.judgement.members.items()}
            found |= {f"under {view}": verdict for view, (verdict, _) in judged.judgement.under.items()}
        if judged.provenance:
            found["provenance"] = json_text(dict(judged.provenance))
        return {name: found.get(name) for name in self.columns}

    @abstractmethod
    def write(self, some: Sequence[Judged]) -> None:
        """Write what became of some images."""

    def finish(self) -> None:  # noqa: B027  # only Parquet holds something back
        """Write what was held back."""

    def close(self) -> None:  # noqa: B027
        """Let go of the stream, whether or not all was written."""


@final
class Csv(VerdictFile):
    """A table of text: UTF-8, a header, empty where there is no value; names that are no UTF-8 as their bytes."""

    kind = VERDICT_TABLE

    def __init__(self, stream: BinaryIO, **columns: Any) -> None:
        super().__init__(stream, **columns)
        self._write([[escape_control(name) for name in self.columns]])

    def write(self, some: Sequence[Judged]) -> None:
        """Write a line for each."""
        self._write([[_cell(name, value) for name, value in self.row(judged).items()] for judged in some])

    def _write(self, rows: Sequence[Sequence[Any]]) -> None:
        text = io.StringIO(newline="")
        csv.writer(text, lineterminator="\n").writerows(rows)
        self.stream.write(text.getvalue().encode("utf-8", "surrogateescape"))


@final
class JsonLines(VerdictFile):
    """A JSON document a line, in ASCII."""

    kind = VERDICT_LINES

    def write(self, some: Sequence[Judged]) -> None:
        """Write a line for each."""
        self.stream.write("".join(f"{json_text(to_json(judged))}\n" for judged in some).encode("ascii"))


@final
class Parquet(VerdictFile):
    """A Parquet file in groups of rows; names that are no UTF-8 have their bytes escaped."""

    kind = VERDICT_PARQUET

    def __init__(self, stream: BinaryIO, **columns: Any) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        super().__init__(stream, **columns)
        types = {"string": pa.string(), "float64": pa.float64(), "bool": pa.bool_()}
        fields = [(escape_control(name), types[kind]) for name, kind in self.columns.items()]
        self._schema = pa.schema(fields, metadata={"fewshot": "verdicts"})
        self._writer = pq.ParquetWriter(stream, self._schema)
        self._held: list[dict[str, Any]] = []

    def write(self, some: Sequence[Judged]) -> None:
        """Hold the rows back until they make a group."""
        self._held += [{escape_control(name): _text(value) for name, value in self.row(one).items()} for one in some]
        if len(self._held) >= _ROW_GROUP:
            self._flush()

    def finish(self) -> None:
        """Write the last group."""
        self._flush()

    def close(self) -> None:
        """Write the end of the file."""
        try:
            self._writer.close()
        finally:
            self._writer.is_open = False  # where that failed, it would be tried again without a stream

    def _flush(self) -> None:
        import pyarrow as pa

        if self._held:
            self._writer.write_table(pa.Table.from_pylist(self._held, schema=self._schema))
            self._held = []


_FORMATS: Mapping[str, type[VerdictFile]] = {
    ".csv": Csv,
    ".jsonl": JsonLines,
    ".ndjson": JsonLines,
    ".parquet": Parquet,
}


@contextmanager
def verdict_file(
    path: Path, *, members: Sequence[str] = (), views: Sequence[str] = (), provenance: bool = False
) -> Iterator[VerdictFile]:
    """Give a file to write verdicts to; it is at its path, whole, when the block ends without an error.

    Args:
        path: its suffix says which format.
        members: names of the detector's members; views: re-encodings; provenance: whether there is any.

    Raises:
        OptionError: another suffix.
        OutputError: it cannot be written, or another kind of file is there.
    """
    chosen = _format(path)
    with atomic_path(path, kind=chosen.kind) as temporary:
        try:
            stream = temporary.open("r+b")
        except OSError as error:
            raise output_error(path, error) from error
        with stream:
            writing = chosen(stream, members=members, views=views, provenance=provenance)
            try:
                yield writing
                writing.finish()
            finally:
                writing.close()


def _format(path: Path) -> type[VerdictFile]:
    found = _FORMATS.get(path.suffix.lower())
    if found is None:
        raise OptionError(
            f"-o {path}: verdicts are written as .csv, .jsonl or .parquet, and {path.suffix or 'no suffix'!r} is none "
            f"of them; give it one of these suffixes"
        )
    return found


def _cell(name: str, value: Any) -> Any:
    """Return a value as CSV has it; a text that a spreadsheet would take for a formula is kept from being one."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, str):
        return shown_path(value) if name == "image" else shown_text(value)
    return value


def _text(value: Any) -> Any:
    return value.encode("utf-8", "backslashreplace").decode("utf-8") if isinstance(value, str) else value
