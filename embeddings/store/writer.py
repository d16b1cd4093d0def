"""Write one feature store: every dataset checksummed, the whole file under a temporary name until it is sealed."""

import json
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from fewshot.core.arrays import BoolArray
from fewshot.core.errors import StoreError
from fewshot.core.files import create_temporary, output_error, publish, require_room
from fewshot.core.provenance import provenance as run_provenance
from fewshot.embeddings.layer_key import LayerKey
from fewshot.embeddings.store.chunk_index import chunk_addresses
from fewshot.embeddings.store.chunk_writer import ChunkWriter
from fewshot.embeddings.store.digests import layer_digest, sample_digest, store_digest
from fewshot.embeddings.store.failures import Failure
from fewshot.embeddings.store.hdf5_objects import open_hdf5
from fewshot.embeddings.store.layer_data import LayerData as LayerData
from fewshot.embeddings.store.layer_data import LayerHeader as LayerHeader
from fewshot.embeddings.store.manifest import chunk_digest, content_digest
from fewshot.embeddings.store.opening import open_file
from fewshot.embeddings.store.read_errors import naming_errors
from fewshot.embeddings.store.reader import FeatureStore
from fewshot.embeddings.store.sample_columns import FrameColumns, SampleColumns, stored_columns, stored_text
from fewshot.embeddings.store.schema import (
    FORMAT,
    REQUIRED,
    VERSION,
    chunk_rows,
    column_path,
    features_path,
    present_path,
)
from fewshot.embeddings.store.structure import manifest_of, read_structure
from fewshot.embeddings.store.write_errors import cannot_write, is_write_error

if TYPE_CHECKING:
    import pandas as pd

_BLOCK_ROWS = 8192
_OVERHEAD_BYTES, _ROW_BYTES = 1 << 17, 64  # of HDF5 itself, and of the columns of a sample: a low estimate
_FAULTY_DISK = "the disk or file system is faulty, write elsewhere"


