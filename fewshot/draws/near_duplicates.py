"""Which perceptual hashes lie within a few bits of others: a range search that misses none."""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from fewshot.core.arrays import BoolArray, IntArray

_WORD = 64
_PAIRS_AT_ONCE = 1 << 22  # of 8-byte hashes: 32 MiB a side


def near_any(hashes: NDArray[np.uint64], seen: NDArray[np.uint64], *, bits: int) -> BoolArray:
    """Return (n,) bool: which hashes differ in at most ``bits`` of 64 bits from one that was seen.

    Two words that differ in at most r bits share at least one of r + 1 bands, so only those are compared.

    Args:
        hashes: (n,) uint64, 0 = unknown: near none.
        seen: (m,) uint64, 0 = unknown.
        bits: 0 or more.
    """
    seen = np.unique(seen[seen != 0])
    found = np.zeros(len(hashes), bool)
    for low, high in pairwise(np.linspace(0, _WORD, bits + 2).astype(int)):
        shift, mask = np.uint64(low), np.uint64((1 << int(high - low)) - 1)
        bands = (seen >> shift) & mask
        order = np.argsort(bands, kind="stable")
        asked = np.flatnonzero(~found & (hashes != 0))
        wanted = (hashes[asked] >> shift) & mask
        first = np.searchsorted(bands[order], wanted, side="left")
        count = np.searchsorted(bands[order], wanted, side="right") - first
        for part in _parts(count):
            left = np.repeat(asked[part], count[part])
            within = np.arange(len(left)) - np.repeat(np.cumsum(count[part]) - count[part], count[part])
            right = order[np.repeat(first[part], count[part]) + within]
            near = np.bitwise_count(hashes[left] ^ seen[right]) <= bits
            found[left[near]] = True
    return found


def _parts(count: IntArray) -> Iterator[slice]:
    """Yield runs of entries that make a bounded number of pairs together (or are alone)."""
    ends = np.cumsum(count)
    start = 0
    while start < len(count):
        before = int(ends[start - 1]) if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, before + _PAIRS_AT_ONCE, side="right")))
        yield slice(start, stop)
        start = stop
