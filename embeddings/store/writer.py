"""Write one feature store: every dataset checksummed, the whole file under a temporary name until it is sealed."""

import errno
import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import h5py
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fewshot.core.arrays import BoolArray, FloatArray
from fewshot.core.errors import OutputError, StoreError
from fewshot.core.files import create_temporary, output_error, publish
from fewshot.core.provenance import provenance as core_provenance
from fewshot.embeddings.layer_key import CLEAN
from fewshot.embeddings.store.chunks import ChunkWriter
from fewshot.embeddings.store.schema import (
    COLUMNS,
    FORMAT,
    REQUIRED,
    VERSION,
    Column,
    chunk_rows,
    escape,
    feature_name,
    text_digest,
)

_NUMPY = {"bool": np.bool_, "uint64": np.uint64, "int64": np.int64}
_BLOCK_ROWS = 8192
_NO_WRITE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG, errno.EIO)


@dataclass(frozen=True)
class LayerData:
    """One layer of one backbone under one view, in memory.

    Args:
        features: (N, D) float32 or float16, one row per sample.
        present: (N,) bool; None when every row is there.
        normalised: whether the rows are already of unit length (imported archives); ours are raw.
        default: whether this is the backbone's default layer.
        provenance: JSON values: card, weights SHA-256, fingerprint of preprocessing and decoder, precision.
    """

    backbone: str
    layer: str
    features: FloatArray
    view: str = CLEAN
    present: BoolArray | None = None
    normalised: bool = False
    default: bool = False
    provenance: Mapping[str, Any] = field(default_factory=dict)


class SampleColumns(Protocol):
    """The samples of a store, handed out one column at a time so that millions of them need not lie in memory."""

    def __len__(self) -> int: ...

    @property
    def names(self) -> Sequence[str]:
        """The names of the columns."""
        ...

    def column(self, name: str) -> NDArray[Any]:
        """Return one column: (N,) numbers, Python text, or UTF-8 bytes (``S`` dtype)."""
        ...


@dataclass(frozen=True)
class FrameColumns:
    """The samples of a frame."""

    frame: pd.DataFrame

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def names(self) -> Sequence[str]:
        """The names of the columns."""
        return [str(name) for name in self.frame]

    def column(self, name: str) -> NDArray[Any]:
        """Return one column; missing values become empty text."""
        values = self.frame[name]
        if name in COLUMNS:
            return np.asarray(values, dtype=object)
        return np.asarray(["" if pd.isna(value) else str(value) for value in values], dtype=object)


