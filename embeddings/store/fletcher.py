"""HDF5's Fletcher-32 of a chunk's bytes, by plain sums that NumPy runs over whole vectors and without its lock."""

import threading

import numpy as np
from numpy.typing import NDArray

_MODULUS = 65535
_COLUMNS = 1024
_STRETCH = _COLUMNS * 512  # words; every sum of a stretch is exact in the type it is taken in
_POSITIONS = np.arange(_COLUMNS, dtype=np.float64)
_scratch = threading.local()


def fletcher32(content: NDArray[np.uint8]) -> int:
    """Return HDF5's Fletcher-32 of an even number of bytes (H5checksum.c): sums of big-endian 16-bit words mod 65535.

    With n words w, the first sum is of w[i], the second of (n - i) w[i]. Modulo 2^16 - 1, swapping a word's bytes is
    multiplying it by 256, so the sums are taken over native words and multiplied at the end. A sum that is a multiple
    of the modulus but not zero is stored as 65535, as the running reduction of the C code leaves it.
    """
    words = content.view("<u2")
    count = len(words)
    whole = count // _COLUMNS * _COLUMNS
    first = second = 0
    for start in range(0, whole, _STRETCH):
        total, weighted = _sums(words[start : min(start + _STRETCH, whole)])
        first += total
        second += total * (count - start) - weighted
    tail = words[whole:].astype(np.int64)
    first += int(tail.sum())
    second += int((tail * np.arange(len(tail), 0, -1)).sum())
    if first == 0:
        return 0  # every word is zero
    return (_reduced(second) << 16) | _reduced(first)


def _sums(words: NDArray[np.uint16]) -> tuple[int, int]:
    """Return the sum of w[i] and of i w[i], exactly.

    A word's position is 1024 row + column, so that the sums of rows and of columns give both: of at most 1024 words
    each (below 2^26, uint32), then weighted by at most 1023 and summed (below 2^46, float64).
    """
    table = _widened(words).reshape(-1, _COLUMNS)
    by_row = np.add.reduce(table, 1, dtype=np.uint32).astype(np.float64)
    by_column = np.add.reduce(table, 0, dtype=np.uint32).astype(np.float64)
    rows = np.dot(by_row, _POSITIONS[: len(by_row)])
    return int(by_row.sum()), _COLUMNS * int(rows) + int(np.dot(by_column, _POSITIONS))


def _widened(words: NDArray[np.uint16]) -> NDArray[np.uint32]:
    """Return the words as uint32, in memory that this thread keeps: adding is fast where nothing is converted."""
    if not hasattr(_scratch, "words"):
        _scratch.words = np.empty(_STRETCH, np.uint32)
    wide: NDArray[np.uint32] = _scratch.words[: len(words)]
    np.copyto(wide, words)
    return wide


def _reduced(total: int) -> int:
    return (total * 256 - 1) % _MODULUS + 1
