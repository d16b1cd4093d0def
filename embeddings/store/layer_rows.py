"""Read rows of a layer in any order and number; whole chunks go straight to where they are wanted."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from fewshot.core.arrays import IntArray
from fewshot.core.errors import StoreError
from fewshot.embeddings.store.chunk_reader import chunked_layer
from fewshot.embeddings.store.layer_info import LayerInfo

_SPARSE = 4  # rows are read from their own chunks alone when they are fewer than one in so many of their span


def read_rows(dataset: Any, path: Path, rows: IntArray | None, *, dtype: DTypeLike) -> NDArray[Any]:
    """Return rows of an h5py dataset: (n, D) of ``dtype``, in the order of ``rows``; all when None.

    Args:
        dataset: (N, D); path: the file it lies in.
        rows: (n,) int64, in any order, repeats allowed.

    Raises:
        OSError: HDF5 cannot read a chunk.
        StoreError: a chunk does not have its checksum.
    """
    if dataset.shape[0] == 0 or (rows is not None and len(rows) == 0):
        return np.empty((0, dataset.shape[1]), dtype)
    chunks = chunked_layer(dataset, path)
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


def read_rows_into(out: NDArray[Any], dataset: Any, path: Path, rows: IntArray) -> None:
    """Put the same into ``out``: (n, D), contiguous; not copied again where rows follow each other."""
    chunks = chunked_layer(dataset, path)
    if chunks is not None and len(out) and bool((np.diff(rows) == 1).all()):
        chunks.read(dtype=out.dtype, low=int(rows[0]), high=int(rows[0]) + len(out), out=out)
    else:
        out[:] = read_rows(dataset, path, rows, dtype=out.dtype)


@contextmanager
def naming_damage(path: Path, info: LayerInfo) -> Iterator[None]:
    """Turn what HDF5 raises about a layer's chunks in the block into an error that names the layer.

    Raises:
        StoreError: the layer cannot be read.
    """
    try:
        yield
    except OSError as error:
        raise StoreError(
            f"{path}: layer {info.layer!r} of {info.backbone!r} is damaged ({error}); restore the file or embed again"
        ) from error
