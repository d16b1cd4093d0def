"""Images that are there twice: equal pixels, or pictures so alike that one gives the other away.

Exact duplicates have the same pixel id. Near duplicates have perceptual hashes that differ in few bits.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from fewshot.core.arrays import IntArray
from fewshot.core.errors import OptionError
from fewshot.draws.near_bits import NEAR_BITS
from fewshot.draws.near_duplicates import HASH_BITS, equal_pairs, near_pairs
from fewshot.embeddings.store.reader import FeatureStore

if TYPE_CHECKING:
    from fewshot.embeddings.search.index import SourceIndex

Likeness = Literal["exact", "near"]
RADIUS = NEAR_BITS  # what adapt takes out of the query, so that no audit is laxer than a protocol


@dataclass(frozen=True)
class Pair:
    """Two images of a store that are one picture.

    Args:
        first, second: rows, the first smaller.
        likeness: ``exact`` = equal pixels, ``near`` = alike.
        distance: differing bits of the perceptual hash, or 1 - cosine of the features; 0 when exact.
    """

    first: int
    second: int
    likeness: Likeness
    distance: float


@dataclass(frozen=True)
class Leaks:
    """How many pairs cross a boundary that a reader believes closed.

    Args:
        pairs: all of them.
        classes: natural on one side, synthetic on the other.
        sources: different sources. splits: different, named splits. groups: not of one named group, so that
            ``--group`` does not keep them together.
        classes_of_one_group: of those across classes, the pairs of one named group, such as a picture and its remake.
    """

    likeness: Likeness
    pairs: int
    classes: int
    sources: int
    splits: int
    groups: int
    classes_of_one_group: int = 0


def duplicates(store: FeatureStore, rows: IntArray | None = None, *, radius: int = RADIUS) -> tuple[Pair, ...]:
    """Return every pair of images with equal pixels or nearly equal perceptual hashes, in row order.

    Args:
        store: with pixel ids and hashes, as ``fewshot embed`` writes them; images without them are passed over.
        rows: which images; all when None.
        radius: largest number of differing bits, 0 to 7.
    """
    if not 0 <= radius <= 7:
        raise OptionError(
            f"the radius must be 0 to 7 bits of {HASH_BITS}, not {radius}: beyond that, different pictures meet"
        )
    chosen = np.arange(len(store)) if rows is None else np.asarray(rows, np.int64)
    exact = equal_pairs(store.column("id")[chosen])
    near = near_pairs(np.asarray(store.column("phash"), dtype=np.uint64)[chosen], bits=radius)
    equal = set(zip(exact.first.tolist(), exact.second.tolist(), strict=True))
    pairs = [Pair(int(chosen[a]), int(chosen[b]), "exact", 0.0) for a, b in equal]
    pairs += [
        Pair(int(chosen[a]), int(chosen[b]), "near", float(bits))
        for a, b, bits in zip(near.first.tolist(), near.second.tolist(), near.bits.tolist(), strict=True)
        if (a, b) not in equal
    ]
    return tuple(sorted(pairs, key=lambda pair: (pair.first, pair.second)))


def feature_duplicates(index: "SourceIndex", *, score: float) -> tuple[Pair, ...]:
    """Return every pair of indexed images whose features score at least ``score`` against each other.

    Args:
        index: an exact cosine index.
        score: the least cosine, for example 0.98.
    """
    if index.metric != "cosine":
        raise OptionError(f"near-duplicates by features need a cosine index, not {index.metric!r}")
    return tuple(Pair(first, second, "near", 1.0 - value) for first, second, value in index.pairs_within(score=score))


def leaks(store: FeatureStore, pairs: Iterable[Pair], *, group: str = "group") -> tuple[Leaks, ...]:
    """Count the pairs that cross classes, sources, splits and groups: one entry for exact, one for near."""
    listed = list(pairs)
    synthetic, sources, splits, groups = (
        store.synthetic,
        store.source,
        store.column("split"),
        store.column(group),
    )

    def count(likeness: Likeness) -> Leaks:
        rows = np.array([(p.first, p.second) for p in listed if p.likeness == likeness], np.int64).reshape(-1, 2)
        a, b = rows[:, 0], rows[:, 1]
        named = (splits[a] != "") & (splits[b] != "")
        across, together = synthetic[a] != synthetic[b], (groups[a] == groups[b]) & (groups[a] != "")
        return Leaks(
            likeness=likeness,
            pairs=len(rows),
            classes=int(across.sum()),
            sources=int((sources[a] != sources[b]).sum()),
            splits=int((named & (splits[a] != splits[b])).sum()),
            groups=int((~together).sum()),
            classes_of_one_group=int((across & together).sum()),
        )

    return count("exact"), count("near")


def support_leaks(store: FeatureStore, pairs: Iterable[Pair], supports: Mapping[str, Iterable[str]]) -> dict[str, int]:
    """Return, for each trial of a report, how many pairs have one image in the support and one outside it.

    Args:
        supports: trial -> keys or pixel ids of the support images, as in a report.
    """
    by_name: dict[str, list[int]] = {}
    for column in ("key", "id"):
        for row, name in enumerate(store.column(column)):
            by_name.setdefault(str(name), []).append(row)
    listed = list(pairs)
    found = {}
    for trial, names in supports.items():
        inside = {row for name in names for row in by_name.get(str(name), [])}
        found[str(trial)] = sum((pair.first in inside) != (pair.second in inside) for pair in listed)
    return found