class StoreWriter:
    """Builds a store under a temporary name and renames it when it is whole; use as a context manager, then ``seal``.

    Args:
        path: the final file; it is replaced only by ``seal``.
        samples: one row per image; columns of ``schema.COLUMNS``, any other column is kept as text.
        roots: the folders that the samples' paths are relative to.
    """

    def __init__(self, path: Path, samples: SampleColumns, *, roots: Iterable[str] = ()) -> None:
        self.path = path
        self.samples = samples
        self.roots = list(roots)
        self.file: Any = None
        self._temporary = path
        self._sealed = False
        self._digests: dict[str, str] = {}
        self._contents: dict[str, str] = {}
        self._sample_digest = b""

    def __enter__(self) -> Self:
        self._require_columns()
        self._refuse_double_keys()
        try:
            require_room(self.path.parent, _OVERHEAD_BYTES + _ROW_BYTES * len(self.samples))
            self._temporary = create_temporary(self.path)
        except OSError as error:
            raise output_error(self.path, error) from error
        try:
            self.file = open_hdf5(self._temporary, "w")
            self._sample_digest = sample_digest(self._written_columns())
        except BaseException as error:
            self.__exit__(type(error), error, error.__traceback__)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._sealed:
            with suppress(OSError, RuntimeError):  # closing flushes, which fails again where there is no room
                if self.file is not None:
                    self.file.close()
            self._temporary.unlink(missing_ok=True)
        if is_write_error(error):
            raise cannot_write(self.path, error) from error

    def add(self, layer: LayerData) -> None:
        """Write one layer that lies in memory."""
        rows = len(self.samples)
        if layer.features.shape[0] != rows:
            raise StoreError(f"layer {layer.layer!r} has {layer.features.shape[0]} rows for {rows} samples")
        blocks = (layer.features[start : start + _BLOCK_ROWS] for start in range(0, rows, _BLOCK_ROWS))
        self.add_blocks(layer.header, blocks)

    def add_blocks(self, header: LayerHeader, blocks: Iterable[NDArray[Any]]) -> None:
        """Write one layer block by block: (n, D) each, in the order of the samples."""
        rows, dtype = len(self.samples), np.dtype(header.dtype)
        self._require_room(rows * header.dimension * dtype.itemsize)
        dataset = self._dataset(header)
        present = np.ones(rows, bool) if header.present is None else np.asarray(header.present, bool)
        digest = layer_digest(self._sample_digest, header.key, dtype.name, present)
        written = self._write_blocks(dataset, _with_absent_rows(blocks, present, dtype), digest)
        if written != rows:
            raise StoreError(
                f"layer {header.key.layer!r} of {header.key.backbone!r} ended after {written} of {rows} rows"
            )
        self._describe(dataset, header, digest.hexdigest())
        self._write_present(header.key, present)

    def copy(self, source: FeatureStore, key: LayerKey, present: BoolArray) -> None:
        """Copy a layer of another store over the same samples as it lies there, chunk by chunk.

        Args:
            source: the other store; key: which layer.
            present: (N,) bool, which rows it has.

        Raises:
            StoreError: the layer cannot be read, or its chunks do not lie where they were written.
        """
        name = features_path(key)
        info = source.info(key.backbone, key.layer, view=key.view)
        source.storage.require_chunks(info)
        with naming_errors(source.path, f"layer {key.layer!r} of {key.backbone!r}"):
            self.file.require_group(name.rpartition("/")[0])
            source.file.copy(name, self.file, name=name)
        self._digests[name] = info.digest
        self._write_present(key, present)

    def seal(self, failures: Iterable[Failure] = (), *, provenance: Mapping[str, Any] | None = None) -> str:
        """Write failures and digest, flush everything to disk, and give the file its name; return the digest.

        Args:
            failures: images, or single features of them, that are missing.
            provenance: JSON values: how the store was made.
        """
        listed = list(failures)
        for name in (each.name for each in fields(Failure)):
            self._write_column(f"/failed/{name}", stored_text([getattr(failure, name) for failure in listed]))
        whole = store_digest(self._digests)
        self._note_chunks()
        self.file.attrs.update(
            {
                "format": FORMAT,
                "version": VERSION,
                "digest": whole,
                "samples_digest": self._sample_digest.hex(),
                "roots": json.dumps(self.roots),
                "provenance": json.dumps(dict(provenance or {})),
                "contents": json.dumps(self._contents, sort_keys=True),
                "sealed": True,
            }
        )
        self.file.attrs["manifest"] = manifest_of(self.file, self._temporary)
        self.file.close()
        self._check_again()
        try:
            publish(self._temporary, self.path)
        except OSError as error:
            raise output_error(self.path, error) from error
        self._sealed = True
        return whole

    def _require_room(self, size: int) -> None:
        """Raise before HDF5 is told to write what cannot be written: it would crash when it closes the file."""
        try:
            require_room(self.path.parent, _OVERHEAD_BYTES + size, beside=self._temporary.stat().st_size)
        except OSError as error:
            raise output_error(self.path, error) from error

    # -- samples -------------------------------------------------------------------------------------------------------

    def _require_columns(self) -> None:
        for name in REQUIRED:
            if name not in self.samples.names:
                raise StoreError(f"{self.path}: the samples need a column {name!r}; there are {self.samples.names}")

    def _refuse_double_keys(self) -> None:
        every = self.samples.column("key")
        if len(set(every.tolist())) < len(every):
            keys, counts = np.unique(every, return_counts=True)
            key = keys[counts > 1][0]
            text = key.decode("utf-8", "surrogateescape") if isinstance(key, bytes) else key
            raise StoreError(f"{self.path}: two samples have the key {text!r}")

    def _written_columns(self) -> Iterator[tuple[str, NDArray[Any]]]:
        """Write every column, and hand it on as it lies in the file."""
        for name, array in stored_columns(self.samples):
            self._write_column(column_path(name), array)
            yield name, array

    def _write_column(self, name: str, array: NDArray[Any]) -> None:
        checked = len(array) > 0
        self.file.create_dataset(name, data=array, fletcher32=checked, chunks=checked or None)
        self._contents[name] = content_digest(array)

    # -- layers --------------------------------------------------------------------------------------------------------

    def _dataset(self, header: LayerHeader) -> Any:
        rows, dimension, dtype = len(self.samples), header.dimension, np.dtype(header.dtype)
        return self.file.create_dataset(
            features_path(header.key),
            (rows, dimension),
            dtype,
            chunks=(chunk_rows(dimension, dtype.itemsize, rows), dimension) if rows else None,
            fletcher32=rows > 0,
            fillvalue=np.nan,
        )

    def _write_blocks(self, dataset: Any, blocks: Iterable[NDArray[Any]], digest: Any) -> int:
        """Write and hash blocks, a thread hashing one while it is written; return the number of rows."""
        chunks = ChunkWriter(dataset) if len(self.samples) else None
        written = 0
        with ThreadPoolExecutor(1, thread_name_prefix="fewshot-digest") as hashing:
            for block in blocks:
                hashed = hashing.submit(digest.update, block.reshape(-1).view(np.uint8).data)
                if chunks is not None:
                    chunks.append(block)
                written += len(block)
                hashed.result()
        if chunks is not None:
            chunks.finish()
        return written

    def _describe(self, dataset: Any, header: LayerHeader, digest: str) -> None:
        dataset.attrs.update(
            {
                "normalised": header.normalised,
                "default": header.default,
                "facts": json.dumps(dict(header.provenance), sort_keys=True),  # the attribute's name since version 1
                "digest": digest,
            }
        )
        self._digests[dataset.name] = digest

    def _write_present(self, key: LayerKey, present: BoolArray) -> None:
        name = present_path(key)
        if name not in self.file:
            self._write_column(name, present)
        elif not np.array_equal(self.file[name][:], present):
            raise StoreError(f"the layers of {key.backbone!r} ({key.view}) do not have the same rows")

    def _note_chunks(self) -> None:
        """Note where the chunks of every layer lie."""
        for name in self._digests:
            addresses = chunk_addresses(self.file[name]) if len(self.samples) else np.empty(0, np.int64)
            if addresses is None:
                raise StoreError(f"{self._temporary}: {name} lacks rows after writing; {_FAULTY_DISK}")
            self._contents[name] = chunk_digest(addresses)

    def _check_again(self) -> None:
        """Open the closed file once more and check all but its values, before it gets its name."""
        with open_file(self._temporary) as file:
            structure = read_structure(file, self._temporary)
            addresses = {name: chunk_addresses(file[name]) for name in self._digests if structure.rows}
        moved = [
            name for name, found in addresses.items() if found is None or chunk_digest(found) != self._contents[name]
        ]
        if structure.rows != len(self.samples) or moved:
            raise StoreError(
                f"{self._temporary} has {structure.rows} rows after writing {len(self.samples)}"
                f"{''.join(f', and {name} is incomplete' for name in moved)}; {_FAULTY_DISK}"
            )


