"""Which images are the same picture: equal pixels by their ids, nearly equal ones by their perceptual hashes.

The one search for both, of a few images among many or of all pairs. It misses none: two 64-bit words that differ in at
most r bits share at least one of r + 1 bands of bits, so only words that share a band are compared.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fewshot.core.arrays import BoolArray, IntArray
from fewshot.draws.near_bits import NEAR_BITS

HASH_BITS = 64

HashArray = NDArray[np.uint64]

_FEW = 500  # hashes that are compared with all others faster one by one than by bands
_PAIRS_AT_ONCE = 1 << 22  # of 8-byte hashes: 32 MiB a side


def equal_any(ids: NDArray[Any], seen: Iterable[Any]) -> BoolArray:
    """Return (n,) bool: which pixel ids equal one that was seen; an empty id is unknown and equals none."""
    known = {name for name in seen if name}
    return np.fromiter((name in known for name in ids), bool, len(ids))


def near_any(hashes: HashArray, seen: HashArray, *, bits: int = NEAR_BITS) -> BoolArray:
    """Return (n,) bool: which hashes differ in at most ``bits`` of 64 bits from one that was seen.

    Args:
        hashes: (n,) uint64, 0 = unknown: near none.
        seen: (m,) uint64, 0 = unknown.
        bits: 0 or more.
    """
    seen = np.unique(seen[seen != 0])
    if len(seen) <= _FEW:
        found = np.zeros(len(hashes), bool)
        for one in seen:
            found |= np.bitwise_count(hashes ^ one) <= bits
        return np.asarray(found & (hashes != 0))
    distinct, inverse = np.unique(hashes, return_inverse=True)
    near = np.zeros(len(distinct), bool)
    for pairs in _near(distinct, seen, bits):
        near[pairs.first] = True
    return np.asarray((near & (distinct != 0))[inverse])


@dataclass(frozen=True)
class Pairs:
    """Pairs of images that are one picture.

    Args:
        first, second: (p,) int64 positions.
        bits: (p,) int64 differing bits of their hashes; 0 where the pixels are equal.
    """

    first: IntArray
    second: IntArray
    bits: IntArray

    def __len__(self) -> int:
        return len(self.first)


def equal_pairs(ids: NDArray[Any]) -> Pairs:
    """Return the images with the pixel id of an earlier one, each paired with the first of them.

    Args:
        ids: (n,) hashes of the decoded pixels; empty = unknown.
    """
    first: dict[Any, int] = {}
    found = [(first[name], row) for row, name in enumerate(ids) if name and first.setdefault(name, row) != row]
    rows = np.array(found, dtype=np.int64).reshape(-1, 2)
    return Pairs(rows[:, 0], rows[:, 1], np.zeros(len(rows), np.int64))


def near_pairs(hashes: HashArray, *, bits: int = NEAR_BITS) -> Pairs:
    """Return every pair of hashes that differ in at most ``bits`` of 64 bits, the smaller position first, in order.

    Args:
        hashes: (n,) uint64, 0 = unknown: near none.
        bits: 0 or more.
    """
    known = np.flatnonzero(hashes != 0)
    parts = [np.empty((3, 0), np.int64)]
    for pairs in _near(hashes[known], hashes[known], bits):
        once = pairs.first < pairs.second
        parts.append(np.stack([known[pairs.first[once]], known[pairs.second[once]], pairs.bits[once]]))
    first, second, differing = np.concatenate(parts, axis=1)
    order = np.lexsort((second, first))
    return Pairs(first[order], second[order], differing[order])


def _near(left: HashArray, right: HashArray, bits: int) -> Iterator[Pairs]:
    """Yield all near (left, right) pairs, each once, in parts of bounded size."""
    edges = np.linspace(0, HASH_BITS, bits + 2).astype(int)
    bands = [np.uint64((1 << int(high)) - (1 << int(low))) for low, high in pairwise(edges)]
    for number, band in enumerate(bands):
        order = np.argsort(right & band, kind="stable")
        ordered, wanted = (right & band)[order], left & band
        start = np.searchsorted(ordered, wanted, side="left")
        count = np.searchsorted(ordered, wanted, side="right") - start
        for part in _parts(count):
            first = np.repeat(np.arange(part.start, part.stop), count[part])
            within = np.arange(len(first)) - np.repeat(np.cumsum(count[part]) - count[part], count[part])
            second = order[np.repeat(start[part], count[part]) + within]
            unlike = left[first] ^ right[second]
            differing = np.bitwise_count(unlike).astype(np.int64)
            kept = differing <= bits
            for earlier in bands[:number]:  # a pair that shares an earlier band was found there
                kept &= (unlike & earlier) != 0
            yield Pairs(first[kept], second[kept], differing[kept])


def _parts(count: IntArray) -> Iterator[slice]:
    """Yield runs of entries that make a bounded number of pairs together (or are alone)."""
    ends = np.cumsum(count)
    start = 0
    while start < len(count):
        before = int(ends[start - 1]) if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, before + _PAIRS_AT_ONCE, side="right")))
        yield slice(start, stop)
        start = stop
