"""Read one sealed feature store: samples, and the features of any backbone, layer and view."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import h5py
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fewshot.core.arrays import BoolArray, Float32Array, IntArray
from fewshot.core.errors import InputError, StoreError, unknown_name
from fewshot.embeddings.layer_key import CLEAN, LOGIT
from fewshot.embeddings.store.chunks import chunked_layer
from fewshot.embeddings.store.schema import COLUMNS, FORMAT, VERSION, escape, feature_name, split_name, unescape


@dataclass(frozen=True)
class LayerInfo:
    """What a store says of one layer: its place, size and how it was made."""

    backbone: str
    layer: str
    view: str
    dimension: int
    dtype: str
    digest: str
    normalised: bool
    default: bool
    provenance: Mapping[str, Any]


class FeatureStore:
    """A read-only view of one sealed HDF5 file: features of many backbones over one list of images.

    The file is opened again in every process that reads it (an HDF5 handle must not cross a fork).

    Raises:
        StoreError: no such file, not a store, not sealed, or of a newer version.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._file: Any = None
        self._pid = -1
        self._check()

    @property
    def file(self) -> Any:
        """The open HDF5 file of this process."""
        if self._file is None or self._pid != os.getpid():
            self._file, self._pid = h5py.File(self.path, "r"), os.getpid()
        return self._file

    def close(self) -> None:
        """Close the file; the next read opens it again."""
        if self._file is not None and self._pid == os.getpid():
            self._file.close()
        self._file = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "_file": None, "_pid": -1}

    def __len__(self) -> int:
        return int(self.file["/samples/key"].shape[0])

    def __repr__(self) -> str:
        return f"FeatureStore({str(self.path)!r}: {len(self)} images, {len(self.backbones)} backbones)"

    def _check(self) -> None:
        if not self.path.is_file():
            parts = self.path.with_name(self.path.name + ".parts")
            if parts.is_dir():
                raise StoreError(f"{self.path} is not finished; run the same `fewshot embed ... -o {self.path}` again")
            raise StoreError(f"there is no store {self.path}; make it with `fewshot embed ROOT -b NAME -o {self.path}`")
        try:
            attributes = dict(self.file.attrs)
        except OSError as error:
            raise StoreError(
                f"{self.path} cannot be read as HDF5 ({error}); make it again with `fewshot embed`"
            ) from error
        if attributes.get("format") != FORMAT:
            raise StoreError(f"{self.path} is an HDF5 file but no fewshot store; name one made by `fewshot embed`")
        if not attributes.get("sealed", False):
            raise StoreError(f"{self.path} is not sealed; run the same `fewshot embed ... -o {self.path}` again")
        if not 1 <= int(attributes["version"]) <= VERSION:
            raise StoreError(
                f"{self.path} has store version {attributes['version']}, and this fewshot reads 1 to {VERSION}; "
                f"install the fewshot that made it, or embed again"
            )

    # -- samples ---------------------------------------------------------------------------------------------------

    @property
    def digest(self) -> str:
        """The hash of the layers' digests."""
        return str(self.file.attrs["digest"])

    @property
    def provenance(self) -> dict[str, Any]:
        """How the store was made."""
        return dict(json.loads(self.file.attrs["provenance"]))

    @property
    def roots(self) -> tuple[str, ...]:
        """The folders that paths are relative to, as they were when embedded."""
        return tuple(json.loads(self.file.attrs["roots"]))

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """The names of all sample columns; one of the table's own that has a built-in's name is ``extra.NAME``."""
        return (*COLUMNS, *self._extra)

    @cached_property
    def _extra(self) -> dict[str, str]:
        if "extra" not in self.file["/samples"]:
            return {}
        names = [unescape(name) for name in self.file["/samples/extra"]]
        return {(f"extra.{name}" if name in COLUMNS else name): f"/samples/extra/{escape(name)}" for name in names}

    def column(self, name: str) -> NDArray[Any]:
        """Return one sample column: (N,), text as Python strings.

        Raises:
            UnknownNameError: no such column.
        """
        values = self.raw_column(name)
        if values is None:
            raise unknown_name("column", name, self.columns)
        if values.dtype.kind == "S":
            return np.array([value.decode("utf-8", "surrogateescape") for value in values], dtype=object)
        return np.asarray(values)

    @property
    def extra_columns(self) -> tuple[str, ...]:
        """The names of the table's own columns."""
        return tuple(self._extra)

    def raw_column(self, name: str) -> NDArray[Any] | None:
        """Return one sample column as it lies in the file, text as UTF-8 bytes (``S`` dtype); None if absent."""
        if name not in self.columns:
            return None
        return np.asarray(self.file[self._extra.get(name, f"/samples/{name}")][:])

    def samples(self) -> pd.DataFrame:
        """Return all samples as a frame, one row per image; text is of type object (names may not be UTF-8)."""
        columns = {name: self.column(name) for name in self.columns}
        return pd.DataFrame({name: pd.Series(values, dtype=values.dtype) for name, values in columns.items()})

    @cached_property
    def synthetic(self) -> BoolArray:
        """(N,) bool: True = synthetic."""
        return np.asarray(self.file["/samples/synthetic"][:], dtype=bool)

    @cached_property
    def source(self) -> NDArray[Any]:
        """(N,) the source name of every image."""
        return self.column("source")

    @property
    def sources(self) -> tuple[str, ...]:
        """The distinct source names, sorted."""
        return tuple(sorted(set(self.source)))

    def select(self, where: Mapping[str, str | Sequence[str]] | None = None, **columns: str) -> IntArray:
        """Return the rows whose columns have the given values, ascending: (n,) int64.

        Values are compared as text; a sequence of values, or text with commas, means any of them. ``synthetic`` is
        ``0`` or ``1``.

        Raises:
            UnknownNameError: no such column.
            InputError: no row is left; the message lists the values that the column has.
        """
        keep = np.ones(len(self), bool)
        for name, wanted in {**(where or {}), **columns}.items():
            values = self.column(name)
            text = values.astype(int).astype(str) if values.dtype.kind == "b" else values.astype(str)
            choices = wanted.split(",") if isinstance(wanted, str) else list(wanted)
            matching = np.isin(text, choices)
            if not matching.any():
                seen = ", ".join(sorted(set(text))[:20])
                raise InputError(f"no image of {self.path} has {name}={','.join(choices)}; the column holds: {seen}")
            keep &= matching
        if not keep.any():
            raise InputError(f"no image of {self.path} fits all of {dict(where or {}, **columns)}")
        return np.flatnonzero(keep).astype(np.int64)

    def failed(self) -> pd.DataFrame:
        """Return the failures: key, backbone, view, reason; of type object, as names may not be UTF-8."""
        columns = {}
        for name in ("key", "backbone", "view", "reason"):
            columns[name] = [value.decode("utf-8", "surrogateescape") for value in self.file[f"/failed/{name}"][:]]
        return pd.DataFrame(columns, dtype=object)

    # -- features --------------------------------------------------------------------------------------------------

    @cached_property
    def layers(self) -> tuple[LayerInfo, ...]:
        """Every layer of every backbone and view, in a fixed order."""
        found = []
        group = self.file["/features"] if "features" in self.file else {}
        for backbone in sorted(group):
            for name in sorted(group[backbone]):
                dataset = group[backbone][name]
                layer, view = split_name(name)
                found.append(
                    LayerInfo(
                        backbone=unescape(backbone),
                        layer=layer,
                        view=view,
                        dimension=int(dataset.shape[1]),
                        dtype=str(dataset.dtype),
                        digest=str(dataset.attrs["digest"]),
                        normalised=bool(dataset.attrs["normalised"]),
                        default=bool(dataset.attrs["default"]),
                        provenance=json.loads(dataset.attrs["facts"]),
                    )
                )
        return tuple(found)

    @property
    def backbones(self) -> tuple[str, ...]:
        """The names of the backbones, sorted."""
        return tuple(sorted({info.backbone for info in self.layers}))

    def views(self, backbone: str) -> tuple[str, ...]:
        """Return the views of one backbone, ``clean`` first."""
        views = {info.view for info in self._of(backbone)}
        return tuple(sorted(views, key=lambda view: (view != CLEAN, view)))

    def layer_names(self, backbone: str, *, view: str = CLEAN) -> tuple[str, ...]:
        """Return the feature layers of one backbone, without the reserved ``logit``."""
        return tuple(info.layer for info in self._of(backbone) if info.view == view and info.layer != LOGIT)

    def default_layer(self, backbone: str, *, view: str = CLEAN) -> str:
        """Return the layer that the backbone's card fixes, or the only one."""
        names = self.layer_names(backbone, view=view)
        default = [info.layer for info in self._of(backbone) if info.default and info.view == view]
        if default:
            return default[0]
        if len(names) == 1:
            return names[0]
        raise StoreError(
            f"{self.path}: {backbone!r} has the layers {', '.join(names)} and no default; choose one by --layer"
        )

    def info(self, backbone: str, layer: str, *, view: str = CLEAN) -> LayerInfo:
        """Return what is known of one layer.

        Raises:
            UnknownNameError: the store has no such backbone, layer or view.
        """
        of_backbone = self._of(backbone)
        of_view = [info for info in of_backbone if info.view == view]
        if not of_view:
            raise unknown_name(f"view of {backbone} in {self.path}", view, {info.view for info in of_backbone})
        for info in of_view:
            if info.layer == layer:
                return info
        raise unknown_name(f"layer of {backbone} in {self.path}", layer, {info.layer for info in of_view})

    def has_logit(self, backbone: str, *, view: str = CLEAN) -> bool:
        """Return whether the checkpoint's own head left its score in the store."""
        return any(info.layer == LOGIT and info.view == view for info in self._of(backbone))

    def present(self, backbone: str, *, view: str = CLEAN) -> BoolArray:
        """Return (N,) bool: which images this backbone has under this view."""
        self._of(backbone)
        return np.asarray(self.file[f"/present/{feature_name(backbone, view)}"][:], dtype=bool)

    def read(self, rows: IntArray | None, backbone: str, layer: str, *, view: str = CLEAN) -> Float32Array:
        """Return the features of some rows, in the order asked: (n, D) float32, raw as stored.

        Args:
            rows: (n,) row numbers, all rows when None.

        Raises:
            UnknownNameError: no such backbone, layer or view.
            StoreError: a row is absent for this backbone, or the file is damaged.
        """
        return self._read(rows, backbone, layer, view=view, dtype=np.dtype(np.float32))

    def read_stored(self, rows: IntArray | None, backbone: str, layer: str, *, view: str = CLEAN) -> NDArray[Any]:
        """Return the same in the type that is stored, float32 or float16, without a conversion."""
        return self._read(rows, backbone, layer, view=view, dtype=np.dtype(self.info(backbone, layer, view=view).dtype))

    def read_into(self, out: Float32Array, rows: IntArray, backbone: str, layer: str, *, view: str = CLEAN) -> None:
        """Put the same into ``out``: (n, D) float32, contiguous; not copied again where rows follow each other."""
        self._read(rows, backbone, layer, view=view, dtype=out.dtype, out=out)

    def _read(
        self,
        rows: IntArray | None,
        backbone: str,
        layer: str,
        *,
        view: str,
        dtype: np.dtype[Any],
        out: NDArray[Any] | None = None,
    ) -> NDArray[Any]:
        self.info(backbone, layer, view=view)
        wanted = None if rows is None else np.asarray(rows, dtype=np.int64)
        present = self.present(backbone, view=view)
        there = present if wanted is None else present[wanted]
        if not there.all():
            first = int(np.flatnonzero(~there)[0])
            raise StoreError(
                f"{self.path}: {int((~there).sum())} of {len(there)} images have no features of {backbone!r} ({view}), "
                f"first row {first if wanted is None else int(wanted[first])}; read only the rows that `present` gives"
            )
        dataset = self.file[f"/features/{escape(backbone)}/{feature_name(layer, view)}"]
        try:
            return _read_rows(dataset, self.path, wanted, dtype=dtype, out=out)
        except OSError as error:
            raise StoreError(
                f"{self.path}: layer {layer!r} of {backbone!r} is damaged ({error}); restore the file or embed again"
            ) from error

    def _of(self, backbone: str) -> list[LayerInfo]:
        found = [info for info in self.layers if info.backbone == backbone]
        if not found:
            raise unknown_name(f"backbone in {self.path}", backbone, self.backbones)
        return found


