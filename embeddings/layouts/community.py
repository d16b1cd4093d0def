"""Community Forensics: Parquet shards with the image's bytes, ``model_name`` and ``label`` (real = 0, fake = 1)."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, final

from fewshot.core.errors import InputError
from fewshot.embeddings.layouts.base import Layout, Sample, label
from fewshot.embeddings.layouts.columnar import ParquetRows, image_bytes, parquet_columns

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
        first = next(_shards(root), None)
        return first is not None and _image_column(first) is not None

    def samples(self, root: Path) -> Iterator[Sample]:
        """Yield the rows of all shards, shards in sorted order; a row of neither class is an error."""
        for shard in _shards(root):
            if _image_column(shard) is None:
                raise InputError(
                    f"{shard} has the columns {parquet_columns(shard)}; wanted model_name, label and image"
                )
            relative = shard.relative_to(root).as_posix()
            for number, row in enumerate(self._rows.without_images(shard, images=IMAGES)):
                yield _sample(shard, relative, number, row)

    def read(self, root: Path, sample: Sample) -> bytes:
        """Return the bytes in the row's image cell."""
        shard = root / sample.path
        return image_bytes(self._rows.cell(shard, int(sample.member), _image_column(shard) or IMAGES[0]))


def _shards(root: Path) -> Iterator[Path]:
    return iter(sorted(root.rglob("*.parquet"))) if root.is_dir() else iter(())


def _image_column(shard: Path) -> str | None:
    columns = parquet_columns(shard)
    if not {"model_name", "label"} <= set(columns):
        return None
    return next((name for name in IMAGES if name in columns), None)


def _sample(shard: Path, relative: str, number: int, row: dict[str, Any]) -> Sample:
    synthetic = label(row["label"])
    if synthetic is None:
        raise InputError(f"{shard}, row {number}: label {row['label']!r} is neither 0 (real) nor 1 (fake)")
    return Sample(
        path=relative,
        member=str(number),
        source=str(row["model_name"]) if synthetic else NATURE,
        synthetic=synthetic,
        split=str(row.get("split") or ""),
        dataset="CommunityForensics",
    )
