"""The hashes that pin a store: of its sample list, of each layer, and of all layers together."""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fewshot.core.arrays import BoolArray
from fewshot.embeddings.layer_key import LayerKey
from fewshot.embeddings.store.schema import COLUMNS, Column

_BLOCK_ROWS = 4096


def sample_digest(columns: Iterable[tuple[str, NDArray[Any]]]) -> bytes:
    """Return the SHA-256 of the sample list.

    Args:
        columns: (name, values as in the file): the built-in ones in the schema's order, then the others sorted.
    """
    digest = hashlib.sha256()
    for name, array in columns:
        if name not in COLUMNS:
            digest.update(f"extra {name}".encode() + b"\0" + text_digest(array))
        elif COLUMNS[name].digested:
            digest.update(name.encode() + b"\0" + _column_digest(array, COLUMNS[name]))
    return digest.digest()


def layer_digest(samples: bytes, key: LayerKey, dtype: str, present: BoolArray) -> "hashlib._Hash":
    """Return the hash of a layer up to its values, which are then added block by block.

    Args:
        samples: the digest of the sample list.
        key: which layer; dtype: of its values.
        present: (N,) bool, which rows are there.
    """
    digest = hashlib.sha256(samples)
    for text in (key.backbone, key.layer, key.view, dtype):
        digest.update(text.encode() + b"\0")
    digest.update(np.packbits(present).tobytes())
    return digest


def store_digest(layers: Mapping[str, str]) -> str:
    """Return the hash of the layers' digests: {dataset name: digest}."""
    return hashlib.sha256("".join(f"{name}={mark}\n" for name, mark in sorted(layers.items())).encode()).hexdigest()


def text_digest(values: NDArray[Any]) -> bytes:
    """Return the SHA-256 of a text column of UTF-8 bytes (``S`` dtype), each value closed by a zero byte.

    A value ends with its last byte that is not zero, as NumPy reads it.
    """
    digest = hashlib.sha256()
    width = values.dtype.itemsize
    for start in range(0, len(values), _BLOCK_ROWS):
        block = np.ascontiguousarray(values[start : start + _BLOCK_ROWS])
        closed = np.zeros((len(block), width + 1), np.uint8)
        closed[:, :width] = block.view(np.uint8).reshape(len(block), width)
        digest.update(closed[np.arange(width + 1) <= np.strings.str_len(block)[:, None]].data)
    return digest.digest()


def _column_digest(array: NDArray[Any], column: Column) -> bytes:
    return text_digest(array) if column.kind == "text" else hashlib.sha256(array.tobytes()).digest()
