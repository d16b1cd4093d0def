"""Where the chunks of a dataset lie, checked before HDF5 reads one: a forged chunk size makes libhdf5 crash."""

import math
from typing import Any

import numpy as np

from fewshot.core.arrays import IntArray
from fewshot.embeddings.store.hdf5_objects import FLETCHER32
from fewshot.embeddings.store.schema import CHECKSUM_BYTES

_LEAST_DEFLATED = 8  # bytes of a deflate stream; libhdf5 takes the checksum off before it looks whether there are any
_MOST_GROWTH = 2  # a filter that does not shrink a chunk adds a few bytes


def chunk_addresses(dataset: Any) -> IntArray | None:
    """Return (chunks,) int64: the byte each chunk begins at, in the order of the dataset's rows and columns.

    Args:
        dataset: an h5py dataset of at least one row, in chunks.

    Returns:
        None where a chunk is missing, lies outside the file, has another size than it must, or was written past its
        filters.
    """
    grid = [-(-length // chunk) for length, chunk in zip(dataset.shape, dataset.chunks, strict=True)]
    least, most = _sizes(dataset)
    end = dataset.file.id.get_filesize()
    addresses = np.full(math.prod(grid), -1, np.int64)
    sound = True

    def note(chunk: Any) -> None:
        nonlocal sound
        place = [divmod(start, length) for start, length in zip(chunk.chunk_offset, dataset.chunks, strict=True)]
        inside = all(rest == 0 and number < count for (number, rest), count in zip(place, grid, strict=True))
        whole = least <= chunk.size <= most and not chunk.filter_mask and 0 <= chunk.byte_offset <= end - chunk.size
        if inside and whole:
            addresses[np.ravel_multi_index([number for number, _ in place], grid)] = chunk.byte_offset
        else:
            sound = False

    dataset.id.chunk_iter(note)
    return addresses if sound and bool((addresses >= 0).all()) else None


def _sizes(dataset: Any) -> tuple[int, int]:
    """Return the least and the most bytes that a chunk may have on disk."""
    size = math.prod(dataset.chunks) * dataset.dtype.itemsize
    created = dataset.id.get_create_plist()
    filters = [created.get_filter(number)[0] for number in range(created.get_nfilters())]
    checksum = CHECKSUM_BYTES * filters.count(FLETCHER32)
    if set(filters) <= {FLETCHER32}:
        return size + checksum, size + checksum
    return _LEAST_DEFLATED + checksum, _MOST_GROWTH * size + checksum + 64
