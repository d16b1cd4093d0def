"""Queries for an index: rows of a store, or images embedded just as the store's images were."""

import errno
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fewshot.core.arrays import Float32Array, IntArray
from fewshot.core.errors import InputError, OptionError, StoreError
from fewshot.embeddings.layouts.collection import loose_files
from fewshot.embeddings.search.index import SourceIndex
from fewshot.embeddings.store.layer_provenance import unlike
from fewshot.embeddings.store.reader import FeatureStore, LayerInfo

_A_FOLDER = "is a folder; name its images, or embed it and give the store as --query"


@dataclass(frozen=True)
class Queries:
    """Features to look up, and what may not be an answer.

    Args:
        features: (M, D) float32.
        images: (M,) paths or keys.
        files: (M,) where each image lies, for pictures; None where that is not known.
        leave_out: (M,) store rows that show the same pixels, or share the group, and are no answer.
        sources: (M,) the true source of each query; empty when they are not known.
        failed: (path, reason) of images that could not be read.
    """

    features: Float32Array
    images: tuple[str, ...]
    files: tuple[Path | None, ...]
    leave_out: tuple[IntArray, ...]
    sources: tuple[str, ...] = ()
    failed: tuple[tuple[str, str], ...] = ()


def from_store(
    index: SourceIndex,
    store: FeatureStore,
    *,
    where: Mapping[str, str | Sequence[str]] | None = None,
    per_source: int | None = None,
    group: str | None = None,
    seed: int = 0,
    roots: Sequence[Path] = (),
) -> Queries:
    """Return rows of ``store`` as queries; rows of the index with the query's own pixel id are left out.

    Args:
        index: where they will be looked up.
        store: the queries' store; it may be the indexed one, which makes this leave-one-out.
        where: which of its images; all when None.
        per_source: at most this many of each source, drawn by ``seed``; all when None.
        group: a column of both stores; index rows that share the query's value are left out too.
        roots: where the images lie now, see ``image_files``.

    Raises:
        StoreError: the two layers were made with other weights or another input rule.
    """
    info = store.info(index.info.backbone, index.info.layer, view=index.info.view)
    _require_same_provenance(index, info, where=str(store.path))
    rows = store.select(where)
    rows = rows[store.present(info.backbone, view=info.view)[rows]]
    if per_source is not None:
        rows = _some_of_each(rows, store.source[rows], per_source, seed)
    if not len(rows):
        raise InputError(f"{store.path}: none of the queried images has features of {info.backbone!r}")
    keys = store.column("key")[rows]
    return Queries(
        features=store.read(rows, info.backbone, info.layer, view=info.view),
        images=tuple(map(str, keys)),
        files=image_files(store, rows, roots=roots),
        leave_out=tuple(own_rows(index.store, store, rows, group=group)),
        sources=tuple(map(str, store.source[rows])),
    )


def own_rows(indexed: FeatureStore, store: FeatureStore, rows: IntArray, *, group: str | None = None) -> list[IntArray]:
    """Return, for some rows of ``store``, the rows of ``indexed`` with the same pixel id, row or group value."""
    same = rows_sharing(indexed.column("id"), store.column("id")[rows])
    if store.digest == indexed.digest:
        same = [np.union1d(found, row) for found, row in zip(same, rows, strict=True)]
    if group is not None:
        grouped = rows_sharing(indexed.column(group), store.column(group)[rows])
        same = [np.union1d(found, others) for found, others in zip(same, grouped, strict=True)]
    return [found.astype(np.int64) for found in same]


