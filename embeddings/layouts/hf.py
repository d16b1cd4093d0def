"""A Hugging Face data set on disk: a folder written by ``save_to_disk`` (Arrow), or of Parquet files."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, final

from fewshot.core.errors import InputError
from fewshot.embeddings.layouts.base import Layout, Sample, label
from fewshot.embeddings.layouts.columnar import ArrowRows, ParquetRows, arrow_schema, image_bytes

LABELS = ("synthetic", "is_synthetic", "is_fake", "label")
SOURCES = ("source", "generator", "model_name", "model")


@dataclass(frozen=True)
class _Columns:
    """Which columns hold what; ``names`` are the label's class names where it has them."""

    image: str
    label: str
    source: str
    names: tuple[str, ...]


@final
class Hf(Layout):
    """The image column is found by its feature type; the label is ``synthetic``, ``is_fake`` or ``label``, the source
    ``source``, ``generator`` or ``model_name``. A label with class names is read by them, else 0 is natural."""

    name: ClassVar[str] = "hf"
    priority: ClassVar[int] = 40  # a Parquet tree that is a known release goes first

    def __init__(self) -> None:
        super().__init__()
        self._parquet, self._arrow = ParquetRows(), ArrowRows()

    def recognises(self, root: Path) -> bool:
        """Arrow or Parquet files whose schema has an image feature."""
        files = _files(root)
        return bool(files) and _image_column(files[0]) is not None

    def samples(self, root: Path) -> Iterator[Sample]:
        """Yield all rows, files in sorted order; a row of neither class is an error."""
        files = _files(root)
        if not files:
            raise InputError(f"{root} holds no data-*.arrow or *.parquet file; name a folder saved by `datasets`")
        for file in files:
            columns = _columns(file)
            relative = file.relative_to(root).as_posix()
            for number, row in enumerate(self._rows(file, columns)):
                yield _sample(file, relative, number, row, columns)

    def _rows(self, file: Path, columns: _Columns) -> Iterator[dict[str, Any]]:
        if file.suffix == ".parquet":
            yield from self._parquet.without_images(file, images=[columns.image])
        else:
            for batch in self._arrow.table(file).drop_columns([columns.image]).to_batches():
                yield from batch.to_pylist()

    def read(self, root: Path, sample: Sample) -> bytes:
        """Return the bytes in the row's image cell."""
        file = root / sample.path
        rows: ParquetRows | ArrowRows = self._parquet if file.suffix == ".parquet" else self._arrow
        return image_bytes(rows.cell(file, int(sample.member), _image_column(file) or "image"))


def _files(root: Path) -> list[Path]:
    if not root.is_dir():
        return []
    return sorted(root.rglob("data-*.arrow")) or sorted(root.rglob("*.parquet"))


def _features(file: Path) -> dict[str, Any]:
    """Return the features that `datasets` wrote into the schema, {} when there are none."""
    metadata = arrow_schema(file).metadata or {}
    try:
        found = json.loads(metadata.get(b"huggingface", b"{}"))
        features: dict[str, Any] = found.get("info", {}).get("features", {})
    except (ValueError, AttributeError):
        return {}
    return features


def _image_column(file: Path) -> str | None:
    features = _features(file)
    return next(
        (name for name, kind in features.items() if isinstance(kind, dict) and kind.get("_type") == "Image"), None
    )


def _columns(file: Path) -> _Columns:
    names = arrow_schema(file).names
    image = _image_column(file)
    of_label = next((name for name in LABELS if name in names), None)
    source = next((name for name in SOURCES if name in names), None)
    if image is None or of_label is None or source is None:
        raise InputError(
            f"{file} has the columns {', '.join(names)}; wanted an image feature, a label ({', '.join(LABELS)}) and a "
            f"source ({', '.join(SOURCES)}); rename them, or give a table"
        )
    kind = _features(file).get(of_label, {})
    return _Columns(image, of_label, source, tuple(kind.get("names") or ()) if isinstance(kind, dict) else ())


def _sample(file: Path, relative: str, number: int, row: dict[str, Any], columns: _Columns) -> Sample:
    value = row[columns.label]
    named = columns.names[value] if columns.names and isinstance(value, int) and value < len(columns.names) else value
    synthetic = label(named)
    if synthetic is None:
        raise InputError(
            f"{file}, row {number}: {columns.label} = {named!r} is neither class; name classes real and fake"
        )
    split = relative.split("/")[0] if "/" in relative else ""
    own = {name: str(cell) for name, cell in row.items() if isinstance(cell, (str, int, float))}
    extra = {name: cell for name, cell in own.items() if name not in (columns.label, columns.source)}
    return Sample(relative, str(row[columns.source]), synthetic, member=str(number), split=split, extra=extra)
