"""Community Forensics: Parquet shards with the image's bytes, ``model_name`` and ``label`` (real = 0, fake = 1)."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, final

from fewshot.core.errors import InputError
from fewshot.embeddings.layouts.base import Layout, Sample
from fewshot.embeddings.layouts.columnar import ParquetRows, image_bytes, parquet_columns
from fewshot.embeddings.layouts.labels import LabelReader
from fewshot.embeddings.layouts.names import source_name
from fewshot.embeddings.layouts.splits import split_of_file, without_splits
from fewshot.embeddings.layouts.tree import files_below

IMAGES = ("image_data", "image")
NATURE = "nature"


@final
class Community(Layout):
    """The source is ``model_name``, and ``nature`` for natural rows; a member is the row's number in its shard."""

    name: ClassVar[str] = "community"

    def __init__(self) -> None:
        super().__init__()
        self._rows = ParquetRows()

    def recognises(self, root: Path) -> bool:
        """Parquet files whose columns are these."""
        try:
            first = next(_shards(root, Counter()), None) if root.is_dir() else None
        except InputError:  # a folder that may not be listed says nothing here; reading it says so
            return False
        return first is not None and _image_column(first) is not None

    def samples(self, root: Path) -> Iterator[Sample]:
        """Yield the rows of all shards, shards in sorted order; a row of neither class is an error."""
        labels = LabelReader(wanted="wanted 0 (real) or 1 (fake)")
        for shard in _shards(root, self.ignored):
            if _image_column(shard) is None:
                raise InputError(
                    f"{shard} has the columns {parquet_columns(shard)}; wanted model_name, label and image"
                )
            relative = shard.relative_to(root).as_posix()
            rows = enumerate(self._rows.without_images(shard, images=IMAGES))
            yield from self.labelled(_sample, ((shard, relative, number, row, labels) for number, row in rows))

    def read(self, root: Path, sample: Sample) -> bytes:
        """Return the bytes in the row's image cell."""
        shard = root / sample.path
        return image_bytes(self._rows, shard, int(sample.member), _image_column(shard) or IMAGES[0])


def _shards(root: Path, ignored: Counter[str]) -> Iterator[Path]:
    return (root / path for path in files_below(root, wanted=lambda name: name.endswith(".parquet"), ignored=ignored))


def _image_column(shard: Path) -> str | None:
    columns = parquet_columns(shard)
    if not {"model_name", "label"} <= set(columns):
        return None
    return next((name for name in IMAGES if name in columns), None)


def _sample(shard: Path, relative: str, number: int, row: dict[str, Any], labels: LabelReader) -> Sample:
    where = f"{shard}, row {number}"
    synthetic = labels.read(row["label"], where=f"{where}: label")
    *folders, name = relative.split("/")
    return Sample(
        path=relative,
        member=str(number),
        source=source_name(row["model_name"], where=where) if synthetic else NATURE,
        synthetic=synthetic,
        split=str(row.get("split") or "") or without_splits(folders).split or split_of_file(name),
        dataset="CommunityForensics",
    )
