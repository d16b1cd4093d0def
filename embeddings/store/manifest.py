"""The manifest of a sealed store: one hash over all that no digest of samples and layers covers.

``contents`` says of every dataset but the features which values it holds, and of every layer at which bytes its chunks
lie; ``manifest`` is the hash of every group, dataset, shape, type, filter and attribute, ``contents`` among them. Both
are attributes of the root. Reading them needs no values, so that opening a store takes the same time for any number of
rows.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fewshot.core.arrays import IntArray
from fewshot.embeddings.store.hdf5_objects import Attribute, StoredDataset

_OWN = "manifest"


def manifest_digest(root: Mapping[str, Attribute], datasets: Mapping[str, StoredDataset]) -> str:
    """Return the SHA-256 of everything in a store but values: 64 hex digits.

    Args:
        root: the attributes of ``/``; the manifest itself is left out.
        datasets: {path: what it is}.
    """
    described = {
        path: [each.kind, each.itemsize, each.shape, each.chunks, each.filters, each.attributes]
        for path, each in datasets.items()
    }
    whole = [{name: value for name, value in root.items() if name != _OWN}, described]
    return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()


def content_digest(values: NDArray[Any]) -> str:
    """Return the SHA-256 of a dataset's values as they lie in the file: 64 hex digits."""
    return hashlib.sha256(np.ascontiguousarray(values).reshape(-1).view(np.uint8).data).hexdigest()


def chunk_digest(addresses: IntArray) -> str:
    """Return the SHA-256 of where a layer's chunks lie: (chunks,) int64 byte addresses; 64 hex digits."""
    return hashlib.sha256(addresses.astype("<i8").tobytes()).hexdigest()
