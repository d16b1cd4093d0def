"""Read one sealed feature store: samples, and the features of any backbone, layer and view."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from fewshot.core.arrays import BoolArray, Float32Array, IntArray
from fewshot.core.errors import StoreError, unknown_name
from fewshot.embeddings.layer_key import CLEAN, LOGIT, LayerKey
from fewshot.embeddings.store.failures import Failure
from fewshot.embeddings.store.layer_info import LayerInfo as LayerInfo
from fewshot.embeddings.store.layer_rows import read_rows, read_rows_into
from fewshot.embeddings.store.opening import require_sealed
from fewshot.embeddings.store.schema import COLUMNS, column_path, present_path
from fewshot.embeddings.store.selection import rows_where
from fewshot.embeddings.store.store_file import StoreFile
from fewshot.embeddings.store.structure import StoreStructure

if TYPE_CHECKING:
    import pandas as pd


class FeatureStore:
    """A read-only view of one sealed HDF5 file: features of many backbones over one list of images.

    Making one reads what the file says of itself; everything in it is held to the schema, and to its own manifest, when
    it is first read from. The file is opened again in every process that reads it (an HDF5 handle must not cross a
    fork).

    Raises:
        StoreError: no such file, not a store, not sealed, or of a newer version; from every method also where the file
            is damaged or holds what no store holds.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.storage = StoreFile(self.path)
        require_sealed(self.path)

    @property
    def file(self) -> Any:
        """The open HDF5 file of this process, whose structure was checked."""
        return self.storage.file

    @property
    def structure(self) -> StoreStructure:
        """What the store holds, without its values."""
        return self.storage.structure

    def close(self) -> None:
        """Close the file; the next read opens it again."""
        self.storage.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __len__(self) -> int:
        return self.structure.rows

    def __repr__(self) -> str:
        return f"FeatureStore({str(self.path)!r}: {len(self)} images, {len(self.backbones)} backbones)"

    # -- samples ---------------------------------------------------------------------------------------------------

    @property
    def digest(self) -> str:
        """The hash of the layers' digests."""
        return self.structure.digest

    @property
    def provenance(self) -> dict[str, Any]:
        """How the store was made."""
        return dict(self.structure.provenance)

    @property
    def roots(self) -> tuple[str, ...]:
        """The folders that paths are relative to, as they were when embedded."""
        return self.structure.roots

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of all sample columns; one of the table's own that has a built-in's name is ``extra.NAME``."""
        return (*COLUMNS, *self.structure.extra)

    def column(self, name: str) -> NDArray[Any]:
        """Return one sample column: (N,), text as Python strings.

        Raises:
            UnknownNameError: no such column.
        """
        values = self.raw_column(name)
        if values.dtype.kind == "S":
            return np.array([value.decode("utf-8", "surrogateescape") for value in values], dtype=object)
        return values

    def raw_column(self, name: str) -> NDArray[Any]:
        """Return the same as it lies in the file, text as UTF-8 bytes (``S`` dtype)."""
        if name not in self.columns:
            raise unknown_name("column", name, self.columns)
        return self.storage.sealed_values(self.column_path(name))

    def column_path(self, name: str) -> str:
        """Return the path of a column's dataset."""
        return self.structure.extra.get(name, column_path(name))

    @property
    def extra_columns(self) -> tuple[str, ...]:
        """The names of the table's own columns."""
        return tuple(self.structure.extra)

    def samples(self) -> "pd.DataFrame":
        """Return all samples as a frame, one row per image; text is of type object (names may not be UTF-8)."""
        import pandas as pd

        columns = {name: self.column(name) for name in self.columns}
        return pd.DataFrame({name: pd.Series(values, dtype=values.dtype) for name, values in columns.items()})

    @cached_property
    def synthetic(self) -> BoolArray:
        """(N,) bool: True = synthetic."""
        return np.asarray(self.raw_column("synthetic"), dtype=bool)

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

        Values are compared as text; a sequence of values, or text with commas, means any of them. In text, a value in
        double quotes is taken as it stands, with its commas. ``synthetic`` is ``0`` or ``1``.

        Raises:
            UnknownNameError: no such column.
            OptionError: quotes that do not fit.
            InputError: no row is left, or no row has one of the values; the message lists those that the column has.
        """
        return rows_where(self, {**(where or {}), **columns}, what=str(self.path))

    def failures(self) -> tuple[Failure, ...]:
        """Return the images, and the features of single backbones, that are missing, with the reasons."""
        columns = []
        for each in fields(Failure):
            stored = self.storage.sealed_values(f"/failed/{each.name}")
            columns.append([value.decode("utf-8", "surrogateescape") for value in stored])
        return tuple(Failure(*values) for values in zip(*columns, strict=True))

    def failed(self) -> "pd.DataFrame":
        """Return the failures as a frame: key, backbone, view, reason; of type object, as names may not be UTF-8."""
        import pandas as pd

        return pd.DataFrame(self.failures(), columns=[each.name for each in fields(Failure)], dtype=object)

    # -- features --------------------------------------------------------------------------------------------------

    @property
    def layers(self) -> tuple[LayerInfo, ...]:
        """Every layer of every backbone and view, in a fixed order."""
        return self.structure.layers

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
        of_view = self._of_view(backbone, view)
        for info in of_view:
            if info.layer == layer:
                return info
        raise unknown_name(f"layer of {backbone} in {self.path}", layer, {info.layer for info in of_view})

    def has_layer(self, key: LayerKey) -> bool:
        """Return whether the store has a layer."""
        return any(info.key == key for info in self.layers)

    def has_task(self, key: LayerKey) -> bool:
        """Return whether the store has any layer of the key's backbone under its view."""
        return present_path(key) in self.structure.present

    def has_logit(self, backbone: str, *, view: str = CLEAN) -> bool:
        """Return whether the checkpoint's own head left its score in the store."""
        return any(info.layer == LOGIT and info.view == view for info in self._of(backbone))

    def present(self, backbone: str, *, view: str = CLEAN) -> BoolArray:
        """Return (N,) bool, which cannot be written to: which images this backbone has under this view."""
        key = self._of_view(backbone, view)[0].key
        return np.asarray(self.storage.mask(present_path(key)), dtype=bool)

    def read(self, rows: IntArray | None, backbone: str, layer: str, *, view: str = CLEAN) -> Float32Array:
        """Return the features of some rows, in their order: (n, D) float32, raw as stored.

        Args:
            rows: (n,) row numbers, all rows when None.

        Raises:
            UnknownNameError: no such backbone, layer or view.
            StoreError: a row is absent for this backbone, or the file is damaged.
        """
        info = self.info(backbone, layer, view=view)
        return self._read(self._require_present(info, rows), info, dtype=np.dtype(np.float32))

    def read_stored(self, rows: IntArray | None, backbone: str, layer: str, *, view: str = CLEAN) -> NDArray[Any]:
        """Return the same in the type that is stored, float32 or float16, without a conversion."""
        info = self.info(backbone, layer, view=view)
        return self._read(self._require_present(info, rows), info, dtype=np.dtype(info.dtype))

    def read_into(self, out: Float32Array, rows: IntArray, backbone: str, layer: str, *, view: str = CLEAN) -> None:
        """Put the same into ``out``: (n, D) float32, contiguous; not copied again where rows follow each other."""
        info = self.info(backbone, layer, view=view)
        wanted = self._require_present(info, rows)
        assert wanted is not None
        with self.storage.reading(info) as dataset:
            read_rows_into(out, dataset, wanted)

    def read_padded(self, backbone: str, layer: str, *, view: str = CLEAN, rows: slice | None = None) -> NDArray[Any]:
        """Return a layer as it lies in the file, absent rows NaN: (N, D) of its stored type, or a slice of the rows."""
        info = self.info(backbone, layer, view=view)
        wanted = None if rows is None else np.arange(*rows.indices(len(self)))
        return self._read(wanted, info, dtype=np.dtype(info.dtype))

    def _read(self, rows: IntArray | None, info: LayerInfo, *, dtype: np.dtype[Any]) -> NDArray[Any]:
        with self.storage.reading(info) as dataset:
            return read_rows(dataset, rows, dtype=dtype)

    def _require_present(self, info: LayerInfo, rows: IntArray | None) -> IntArray | None:
        """Return the rows as int64; raise where the backbone has no features of one."""
        wanted = None if rows is None else np.asarray(rows, dtype=np.int64)
        present = self.present(info.backbone, view=info.view)
        there = present if wanted is None else present[wanted]
        if not there.all():
            first = int(np.flatnonzero(~there)[0])
            raise StoreError(
                f"{self.path}: {int((~there).sum())} of {len(there)} images have no features of {info.backbone!r} "
                f"({info.view}), first row {first if wanted is None else int(wanted[first])}; read only the rows that "
                f"`present` gives"
            )
        return wanted

    def _of(self, backbone: str) -> list[LayerInfo]:
        found = [info for info in self.layers if info.backbone == backbone]
        if not found:
            raise unknown_name(f"backbone in {self.path}", backbone, self.backbones)
        return found

    def _of_view(self, backbone: str, view: str) -> list[LayerInfo]:
        of_backbone = self._of(backbone)
        found = [info for info in of_backbone if info.view == view]
        if not found:
            raise unknown_name(f"view of {backbone} in {self.path}", view, {info.view for info in of_backbone})
        return found
