"""Read rows of a layer in any order and number; whole chunks go straight to where they are wanted."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from fewshot.core.arrays import IntArray
from fewshot.embeddings.store.chunk_reader import ChunkedLayer, chunked_layer

_SPARSE = 4  # rows are read from their own chunks alone when they are fewer than one in so many of their span


@dataclass(frozen=True)
class LayerDataset:
    """The dataset of one layer.

    Args:
        dataset: an h5py dataset (N, D); path: the file it lies in.
        chunk_digest: of where its chunks must lie, None in stores that do not record it.
        layouts: {path of a layer in the file: where its chunks lie}, filled as layers are looked at.
    """

    dataset: Any
    path: Path
    chunk_digest: str | None
    layouts: dict[str, ChunkedLayer | None]

    @property
    def shape(self) -> tuple[int, int]:
        """(N, D)."""
        rows, dimension = self.dataset.shape
        return rows, dimension

    def chunks(self) -> ChunkedLayer | None:
        """Return where its chunks lie; None when another writer laid them out differently."""
        name = self.dataset.name
        if name not in self.layouts:
            self.layouts[name] = chunked_layer(self.dataset, self.path, recorded=self.chunk_digest)
        return self.layouts[name]


def read_rows(layer: LayerDataset, rows: IntArray | None, *, dtype: DTypeLike) -> NDArray[Any]:
    """Return rows of a layer: (n, D) of ``dtype``, in the order of ``rows``; all when None.

    Args:
        layer: where it lies.
        rows: (n,) int64, in any order, repeats allowed.

    Raises:
        OSError: HDF5 cannot read a chunk.
        StoreError: a chunk does not have its checksum.
    """
    dataset = layer.dataset
    if layer.shape[0] == 0 or (rows is not None and len(rows) == 0):
        return np.empty((0, layer.shape[1]), dtype)
    chunks = layer.chunks()
    if rows is None:
        return np.asarray(dataset[:], dtype=dtype) if chunks is None else chunks.read(dtype=dtype)
    low, high = int(rows.min()), int(rows.max()) + 1
    if len(rows) * _SPARSE >= high - low:
        block = dataset[low:high] if chunks is None else chunks.read(dtype=dtype, low=low, high=high)
        in_order = len(rows) == high - low and bool((rows[1:] > rows[:-1]).all())
        return np.asarray(block if in_order else block[rows - low], dtype=dtype)
    unique, inverse = np.unique(rows, return_inverse=True)
    found = dataset[unique] if chunks is None else chunks.take(unique, dtype=dtype)
    return np.asarray(found[inverse], dtype=dtype)


def read_rows_into(out: NDArray[Any], layer: LayerDataset, rows: IntArray) -> None:
    """Put the same into ``out``: (n, D), contiguous; not copied again where rows follow each other."""
    chunks = layer.chunks()
    if chunks is not None and len(out) and bool((np.diff(rows) == 1).all()):
        chunks.read(dtype=out.dtype, low=int(rows[0]), high=int(rows[0]) + len(out), out=out)
    else:
        out[:] = read_rows(layer, rows, dtype=out.dtype)