def write_store(
    path: Path | str,
    samples: "pd.DataFrame",
    layers: Iterable[LayerData],
    *,
    failures: Iterable[Failure] = (),
    roots: Iterable[str] = (),
) -> str:
    """Write and seal a store from arrays; return its digest.

    Args:
        path: the file to make; an existing one is replaced when the new one is whole.
        samples: one row per image with at least ``key, source, synthetic``.
        layers: the features.
        failures: images, or single features of them, that are missing.
        roots: the folders that the samples' paths are relative to.

    Raises:
        StoreError: rows and samples do not fit.
        OutputError: the file cannot be written.
    """
    with StoreWriter(Path(path), FrameColumns(samples), roots=roots) as writer:
        for layer in layers:
            writer.add(layer)
        return writer.seal(failures, provenance=run_provenance())


def _with_absent_rows(
    blocks: Iterable[NDArray[Any]], present: BoolArray, dtype: np.dtype[Any]
) -> Iterator[NDArray[Any]]:
    """Yield blocks in the layer's little-endian type, absent rows NaN; no copy where nothing changes."""
    start = 0
    for block in blocks:
        there = present[start : start + len(block)]
        part = np.ascontiguousarray(block, dtype=dtype.newbyteorder("<"))
        yield part if there.all() else np.where(there[:, None], part, np.array(np.nan, dtype))
        start += len(block)
