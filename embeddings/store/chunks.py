"""Write and read the row chunks of a layer directly, with HDF5's own checksum computed and verified here.

HDF5 pipes every chunk through its cache and filters on one thread and under one lock. A layer's chunks hold whole rows
and carry one filter, Fletcher-32, so that a chunk on disk is its rows' bytes and four bytes of checksum: they can be
read into their place by several threads at once, and written without another copy. Any HDF5 library reads the result.
"""

import os
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from fewshot.core.arrays import IntArray
from fewshot.core.errors import StoreError
from fewshot.embeddings.store.fletcher import fletcher32
from fewshot.embeddings.store.schema import unescape

_CHECKSUM_BYTES = 4
_SYNC_BYTES = 32 << 20
_FLETCHER32 = 3  # H5Z_FILTER_FLETCHER32


class ChunkWriter:
    """Writes the rows of one layer in order, chunk by chunk; the disk is kept busy meanwhile.

    Args:
        dataset: an h5py dataset (rows, D), chunked by whole rows, with Fletcher-32 as its only filter.
    """

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset
        rows, dimension = dataset.chunks
        self._bytes = np.empty(rows * dimension * dataset.dtype.itemsize + _CHECKSUM_BYTES, np.uint8)
        self._chunk = self._bytes[:-_CHECKSUM_BYTES].view(dataset.dtype).reshape(rows, dimension)
        self._start = self._filled = 0
        self._early = EarlySync(Path(dataset.file.filename))

    def append(self, block: NDArray[Any]) -> None:
        """Write some more rows: (n, D) of the dataset's type."""
        place = 0
        while place < len(block):
            count = min(len(self._chunk) - self._filled, len(block) - place)
            self._chunk[self._filled : self._filled + count] = block[place : place + count]
            self._filled += count
            place += count
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
        mark = fletcher32(self._bytes[:-_CHECKSUM_BYTES])
        self._bytes[-_CHECKSUM_BYTES:] = np.frombuffer(mark.to_bytes(_CHECKSUM_BYTES, "little"), np.uint8)
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
        """Wait for the thread; raise what it met, which the system tells only once."""
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


@dataclass(frozen=True)
class ChunkedLayer:
    """Where the chunks of one layer lie in its file.

    Args:
        path: the file; name: of the layer, for messages.
        rows, dimension, dtype: of the layer; chunk_rows: of a chunk.
        offsets: (chunks,) int64, the byte each chunk begins at.
    """

    path: Path
    name: str
    rows: int
    dimension: int
    dtype: np.dtype[Any]
    chunk_rows: int
    offsets: IntArray

    @property
    def _spoken(self) -> str:
        """The layer for a message."""
        backbone, layer = (unescape(part) for part in self.name.split("/")[-2:])
        return f"layer {layer!r} of {backbone!r}"

    def read(
        self, *, dtype: DTypeLike, low: int = 0, high: int | None = None, out: NDArray[Any] | None = None
    ) -> NDArray[Any]:
        """Return rows low..high: (high - low, D) of ``dtype``, every chunk's checksum verified.

        Args:
            out: contiguous, of that shape and type: where they are put; a new array when None.

        Raises:
            StoreError: a chunk's bytes do not have its checksum.
        """
        stop = self.rows if high is None else high
        result = np.empty((stop - low, self.dimension), dtype) if out is None else out
        chunks = range(low // self.chunk_rows, -(-stop // self.chunk_rows))

        def place(number: int, rows: NDArray[Any]) -> None:
            start = number * self.chunk_rows
            first, last = max(low, start), min(stop, start + self.chunk_rows)
            result[first - low : last - low] = rows[first - start : last - start]

        def whole(number: int) -> NDArray[Any] | None:
            start = number * self.chunk_rows
            direct = result.dtype == self.dtype and low <= start and start + self.chunk_rows <= stop
            return result[start - low : start - low + self.chunk_rows] if direct else None

        self._each(chunks, place, whole)
        return result

    def take(self, rows: IntArray, *, dtype: DTypeLike) -> NDArray[Any]:
        """Return ascending distinct rows: (n, D) of ``dtype``; only the chunks that hold them are read.

        Raises:
            StoreError: a chunk's bytes do not have its checksum.
        """
        result = np.empty((len(rows), self.dimension), dtype)
        of_chunk = rows // self.chunk_rows
        edges = np.searchsorted(of_chunk, [number for number, _ in groupby(of_chunk.tolist())])
        starts = dict(zip(of_chunk[edges].tolist(), edges.tolist(), strict=True))
        stops = dict(zip(of_chunk[edges].tolist(), [*edges[1:].tolist(), len(rows)], strict=True))

        def place(number: int, chunk: NDArray[Any]) -> None:
            some = slice(starts[number], stops[number])
            result[some] = chunk[rows[some] - number * self.chunk_rows]

        self._each(starts, place, lambda _: None)
        return result

    def _each(self, chunks: Iterable[int], place: Any, whole: Any) -> None:
        """Read chunks on some threads; ``whole(number)`` is where a chunk may go directly, else ``place`` copies it."""
        numbers = list(chunks)
        threads = max(1, min(len(os.sched_getaffinity(0)), len(numbers) // 2, 8))
        descriptor = os.open(self.path, os.O_RDONLY)
        try:
            if threads == 1:
                self._some(descriptor, numbers, place, whole)
                return
            with ThreadPoolExecutor(threads) as pool:
                shares = [numbers[start::threads] for start in range(threads)]
                for done in [pool.submit(self._some, descriptor, share, place, whole) for share in shares]:
                    done.result()
        finally:
            os.close(descriptor)

    def _some(self, descriptor: int, numbers: list[int], place: Any, whole: Any) -> None:
        scratch = np.empty((self.chunk_rows, self.dimension), self.dtype)
        mark = np.empty(_CHECKSUM_BYTES, np.uint8)
        for number in numbers:
            target = whole(number)
            rows = scratch if target is None else target
            content = rows.reshape(-1).view(np.uint8)
            got = os.preadv(descriptor, [content.data, mark.data], int(self.offsets[number]))
            if got != len(content) + _CHECKSUM_BYTES or fletcher32(content) != int(mark.view("<u4")[0]):
                raise StoreError(
                    f"{self.path}: {self._spoken} is damaged: rows from {number * self.chunk_rows} do not have their "
                    f"checksum; restore the file or embed again"
                )
            if target is None:
                place(number, rows)


def chunked_layer(dataset: Any, path: Path) -> ChunkedLayer | None:
    """Return where a dataset's chunks lie, None when they are laid out otherwise than this writer does."""
    filters = dataset.id.get_create_plist()
    simple = (
        dataset.chunks is not None
        and dataset.chunks[1] == dataset.shape[1]
        and filters.get_nfilters() == 1
        and filters.get_filter(0)[0] == _FLETCHER32
        and dataset.dtype.isnative
        and dataset.chunks[0] * dataset.shape[1] * dataset.dtype.itemsize % 2 == 0
    )
    if not simple:
        return None
    count = -(-dataset.shape[0] // dataset.chunks[0])
    offsets = np.full(count, -1, np.int64)
    masks = []

    def note(chunk: Any) -> None:
        offsets[chunk.chunk_offset[0] // dataset.chunks[0]] = chunk.byte_offset
        masks.append(chunk.filter_mask)

    dataset.id.chunk_iter(note)
    if (offsets < 0).any() or any(masks):
        return None
    rows, dimension = dataset.shape
    return ChunkedLayer(path, dataset.name, rows, dimension, dataset.dtype, dataset.chunks[0], offsets)