def _read_rows(
    dataset: Any, path: Path, rows: IntArray | None, *, dtype: Any, out: NDArray[Any] | None
) -> NDArray[Any]:
    """Read rows in any order and number, all when None; chunks go straight to their place where they can."""
    if out is not None:
        return _into(out, dataset, path, rows)
    if dataset.shape[0] == 0 or (rows is not None and len(rows) == 0):
        return np.empty((0, dataset.shape[1]), dtype)
    chunks = chunked_layer(dataset, path)
    if rows is None:
        return np.asarray(dataset[:], dtype=dtype) if chunks is None else chunks.read(dtype=dtype)
    low, high = int(rows.min()), int(rows.max()) + 1
    if len(rows) * 4 >= high - low:
        block = dataset[low:high] if chunks is None else chunks.read(dtype=dtype, low=low, high=high)
        in_order = len(rows) == high - low and bool((rows[1:] > rows[:-1]).all())
        return np.asarray(block if in_order else block[rows - low], dtype=dtype)
    unique, inverse = np.unique(rows, return_inverse=True)
    found = dataset[unique] if chunks is None else chunks.take(unique, dtype=dtype)
    return np.asarray(found[inverse], dtype=dtype)


def _into(out: NDArray[Any], dataset: Any, path: Path, rows: IntArray | None) -> NDArray[Any]:
    chunks = chunked_layer(dataset, path)
    low = int(rows[0]) if rows is not None and len(rows) else 0
    if chunks is not None and len(out) and (rows is None or bool((np.diff(rows) == 1).all())):
        return chunks.read(dtype=out.dtype, low=low, high=low + len(out), out=out)
    out[:] = _read_rows(dataset, path, rows, dtype=out.dtype, out=None)
    return out
