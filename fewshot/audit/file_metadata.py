"""What the files of each source are: containers, qualities, sizes, modes and metadata, one line a source."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fewshot.core.arrays import BoolArray, IntArray
from fewshot.embeddings.store.reader import FeatureStore

_COLUMNS = ("group", "format", "jpeg_quality", "quantisation", "width", "height", "mode", "metadata")
_SHOWN = 2  # values of a field that are named; the rest is counted


@dataclass(frozen=True)
class SourceMetadata:
    """The file metadata of one source, each field in words.

    Args:
        images: number of images.
        groups: number of distinct groups; 0 when none is named.
        format, mode, metadata: the most common values with their shares.
        jpeg_quality: median and range; empty when no file is JPEG.
        quantisation: number of distinct JPEG tables.
        size: the most common width x height with its share, and how many there are.
    """

    source: str
    synthetic: bool
    images: int
    groups: int
    format: str
    jpeg_quality: str
    quantisation: int
    size: str
    mode: str
    metadata: str


def source_metadata(store: FeatureStore, rows: IntArray) -> tuple[SourceMetadata, ...]:
    """Return the file metadata of every source among some rows, natural first, then by name."""
    columns = {name: store.column(name)[rows] for name in _COLUMNS}
    sources, synthetic = store.source[rows].astype(str), store.synthetic[rows]
    found = [_of_source(str(source), columns, sources == source, synthetic) for source in np.unique(sources)]
    return tuple(sorted(found, key=lambda one: (one.synthetic, one.source)))


def _of_source(
    source: str, columns: Mapping[str, NDArray[Any]], chosen: BoolArray, synthetic: BoolArray
) -> SourceMetadata:
    own = {name: values[chosen] for name, values in columns.items()}
    qualities = own["jpeg_quality"][own["jpeg_quality"] >= 0]
    sizes = [f"{width}x{height}" for width, height in zip(own["width"], own["height"], strict=True)]
    return SourceMetadata(
        source=source,
        synthetic=bool(synthetic[chosen].any()),
        images=int(chosen.sum()),
        groups=len(set(own["group"]) - {""}),
        format=_common(own["format"]),
        jpeg_quality=_range(qualities) if len(qualities) else "",
        quantisation=len(set(own["quantisation"]) - {""}),
        size=_common(sizes),
        mode=_common(own["mode"]),
        metadata=_common(own["metadata"]),
    )


def _common(values: Iterable[str]) -> str:
    counts = Counter(str(value) or "none" for value in values)
    total = sum(counts.values())
    named = [f"{value} {100 * number / total:.0f}%" for value, number in counts.most_common(_SHOWN)]
    more = len(counts) - _SHOWN
    return ", ".join([*named, f"{more} more"] if more > 0 else named)


def _range(values: IntArray) -> str:
    low, high = int(values.min()), int(values.max())
    return str(low) if low == high else f"{np.median(values):.0f} ({low}-{high})"