class StoreWriter:
    """Builds a store under a temporary name and renames it when it is whole; use as a context manager, then ``seal``.

    Args:
        path: the final file; it is replaced only by ``seal``.
        samples: one row per image; columns of ``schema.COLUMNS``, any other column is kept as text.
        roots: the folders that the samples' paths are relative to.
    """

    def __init__(self, path: Path, samples: pd.DataFrame | SampleColumns, *, roots: Iterable[str] = ()) -> None:
        self.path = path
        self.samples = FrameColumns(samples) if isinstance(samples, pd.DataFrame) else samples
        self.roots = list(roots)
        self._digests: dict[str, str] = {}
        self._sample_digest = b""

    def __enter__(self) -> Self:
        for name in REQUIRED:
            if name not in self.samples.names:
                raise StoreError(f"{self.path}: the samples need a column {name!r}; there are {self.samples.names}")
        self._refuse_double_keys()
        try:
            self.temporary = create_temporary(self.path)
        except OSError as error:
            raise output_error(self.path, error) from error
        self.file = h5py.File(self.temporary, "w")
        try:
            self._sample_digest = self._write_samples()
        except BaseException as error:
            self.__exit__(type(error), error, error.__traceback__)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            return
        with suppress(OSError, RuntimeError):  # closing flushes, which fails again where there is no room
            self.file.close()
        with suppress(FileNotFoundError):
            self.temporary.unlink()
        if _is_writing_error(error):
            raise cannot_write(self.path, error) from error

    def _refuse_double_keys(self) -> None:
        every = self.samples.column("key")
        if len(set(every.tolist())) < len(every):
            keys, counts = np.unique(every, return_counts=True)
            key = keys[counts > 1][0]
            text = key.decode("utf-8", "surrogateescape") if isinstance(key, bytes) else key
            raise StoreError(f"{self.path}: two samples have the key {text!r}")

    def add(self, layer: LayerData) -> None:
        """Write one layer that lies in memory."""
        rows = len(self.samples)
        if layer.features.shape[0] != rows:
            raise StoreError(f"layer {layer.layer!r} has {layer.features.shape[0]} rows for {rows} samples")
        blocks = (layer.features[start : start + _BLOCK_ROWS] for start in range(0, rows, _BLOCK_ROWS))
        self.add_blocks(layer, blocks)

    def add_blocks(self, layer: LayerData, blocks: Iterable[NDArray[Any]]) -> None:
        """Write one layer block by block; ``layer.features`` then gives dimension and dtype only."""
        rows, dimension = len(self.samples), layer.features.shape[1]
        dtype = np.dtype(layer.features.dtype)
        present = np.ones(rows, bool) if layer.present is None else np.asarray(layer.present, bool)
        name = f"/features/{escape(layer.backbone)}/{feature_name(layer.layer, layer.view)}"
        dataset = self.file.create_dataset(
            name,
            (rows, dimension),
            dtype,
            chunks=(chunk_rows(dimension, dtype.itemsize, rows), dimension) if rows else None,
            fletcher32=rows > 0,
            fillvalue=np.nan,
        )
        digest = layer_digest(self._sample_digest, layer.backbone, layer.layer, layer.view, dtype.name, present)
        chunks = ChunkWriter(dataset) if rows else None
        start = 0
        with ThreadPoolExecutor(1, thread_name_prefix="fewshot-digest") as hashing:
            hashed = None
            for block in blocks:
                part = _with_absent(block, present[start : start + len(block)], dtype)
                hashed = hashing.submit(digest.update, part.reshape(-1).view(np.uint8).data)
                if chunks is not None:
                    chunks.append(part)
                start += len(part)
                hashed.result()
        if chunks is not None:
            chunks.finish()
        if start != rows:
            raise StoreError(f"layer {layer.layer!r} of {layer.backbone!r} ended after {start} of {rows} rows")
        self._describe(dataset, layer, digest.hexdigest())
        self._write_present(layer, present)

    def copy(self, source: Any, dataset: str, mask: str) -> None:
        """Copy a layer of another open store over the same samples as it lies there, chunk by chunk."""
        for name in (dataset, mask):
            if name not in self.file:
                self.file.require_group(name.rpartition("/")[0])
                source.copy(name, self.file, name=name)
        self._digests[dataset] = str(self.file[dataset].attrs["digest"])

    def seal(
        self, failed: pd.DataFrame | None = None, *, provenance: Mapping[str, Any] | None = None, brief: bool = False
    ) -> str:
        """Write failures and digest, flush everything to disk, and give the file its name; return the digest.

        Args:
            failed: columns key, backbone, view, reason.
            provenance: more to keep in the provenance; brief: leave versions and machine out, for parts of a store.
        """
        frame = failed if failed is not None else pd.DataFrame({})
        for name in ("key", "backbone", "view", "reason"):
            values = [str(value) for value in frame[name]] if name in frame else []
            _write_column(self.file, f"/failed/{name}", _on_disk(np.array(values, dtype=object), Column("text", "")))
        whole = store_digest(self._digests)
        self.file.attrs.update(
            {
                "format": FORMAT,
                "version": VERSION,
                "digest": whole,
                "samples_digest": self._sample_digest.hex(),
                "roots": json.dumps(self.roots),
                "provenance": json.dumps({**({} if brief else core_provenance()), **(provenance or {})}),
                "sealed": True,
            }
        )
        self.file.close()
        self._count_again()
        try:
            publish(self.temporary, self.path)
        except OSError as error:
            raise output_error(self.path, error) from error
        return whole

    def _count_again(self) -> None:
        """Open the closed file once more and count its rows, before it gets its name."""
        with h5py.File(self.temporary, "r") as file:
            for name in ("/samples/key", *self._digests):
                if file[name].shape[0] != len(self.samples):
                    raise StoreError(
                        f"{self.temporary}: {name} has {file[name].shape[0]} rows after writing {len(self.samples)}; "
                        f"the disk or file system is faulty, write elsewhere"
                    )

    def _write_samples(self) -> bytes:
        return sample_digest(self._written_columns())

    def _written_columns(self) -> Iterator[tuple[str, NDArray[Any]]]:
        """Write every column, and hand it on as it lies in the file."""
        names = set(self.samples.names)
        for name, column in COLUMNS.items():
            array = (
                _on_disk(self.samples.column(name), column) if name in names else _unknown(column, len(self.samples))
            )
            _write_column(self.file, f"/samples/{name}", array)
            yield name, array
        for name in sorted(names.difference(COLUMNS)):
            array = _on_disk(self.samples.column(name), Column("text", ""))
            _write_column(self.file, f"/samples/extra/{escape(name)}", array)
            yield name, array

    def _describe(self, dataset: Any, layer: LayerData, digest: str) -> None:
        dataset.attrs.update(
            {
                "normalised": layer.normalised,
                "default": layer.default,
                "facts": json.dumps(dict(layer.provenance), sort_keys=True),
                "digest": digest,
            }
        )
        self._digests[dataset.name] = digest

    def _write_present(self, layer: LayerData, present: BoolArray) -> None:
        name = f"/present/{feature_name(layer.backbone, layer.view)}"
        if name not in self.file:
            self.file.create_dataset(name, data=present, fletcher32=len(present) > 0, chunks=len(present) > 0 or None)
        elif not np.array_equal(self.file[name][:], present):
            raise StoreError(f"the layers of {layer.backbone!r} ({layer.view}) do not have the same rows")


