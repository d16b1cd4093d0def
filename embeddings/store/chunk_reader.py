"""Read the row chunks of a layer directly, by several threads at once, every chunk's checksum verified.

A chunk on disk is its rows' bytes and four bytes of Fletcher-32 (``chunk_writer.py``), so it can be read straight into
its place. Layers that are laid out differently, by another writer, are read through HDF5.
"""

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from fewshot.core.arrays import IntArray
from fewshot.core.errors import StoreError
from fewshot.embeddings.store.chunk_index import chunk_addresses
from fewshot.embeddings.store.fletcher import fletcher32
from fewshot.embeddings.store.hdf5_objects import FLETCHER32
from fewshot.embeddings.store.manifest import chunk_digest
from fewshot.embeddings.store.schema import CHECKSUM_BYTES, unescape

_MOST_THREADS = 8

Target = Callable[[int], NDArray[Any] | None]  # where the rows of a chunk may go directly, None when nowhere
Put = Callable[[int, NDArray[Any]], None]  # copies the rows of a chunk that went nowhere directly


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

        def put(number: int, rows: NDArray[Any]) -> None:
            start = number * self.chunk_rows
            first, last = max(low, start), min(stop, start + self.chunk_rows)
            result[first - low : last - low] = rows[first - start : last - start]

        def target(number: int) -> NDArray[Any] | None:
            start = number * self.chunk_rows
            direct = result.dtype == self.dtype and low <= start and start + self.chunk_rows <= stop
            return result[start - low : start - low + self.chunk_rows] if direct else None

        self._each(chunks, put, target)
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

        def put(number: int, chunk: NDArray[Any]) -> None:
            some = slice(starts[number], stops[number])
            result[some] = chunk[rows[some] - number * self.chunk_rows]

        self._each(starts, put, lambda _: None)
        return result

    def _each(self, chunks: Iterable[int], put: Put, target: Target) -> None:
        """Read chunks on some threads."""
        numbers = list(chunks)
        threads = max(1, min(len(os.sched_getaffinity(0)), len(numbers) // 2, _MOST_THREADS))
        descriptor = os.open(self.path, os.O_RDONLY)
        try:
            if threads == 1:
                self._some(descriptor, numbers, put, target)
                return
            with ThreadPoolExecutor(threads) as pool:
                shares = [numbers[start::threads] for start in range(threads)]
                for done in [pool.submit(self._some, descriptor, share, put, target) for share in shares]:
                    done.result()
        finally:
            os.close(descriptor)

    def _some(self, descriptor: int, numbers: list[int], put: Put, target: Target) -> None:
        scratch = np.empty((self.chunk_rows, self.dimension), self.dtype)
        mark = np.empty(CHECKSUM_BYTES, np.uint8)
        for number in numbers:
            direct = target(number)
            rows = scratch if direct is None else direct
            content = rows.reshape(-1).view(np.uint8)
            got = os.preadv(descriptor, [content.data, mark.data], int(self.offsets[number]))
            if got != len(content) + CHECKSUM_BYTES or fletcher32(content) != int(mark.view("<u4")[0]):
                raise StoreError(
                    f"{self.path}: {_title(self.name)} is damaged: rows from {number * self.chunk_rows} do not have "
                    f"their checksum; restore the file or embed again"
                )
            if direct is None:
                put(number, rows)


def chunked_layer(dataset: Any, path: Path, *, recorded: str | None = None) -> ChunkedLayer | None:
    """Return where a dataset's chunks lie, None when another writer laid them out differently.

    Args:
        dataset: an h5py dataset (N, D), in chunks, of at least one row; path: its file.
        recorded: the digest of where the chunks must lie, None when it is not known.

    Raises:
        StoreError: a chunk is missing, or they lie elsewhere than recorded.
    """
    filters = dataset.id.get_create_plist()
    simple = (
        dataset.chunks[1] == dataset.shape[1]
        and filters.get_nfilters() == 1
        and filters.get_filter(0)[0] == FLETCHER32
        and dataset.dtype.isnative
        and dataset.chunks[0] * dataset.shape[1] * dataset.dtype.itemsize % 2 == 0
    )
    offsets = chunk_addresses(dataset)
    if offsets is None or (recorded is not None and chunk_digest(offsets) != recorded):
        raise StoreError(
            f"{path}: {_title(dataset.name)} is damaged: its rows do not lie where they were written; restore the file "
            f"or embed again"
        )
    if not simple:
        return None
    rows, dimension = dataset.shape
    return ChunkedLayer(path, dataset.name, rows, dimension, dataset.dtype, dataset.chunks[0], offsets)


def _title(name: str) -> str:
    """Return the layer of a dataset's path for a message."""
    backbone, layer = (unescape(part) for part in name.split("/")[-2:])
    return f"layer {layer!r} of {backbone!r}"
