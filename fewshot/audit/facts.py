"""What the files of each source are: containers, qualities, sizes, modes and metadata, one line a source."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from fewshot.core.arrays import IntArray
from fewshot.embeddings.store.reader import FeatureStore

_SHOWN = 2  # values of a fact that are named; the rest is counted


@dataclass(frozen=True)
class SourceFacts:
    """The file facts of one source, each in words.

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


def source_facts(store: FeatureStore, rows: IntArray) -> tuple[SourceFacts, ...]:
    """Return the facts of every source among some rows, natural first, then by name."""
    names = (
        "source",
        "synthetic",
        "group",
        "format",
        "jpeg_quality",
        "quantisation",
        "width",
        "height",
        "mode",
        "metadata",
    )
    frame = pd.DataFrame({name: store.column(name)[rows] for name in names})
    found = [_of_source(str(source), part) for source, part in frame.groupby("source", sort=True)]
    return tuple(sorted(found, key=lambda facts: (facts.synthetic, facts.source)))


def _of_source(source: str, part: pd.DataFrame) -> SourceFacts:
    qualities = part.loc[part["jpeg_quality"] >= 0, "jpeg_quality"].to_numpy()
    sizes = [f"{width}x{height}" for width, height in zip(part["width"], part["height"], strict=True)]
    return SourceFacts(
        source=source,
        synthetic=bool(part["synthetic"].any()),
        images=len(part),
        groups=len(set(part["group"]) - {""}),
        format=_common(part["format"]),
        jpeg_quality=_range(qualities) if len(qualities) else "",
        quantisation=len(set(part["quantisation"]) - {""}),
        size=_common(sizes),
        mode=_common(part["mode"]),
        metadata=_common(part["metadata"]),
    )


def _common(values: Iterable[str]) -> str:
    counts = Counter(str(value) or "none" for value in values)
    total = sum(counts.values())
    named = [f"{value} {100 * number / total:.0f}%" for value, number in counts.most_common(_SHOWN)]
    more = len(counts) - _SHOWN
    return ", ".join([*named, f"{more} more"] if more > 0 else named)


def _range(values: "np.ndarray[tuple[int], np.dtype[np.int64]]") -> str:
    low, high = int(values.min()), int(values.max())
    return str(low) if low == high else f"{np.median(values):.0f} ({low}-{high})"
