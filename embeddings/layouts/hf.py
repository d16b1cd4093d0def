"""A Hugging Face data set on disk: a folder written by ``save_to_disk`` (Arrow), or of Parquet files."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, final

from fewshot.core.errors import InputError
from fewshot.embeddings.layouts.base import Layout, Sample
from fewshot.embeddings.layouts.columnar import ArrowRows, ParquetRows, arrow_schema, image_bytes
from fewshot.embeddings.layouts.labels import LabelReader, label
from fewshot.embeddings.layouts.names import require_text, source_name
from fewshot.embeddings.layouts.splits import split_of_file, without_splits
from fewshot.embeddings.layouts.tree import files_below, left_out

LABELS = ("synthetic", "is_synthetic", "is_fake", "label")
SOURCES = ("source", "generator", "model_name", "model")
_SAME_MEANING = ("synthetic", "is_synthetic", "is_fake")  # ``label`` beside one of these may be the picture's content
_FIELDS = ("split", "dataset", "category", "group")


@dataclass(frozen=True)
class _Columns:
    """Which columns hold what; ``names`` are the label's class names where it has them."""

    image: str
    label: str
    source: str
    names: tuple[Any, ...]


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
        try:
            files = _files(root, Counter())
        except InputError:  # a folder that may not be listed says nothing here; reading it says so
            return False
        return bool(files) and _image_column(files[0]) is not None

    def samples(self, root: Path) -> Iterator[Sample]:
        """Yield all rows, files in sorted order; a row of neither class is an error."""
        files = _files(root, self.ignored)
        if not files:
            raise InputError(
                f"{root} holds no data-*.arrow or *.parquet file{left_out(self.ignored)}; name a folder saved by "
                f"`datasets`"
            )
        for file in files:
            columns = _columns(file)
            labels = LabelReader(columns.names, wanted="name classes real and fake")
            relative = file.relative_to(root).as_posix()
            rows = enumerate(self._of(file).without_images(file, images=[columns.image]))
            make = partial(_sample, file, relative, columns=columns, labels=labels)
            yield from self.labelled(make, rows)

    def _of(self, file: Path) -> ParquetRows | ArrowRows:
        return self._parquet if file.suffix == ".parquet" else self._arrow

    def read(self, root: Path, sample: Sample) -> bytes:
        """Return the bytes in the row's image cell."""
        file = root / sample.path
        return image_bytes(self._of(file), file, int(sample.member), _image_column(file) or "image")


def _files(root: Path, ignored: Counter[str]) -> list[Path]:
    """Return the Arrow files, else the Parquet files; what is neither is counted."""
    if not root.is_dir():
        return []
    found = [root / path for path in files_below(root, wanted=_is_columnar, ignored=ignored)]
    arrow = [file for file in found if file.suffix == ".arrow"]
    if arrow and len(arrow) < len(found):
        ignored["a .parquet beside .arrow files, which are read"] += len(found) - len(arrow)
    return sorted(arrow or found)


def _is_columnar(name: str) -> bool:
    return name.endswith(".parquet") or (name.startswith("data-") and name.endswith(".arrow"))


def _features(file: Path) -> dict[str, Any]:
    """Return the features that `datasets` wrote into the schema, {} when there are none."""
    metadata = arrow_schema(file).metadata or {}
    try:
        found = json.loads(metadata.get(b"huggingface", b"{}"))
        features = found.get("info", {}).get("features", {})
    except (ValueError, AttributeError, RecursionError):
        return {}
    return features if isinstance(features, dict) else {}


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
    return _Columns(image, of_label, source, _class_names(file, of_label))


def _class_names(file: Path, column: str) -> tuple[Any, ...]:
    kind = _features(file).get(column)
    names = kind.get("names") if isinstance(kind, dict) else None
    return tuple(names) if isinstance(names, list) else ()


def _sample(
    file: Path, relative: str, number: int, row: dict[str, Any], *, columns: _Columns, labels: LabelReader
) -> Sample:
    where = f"{file}, row {number}"
    synthetic = labels.read(row[columns.label], where=f"{where}: {columns.label}")
    _require_agreement(row, columns, synthetic, where)
    own = {name: str(cell) for name, cell in row.items() if isinstance(cell, (str, int, float)) and name.strip()}
    for name, cell in own.items():
        require_text(cell, where=f"{where}: the value of {name!r}")
    fields = {name: own[name] for name in _FIELDS if name in own}
    taken = (columns.label, columns.source, *_FIELDS)
    return Sample(
        relative,
        source_name(row[columns.source], where=where),
        synthetic,
        member=str(number),
        extra={name: cell for name, cell in own.items() if name not in taken},
        **{**fields, "split": fields.get("split") or _split_of(relative)},
    )


def _require_agreement(row: dict[str, Any], columns: _Columns, synthetic: bool, where: str) -> None:
    """Refuse a row whose other columns of labels say the other class."""
    for name in _SAME_MEANING:
        if name != columns.label and columns.label in _SAME_MEANING and label(row.get(name)) is (not synthetic):
            raise InputError(
                f"{where}: {columns.label} = {row[columns.label]!r} and {name} = {row[name]!r} name different classes; "
                f"keep one of the columns"
            )


def _split_of(relative: str) -> str:
    """Return the split that folders or the file's name say, else the outer folder as ``save_to_disk`` writes it."""
    *folders, name = relative.split("/")
    return without_splits(folders).split or split_of_file(name) or (folders[0] if folders else "")
