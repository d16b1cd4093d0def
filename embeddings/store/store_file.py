"""The HDF5 file of one store, opened in every process that reads it, and its datasets, checked before they are read."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fewshot.core.errors import StoreError
from fewshot.embeddings.store.chunk_index import chunk_addresses
from fewshot.embeddings.store.chunk_reader import ChunkedLayer
from fewshot.embeddings.store.hdf5_objects import described_by_hdf5, refused
from fewshot.embeddings.store.layer_info import LayerInfo
from fewshot.embeddings.store.layer_rows import LayerDataset
from fewshot.embeddings.store.manifest import content_digest
from fewshot.embeddings.store.opening import open_file
from fewshot.embeddings.store.read_errors import naming_errors
from fewshot.embeddings.store.schema import features_path
from fewshot.embeddings.store.structure import StoreStructure, read_structure


@dataclass(frozen=True)
class _Checked:
    """What is known of a file in one state, and need not be found out again while it stays in it.

    Args:
        state: device, inode, bytes, time of change; structure: what was read in it.
        compared: paths of datasets that HDF5 was asked about.
        layouts: {path of a layer: where its chunks lie}, see ``LayerDataset``.
        masks: {path of a mask: its values}, which cannot be written to.
    """

    state: tuple[int, int, int, int]
    structure: StoreStructure
    compared: set[str] = field(default_factory=set)
    layouts: dict[str, ChunkedLayer | None] = field(default_factory=dict)
    masks: dict[str, NDArray[Any]] = field(default_factory=dict)


class StoreFile:
    """One store's file; nothing is opened before it is needed.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: Any = None
        self._pid = -1
        self._checked: _Checked | None = None

    def __getstate__(self) -> dict[str, Any]:
        return vars(StoreFile(self.path))

    @property
    def file(self) -> Any:
        """The open h5py file of this process, whose structure was checked."""
        if self._file is None or self._pid != os.getpid():
            file = open_file(self.path)
            try:
                self._check(file)
            except BaseException:
                file.close()
                raise
            self._file, self._pid = file, os.getpid()
        return self._file

    def _check(self, file: Any) -> None:
        """Check the structure, unless the very same file was checked before."""
        with naming_errors(self.path):
            status = self.path.stat()
        state = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
        if self._checked is None or self._checked.state != state:
            self._checked = _Checked(state, read_structure(file, self.path))

    @property
    def _known(self) -> _Checked:
        _ = self.file
        assert self._checked is not None
        return self._checked

    @property
    def structure(self) -> StoreStructure:
        """What the store holds, without its values."""
        return self._known.structure

    def close(self) -> None:
        """Close the file; the next read opens it again."""
        if self._file is not None and self._pid == os.getpid():
            self._file.close()
        self._file = None

    def dataset(self, path: str) -> Any:
        """Return an h5py dataset, which HDF5 sees as the structure describes it.

        Raises:
            StoreError: it is something else to HDF5.
        """
        found, known = self.file[path], self._known
        if path not in known.compared:
            seen = described_by_hdf5(found.id, self.path, path)
            if replace(known.structure.datasets[path], attributes={}) != seen:
                raise refused(self.path, f"{path} is described in two ways")
            known.compared.add(path)
        return found

    @contextmanager
    def reading(self, info: LayerInfo) -> Iterator[LayerDataset]:
        """Yield the dataset of a layer; what HDF5 raises in the block becomes an error that names the layer.

        Raises:
            StoreError: it cannot be read.
        """
        path = features_path(info.key)
        with naming_errors(self.path, f"layer {info.layer!r} of {info.backbone!r}"):
            known = self._known
            yield LayerDataset(self.dataset(path), self.path, known.structure.contents.get(path), known.layouts)

    def require_chunks(self, info: LayerInfo) -> None:
        """Raise unless the chunks of a layer are all there, and lie where they were written.

        Raises:
            StoreError: the message names the layer.
        """
        with self.reading(info) as layer:
            if layer.shape[0]:
                layer.chunks()

    def stored_values(self, path: str) -> NDArray[Any]:
        """Return the values of a dataset that is not a layer, without comparing them with their digest.

        Raises:
            StoreError: they cannot be read.
        """
        with naming_errors(self.path, path):
            dataset = self.dataset(path)
            if len(dataset) and chunk_addresses(dataset) is None:
                raise StoreError(
                    f"{self.path}: {path} is damaged: its values do not lie where they were written; restore the file "
                    f"from a copy, or embed again"
                )
            return np.asarray(dataset[:])

    def mask(self, path: str) -> NDArray[Any]:
        """Return a mask of /present as ``sealed_values`` does, read once: it is wanted with every row that is read."""
        masks = self._known.masks
        if path not in masks:
            masks[path] = self.sealed_values(path)
            masks[path].setflags(write=False)
        return masks[path]

    def sealed_values(self, path: str) -> NDArray[Any]:
        """Return the same, once they are known to be those that were sealed.

        Raises:
            StoreError: they cannot be read, or are others.
        """
        values = self.stored_values(path)
        recorded = self.structure.contents.get(path)
        if recorded is not None and content_digest(values) != recorded:
            raise StoreError(
                f"{self.path} is damaged: the values of {path} are not those that were sealed; restore it from a copy, "
                f"or embed again"
            )
        return values
