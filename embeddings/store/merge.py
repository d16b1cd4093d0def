"""Make the one sealed store from an older store and finished parts, without touching what is already there."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fewshot.core.arrays import BoolArray, IntArray, spans
from fewshot.core.errors import StoreError
from fewshot.core.provenance import provenance as run_provenance
from fewshot.embeddings.layer_key import LayerKey
from fewshot.embeddings.store.failures import Failure, Reasons
from fewshot.embeddings.store.layer_data import LayerHeader
from fewshot.embeddings.store.reader import FeatureStore, LayerInfo
from fewshot.embeddings.store.schema import COLUMNS
from fewshot.embeddings.store.writer import StoreWriter

_BLOCK_ROWS = 4096


@dataclass(frozen=True)
class Piece:
    """A store whose rows go into the merged one; opened when it is read.

    Args:
        open: returns it; the caller closes it.
        positions: (n,) int64 ascending, the number of each of its rows in the sample list.
    """

    open: Callable[[], FeatureStore]
    positions: IntArray


class Merge:
    """Rows, columns and layers of several stores over one sample list.

    Args:
        keys: the sample list.
        old: the sealed store that is added to, as the first piece, or None.
        pieces: finished parts.
        wanted: (backbone, view) whose layers are taken from the parts; those of the old store are always kept.
    """

    def __init__(
        self, keys: Sequence[str], *, old: Piece | None, pieces: Sequence[Piece], wanted: frozenset[tuple[str, str]]
    ) -> None:
        self.keys = keys
        self.old = old
        self.pieces = list(pieces)
        self.wanted = wanted

    @cached_property
    def rows(self) -> IntArray:
        """(N,) int64: the numbers of the samples that some piece could read, ascending."""
        seen = np.zeros(len(self.keys), bool)
        for piece in self._all():
            seen[piece.positions] = True
        return np.flatnonzero(seen).astype(np.int64)

    def _all(self) -> list[Piece]:
        return [self.old, *self.pieces] if self.old else self.pieces

    # -- samples, as SampleColumns -------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def names(self) -> Sequence[str]:
        """The built-in columns, and every other column that some piece has."""
        extra: dict[str, None] = {}
        for piece in self._all():
            with piece.open() as store:
                extra.update(dict.fromkeys(store.extra_columns))
        return [*COLUMNS, *sorted(extra)]

    def column(self, name: str) -> NDArray[Any]:
        """Return one column over all rows; the first piece that has a row gives its value."""
        filled = np.zeros(len(self.rows), bool)
        result: NDArray[Any] | None = None
        for piece in self._all():
            at = np.searchsorted(self.rows, piece.positions)
            new = ~filled[at]
            if not new.any():
                continue
            with piece.open() as store:
                values = store.raw_column(name) if name in store.columns else None
            result = self._grown(result, values, name)
            if values is not None:
                result[at[new]] = values[new]
            filled[at] = True
        return self._grown(result, None, name)

    def _grown(self, result: NDArray[Any] | None, values: NDArray[Any] | None, name: str) -> NDArray[Any]:
        """Return the column so far with a type wide enough for ``values``."""
        if result is None:
            kind = np.dtype("S1") if values is None else values.dtype
            return np.zeros(len(self.rows), kind)
        if values is not None and result.dtype.kind == "S" and values.dtype.itemsize > result.dtype.itemsize:
            return result.astype(values.dtype)
        return result

    # -- layers --------------------------------------------------------------------------------------------------------

    @cached_property
    def infos(self) -> dict[LayerKey, LayerInfo]:
        """Every layer that the merged store will have, and how its first piece describes it."""
        found: dict[LayerKey, LayerInfo] = {}
        for piece in self._all():
            with piece.open() as store:
                for info in store.layers:
                    if piece is self.old or info.key.task in self.wanted:
                        found[info.key] = _with_smallest_batch(found.get(info.key, info), info)
        return found

    def present(self, key: LayerKey) -> BoolArray:
        """Return (N,) bool: which rows the backbone has under the view, in any piece."""
        found = np.zeros(len(self.rows), bool)
        for piece in self._all():
            with piece.open() as store:
                if store.has_task(key):
                    found[np.searchsorted(self.rows, piece.positions)] |= store.present(key.backbone, view=key.view)
        return found

    def write(self, path: Path, *, roots: Sequence[str], reasons: Reasons, provenance: Mapping[str, Any]) -> str:
        """Write and seal the merged store; return its digest.

        Args:
            path: the store; an existing one is replaced when the new one is whole.
            roots: the folders that the samples' paths are relative to.
            reasons: why images or features are absent.
            provenance: JSON values, kept beside versions and machine.
        """
        present: dict[tuple[str, str], BoolArray] = {}
        with StoreWriter(path, self, roots=roots) as writer:
            for key, info in self.infos.items():
                if key.task not in present:
                    present[key.task] = self.present(key)
                self._write_layer(writer, info, present[key.task])
            return writer.seal(self._failures(present, reasons), provenance={**run_provenance(), **provenance})

    def _write_layer(self, writer: StoreWriter, info: LayerInfo, present: BoolArray) -> None:
        if self.old is not None and len(self.old.positions) == len(self.rows):
            with self.old.open() as old:
                if old.has_layer(info.key) and np.array_equal(old.present(info.backbone, view=info.view), present):
                    writer.copy(old, info.key, present)
                    return
        header = LayerHeader(
            info.key, info.dimension, info.dtype, present, info.normalised, info.default, info.provenance
        )
        writer.add_blocks(header, self._blocks(header, present))

    def _blocks(self, header: LayerHeader, present: BoolArray) -> Iterator[NDArray[Any]]:
        key = header.key
        pieces = [(piece, np.searchsorted(self.rows, piece.positions)) for piece in self._all()]
        for start, stop in spans(len(self.rows), _BLOCK_ROWS):
            block = np.full((stop - start, header.dimension), np.nan, dtype=header.dtype)
            for piece, rows in pieces:
                low, high = np.searchsorted(rows, (start, stop))
                if low < high:
                    _fill(block, piece, key, slice(int(low), int(high)), rows[low:high] - start)
            if np.isnan(block[present[start:stop]]).any():
                raise StoreError(
                    f"layer {key.layer!r} of {key.backbone!r} ({key.view}) lacks images that other layers of it have, "
                    f"because images are gone since; give another -o to embed the remaining ones"
                )
            yield block

    def _failures(self, present: Mapping[tuple[str, str], BoolArray], reasons: Reasons) -> list[Failure]:
        """Return one failure per image without a row, and one per row that a backbone lacks under a view."""
        seen = np.zeros(len(self.keys), bool)
        seen[self.rows] = True
        found = [reasons.failure(self.keys[number]) for number in np.flatnonzero(~seen).tolist()]
        assert len(self.rows) + len(found) == len(self.keys), "samples in = rows + failures"
        for (backbone, view), mask in present.items():
            found += [reasons.failure(self.keys[number], backbone, view) for number in self.rows[~mask].tolist()]
        return found


def _with_smallest_batch(first: LayerInfo, other: LayerInfo) -> LayerInfo:
    """Return the first piece's description, with the smallest batch that memory left to any piece."""
    sizes = [size for info in (first, other) if (size := info.provenance.get("batch_size")) is not None]
    return replace(first, provenance={**first.provenance, "batch_size": min(sizes)}) if sizes else first


def _fill(block: NDArray[Any], piece: Piece, key: LayerKey, some: slice, rows: IntArray) -> None:
    """Put the present rows among ``some`` of a piece into the block's ``rows``."""
    with piece.open() as store:
        if store.has_layer(key):
            there = store.present(key.backbone, view=key.view)[some]
            block[rows[there]] = store.read_padded(key.backbone, key.layer, view=key.view, rows=some)[there]