def from_images(
    index: SourceIndex,
    paths: Sequence[Path],
    *,
    weights: Sequence[str] = (),
    device: str = "auto",
    workers: int = 1,
) -> Queries:
    """Embed images on the path that the indexed layer records; store rows of the same pixels are left out.

    Args:
        index: where they will be looked up; its layer says backbone, weights, input rule, decoder, precision, view.
        paths: image files; a folder is one that cannot be read.
        weights: ``NAME=PATH`` requests, as for ``fewshot embed``.
        device: where the network runs; ``auto`` is CUDA where there is one.
        workers: decoding processes; 0 decodes in this one.

    Raises:
        InputError: no image could be read.
        StoreError: the weights or the input rule are not those of the store.
        WeightsError: the weights are not on this machine.
        DeviceError: no such device, or one that cannot compute in the store's precision.
    """
    from fewshot.embeddings.embedder import embed_all  # torch: looking up stored rows needs none of it
    from fewshot.embeddings.pipeline.recorded import recorded_plan

    faults = [(path, _fault(path)) for path in paths]
    files = [path for path, fault in faults if not fault]
    failed = [(str(path), fault) for path, fault in faults if fault]
    plan, unit = recorded_plan(
        [index.info], loose_files(files), where=str(index.indexed), weights=weights, device=device, workers=workers
    )
    result = embed_all(plan, unit)
    failed += [(str(files[int(failure.key)]), failure.reason) for failure in result.failures]
    (task,) = unit.tasks
    present = np.flatnonzero(result.present(task)).tolist()
    if not present:
        raise InputError(f"none of {len(failed)} images can be read; the first, {failed[0][0]}: {failed[0][1]}")
    return Queries(
        features=result.features(task, index.info.layer)[present].astype(np.float32),
        images=tuple(str(files[number]) for number in present),
        files=tuple(files[number] for number in present),
        leave_out=tuple(rows_sharing(index.store.column("id"), [result.rows[number]["id"] for number in present])),
        failed=tuple(failed),
    )


def _fault(path: Path) -> str:
    """Return why a path is no image's before anything is read, empty where it may be one."""
    try:
        return _A_FOLDER if stat.S_ISDIR(path.stat().st_mode) else ""
    except ValueError as error:  # a NUL, or half of a character
        return f"missing: no file can have this name ({error})"
    except OSError as error:
        return f"missing: {error.strerror}" if error.errno == errno.ENAMETOOLONG else ""


def _require_same_provenance(index: SourceIndex, info: LayerInfo, *, where: str) -> None:
    """Raise unless two layers were produced alike, as far as both say how.

    Raises:
        StoreError: weights, input rule or another identity field differs; features would not be comparable.
    """
    if different := unlike(index.info.provenance, info.provenance):
        raise StoreError(
            f"{where} was produced differently than {index.indexed}: {'; '.join(different)}; embed both with the same"
        )


def image_files(
    store: FeatureStore, rows: IntArray | Sequence[int], *, roots: Sequence[Path] = ()
) -> tuple[Path | None, ...]:
    """Return where the images of some rows lie, None where one is not there any more or lies within an archive.

    Args:
        store: whose images.
        rows: which of them.
        roots: folders that are looked in before the recorded one, for images that have moved: each image lies in them
            as it lay in the store's root. A file of another size than the recorded one is not taken for the image.
    """
    of_root, members, paths = store.column("root"), store.column("member"), store.column("path")
    sizes = store.column("file_size")
    found: list[Path | None] = []
    for row in rows:
        number, path = int(of_root[row]), str(paths[row])
        recorded = Path(store.roots[number] if number < len(store.roots) else ".") / path
        moved = (root / path for root in roots)
        there = next((file for file in moved if _is_file(file, size=int(sizes[row]))), recorded)
        found.append(there if path and not members[row] and there.is_file() else None)
    return tuple(found)


def require_roots(roots: Sequence[Path]) -> None:
    """Refuse a folder that is none, before anything is done.

    Raises:
        OptionError: one of ``roots`` is no folder.
    """
    for root in roots:
        if not root.is_dir():
            raise OptionError(f"--root {root}: there is no such folder; name the one that the images lie in now")


def _is_file(path: Path, *, size: int) -> bool:
    """Return whether a file is there, of a size where one is recorded."""
    try:
        found = path.stat()
    except (OSError, ValueError):
        return False
    return stat.S_ISREG(found.st_mode) and size in (0, found.st_size)


def rows_sharing(values: Any, queries: Any) -> list[IntArray]:
    """Return, for each query value, the positions in ``values`` that hold it; none for an empty value.

    >>> [list(map(int, rows)) for rows in rows_sharing(["a", "b", "a", ""], ["a", "c", ""])]
    [[0, 2], [], []]
    """
    where: dict[Any, list[int]] = {}
    for position, value in enumerate(values):
        if value != "":
            where.setdefault(value, []).append(position)
    return [np.array(where.get(value, []), dtype=np.int64) for value in queries]


def _some_of_each(rows: IntArray, sources: Any, per_source: int, seed: int) -> IntArray:
    chosen = []
    for number, name in enumerate(sorted(set(sources))):
        own = rows[sources == name]
        chosen.append(np.random.default_rng([seed, per_source, number]).permutation(own)[:per_source])
    return np.sort(np.concatenate(chosen)) if chosen else rows
