"""Write the row chunks of a layer directly, each with HDF5's own checksum computed here, and keep the disk busy.

HDF5 pipes every chunk through its cache and filters on one thread and under one lock. A layer's chunks hold whole rows
and carry one filter, Fletcher-32, so that a chunk on disk is its rows' bytes and four bytes of checksum: they are
written without another copy. Any HDF5 library reads the result.
"""

import os
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fewshot.embeddings.store.fletcher import fletcher32
from fewshot.embeddings.store.schema import CHECKSUM_BYTES

_SYNC_BYTES = 32 << 20


class ChunkWriter:
    """Writes the rows of one layer in order, chunk by chunk; the disk is kept busy meanwhile.

    Args:
        dataset: an h5py dataset (rows, D), chunked by whole rows, with Fletcher-32 as its only filter.
    """

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset
        rows, dimension = dataset.chunks
        self._bytes = np.empty(rows * dimension * dataset.dtype.itemsize + CHECKSUM_BYTES, np.uint8)
        self._chunk = self._bytes[:-CHECKSUM_BYTES].view(dataset.dtype).reshape(rows, dimension)
        self._start = self._filled = 0
        self._early = EarlySync(Path(dataset.file.filename))

    def append(self, block: NDArray[Any]) -> None:
        """Write some more rows: (n, D) of the dataset's type."""
        taken = 0
        while taken < len(block):
            count = min(len(self._chunk) - self._filled, len(block) - taken)
            self._chunk[self._filled : self._filled + count] = block[taken : taken + count]
            self._filled += count
            taken += count
            if self._filled == len(self._chunk):
                self._flush()

    def finish(self) -> None:
        """Write the last chunk, filled up with NaN.

        Raises:
            OSError: the disk refused what was written.
        """
        if self._filled:
            self._chunk[self._filled :] = np.nan
            self._flush()
        self._early.finish()

    def _flush(self) -> None:
        mark = fletcher32(self._bytes[:-CHECKSUM_BYTES])
        self._bytes[-CHECKSUM_BYTES:] = np.frombuffer(mark.to_bytes(CHECKSUM_BYTES, "little"), np.uint8)
        self.dataset.id.write_direct_chunk((self._start, 0), self._bytes)
        self._start += len(self._chunk)
        self._filled = 0
        self._early.written(len(self._bytes))


class EarlySync:
    """Asks for a file's bytes to go to the disk while more of them are made, so that the last sync has little to do.

    Args:
        path: the file, which some other descriptor writes.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._waiting = 0
        self._pool: ThreadPoolExecutor | None = None
        self._syncing: Future[None] | None = None

    def written(self, count: int) -> None:
        """Note that so many bytes were written; every 32 MiB a thread syncs them, one at a time."""
        self._waiting += count
        if self._waiting < _SYNC_BYTES or (self._syncing is not None and not self._syncing.done()):
            return
        self._settle()
        self._pool = self._pool or ThreadPoolExecutor(1, thread_name_prefix="fewshot-sync")
        self._syncing = self._pool.submit(_sync, self.path)
        self._waiting = 0

    def finish(self) -> None:
        """Wait for the thread; raise its error, which the system reports only once."""
        if self._pool is not None:
            self._pool.shutdown()
        self._settle()

    def _settle(self) -> None:
        if self._syncing is not None:
            self._syncing.result()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fdatasync(descriptor)
    finally:
        os.close(descriptor)