def write_store(
    path: Path | str,
    samples: pd.DataFrame,
    layers: Iterable[LayerData],
    *,
    failed: pd.DataFrame | None = None,
    roots: Iterable[str] = (),
) -> str:
    """Write and seal a store from arrays; return its digest.

    Args:
        path: the file to make; an existing one is replaced when the new one is whole.
        samples: one row per image with at least ``key, source, synthetic``.
        layers: the features.

    Raises:
        StoreError: rows and samples do not fit.
        OutputError: the file cannot be written.
    """
    with StoreWriter(Path(path), samples, roots=roots) as writer:
        for layer in layers:
            writer.add(layer)
        return writer.seal(failed)


def _with_absent(block: NDArray[Any], present: BoolArray, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return a block in the layer's little-endian type, absent rows NaN; no copy where nothing changes."""
    part = np.ascontiguousarray(block, dtype=dtype.newbyteorder("<"))
    if not present.all():
        part = np.where(present[:, None], part, np.array(np.nan, dtype))
    return part


def sample_digest(columns: Iterable[tuple[str, NDArray[Any]]]) -> bytes:
    """Return the hash of the sample list.

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


def layer_digest(
    samples: bytes, backbone: str, layer: str, view: str, dtype: str, present: BoolArray
) -> "hashlib._Hash":
    """Return the hash of a layer up to its values, which are then added block by block."""
    digest = hashlib.sha256(samples)
    for text in (backbone, layer, view, dtype):
        digest.update(text.encode() + b"\0")
    digest.update(np.packbits(present).tobytes())
    return digest


def store_digest(layers: Mapping[str, str]) -> str:
    """Return the hash of the layers' digests: {dataset name: digest}."""
    return hashlib.sha256("".join(f"{name}={mark}\n" for name, mark in sorted(layers.items())).encode()).hexdigest()


def _unknown(column: Column, rows: int) -> NDArray[Any]:
    """Return a column of which nothing is known, as it lies in the file."""
    if column.kind == "text":
        return np.zeros(rows, "S1")
    return np.full(rows, column.missing, _NUMPY[column.kind])


def _on_disk(values: NDArray[Any], column: Column) -> NDArray[Any]:
    """Return a column as it lies in the file: numbers of the column's type, or UTF-8 bytes of one width."""
    if column.kind != "text":
        return values.astype(_NUMPY[column.kind])
    if values.dtype.kind == "S":
        return values
    written = [str(value) for value in values]
    try:
        return np.array(written, dtype="S")  # fast, and for ASCII alone
    except UnicodeEncodeError:
        return np.array([text.encode("utf-8", "surrogateescape") for text in written], dtype="S")


def _write_column(file: Any, name: str, array: NDArray[Any]) -> None:
    checked = len(array) > 0
    file.create_dataset(name, data=array, fletcher32=checked, chunks=checked or None)


def _column_digest(array: NDArray[Any], column: Column) -> bytes:
    return text_digest(array) if column.kind == "text" else hashlib.sha256(array.tobytes()).digest()


def cannot_write(path: Path, error: BaseException | None) -> OutputError:
    """Return the error for a store that cannot be written; HDF5 names the system's error in its own text."""
    number = _errno(error)
    return output_error(path, OSError(number, os.strerror(number)) if number else OSError(str(error)))


def _is_writing_error(error: BaseException | None) -> bool:
    """Whether the disk refused a write; HDF5 raises RuntimeError, not OSError, when closing fails."""
    return isinstance(error, (OSError, RuntimeError)) and ("write failed" in str(error) or _errno(error) in _NO_WRITE)


def _errno(error: BaseException | None) -> int | None:
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    found = re.search(r"errno = (\d+)", str(error))
    return int(found[1]) if found else None
