"""What is already there: the sealed store and finished parts, compared with the images and tasks of this run."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fewshot.core.arrays import BoolArray, IntArray
from fewshot.core.errors import StoreError
from fewshot.embeddings.inputs.images import UnreadableImage
from fewshot.embeddings.layouts.collection import Collection
from fewshot.embeddings.pipeline.ledger import Part, PartsFolder
from fewshot.embeddings.pipeline.units import Known, Task
from fewshot.embeddings.store.layer_provenance import differences
from fewshot.embeddings.store.reader import FeatureStore


class History:
    """The sample list of the store, what of it is done, and how to finish it.

    Args:
        folder: the parts folder, locked; collection: the images as found now.

    Raises:
        StoreError: the store holds other images, or the same ones with other labels.
    """

    def __init__(self, folder: PartsFolder, collection: Collection) -> None:
        self.folder = folder
        self.collection = collection
        self.index = {key: number for number, key in enumerate(collection.keys)}
        self.store = FeatureStore(folder.store) if folder.store.exists() else None
        self.notes: list[str] = []
        self.keys = self._sample_list()
        self.position = {key: number for number, key in enumerate(self.keys)}
        self.parts = self._sound_parts()

    # -- the sample list -----------------------------------------------------------------------------------------------

    def _sample_list(self) -> list[str]:
        """Return the keys in the store's order: of the unfinished run, of the sealed store, or as found now."""
        unfinished = self.folder.sample_list()
        if unfinished is not None:
            before = {key: (source, synthetic) for key, source, synthetic in unfinished}
            self._require_same_images(before, set(before))
            keys = [key for key, _, _ in unfinished]
        elif self.store is not None:
            keys = self._of_store(self.store)
        else:
            keys = list(self.collection.keys)
        self._note_gone(keys)
        return keys

    def _of_store(self, store: FeatureStore) -> list[str]:
        rows = [str(key) for key in store.column("key")]
        unread = [failure.key for failure in store.failures() if failure.of_image]
        labels = zip(store.source, store.synthetic.tolist(), strict=True)
        self._require_same_images(dict(zip(rows, labels, strict=True)), {*rows, *unread})
        return _interleaved(rows, self.collection.keys, unread)

    def _require_same_images(self, before: Mapping[str, tuple[str, bool]], known: set[str]) -> None:
        new = [key for key in self.collection.keys if key not in known]
        if new:
            raise StoreError(
                f"{self.folder.store} was begun with {len(known)} images, and {len(new)} of the {len(self.index)} now "
                f"found are not among them, the first is {new[0]!r}; give the same images, or another -o"
            )
        for key, sample in zip(self.collection.keys, self.collection.samples, strict=True):
            label = before.get(key, (sample.source, sample.synthetic))
            if label != (sample.source, sample.synthetic):
                raise StoreError(
                    f"{self.folder.store} has {key!r} as {_label(*label)}, and it is "
                    f"{_label(sample.source, sample.synthetic)} now; give the same labels, or another -o"
                )

    def _note_gone(self, keys: Sequence[str]) -> None:
        gone = [key for key in keys if key not in self.index]
        if gone:
            self.notes.append(f"{len(gone)} images of {self.folder.store} are gone since, the first is {gone[0]!r}")

    # -- what is done --------------------------------------------------------------------------------------------------

    def _sound_parts(self) -> list[Part]:
        sound, damaged = self.folder.sound_parts()
        damaged += [part.file for part in sound if not self._fits(part)]
        sound = [part for part in sound if part.file not in damaged]
        if damaged:
            self.notes.append(f"{len(damaged)} damaged unfinished files in {self.folder.folder} are made again")
        stale = [part for part in sound if self._changed_since(part)]
        if stale:
            self.notes.append(f"images of {len(stale)} units changed since they were embedded; they are embedded again")
        self.folder.forget({*damaged, *(part.file for part in stale)})
        return [part for part in sound if part not in stale]

    def _fits(self, part: Part) -> bool:
        """Return whether a part is about images of the sample list."""
        if not all(position < len(self.keys) for position in part.positions):
            return False
        with self.folder.open(part) as store:
            return all(str(key) in self.position for key in store.column("key"))

    def _changed_since(self, part: Part) -> bool:
        with self.folder.open(part) as store:
            return bool(self.changed(store))

    def changed(self, store: FeatureStore) -> list[str]:
        """Return the keys whose file is another than when embedded: by size and time, then by the hash of its bytes."""
        columns = ("key", "mtime_ns", "file_size", "file_sha256")
        found = []
        for key, mtime, size, digest in zip(*(store.column(name).tolist() for name in columns), strict=True):
            if key in self.index and self._is_changed(self.index[key], mtime, size, digest):
                found.append(str(key))
        return found

    def _is_changed(self, number: int, mtime: int, size: int, digest: str) -> bool:
        root = self.collection.root[number]
        layout, folder = self.collection.layouts[root], self.collection.roots[root]
        sample = self.collection.samples[number]
        try:
            status = layout.location(folder, sample).stat()
            same_size = bool(sample.member) or status.st_size == size
            if status.st_mtime_ns == mtime and same_size:
                return False
            return hashlib.sha256(layout.read(folder, sample)).hexdigest() != digest
        except (OSError, UnreadableImage):
            return False  # it cannot be read now; reading it for a new backbone will say so

    def known(self) -> dict[str, Known]:
        """Return what the sealed store knows of its images, to notice changed files and other decoders."""
        if self.store is None:
            return {}
        columns = (self.store.column(name).tolist() for name in ("key", "file_sha256", "id"))
        return {key: Known(digest, pixels) for key, digest, pixels in zip(*columns, strict=True)}

    def require_same(self, tasks: Sequence[Task]) -> None:
        """Refuse a task whose features exist and were produced differently.

        Raises:
            StoreError: another weight file, preprocessing, decoder, precision or type; the message says which.
        """
        for task in tasks:
            for info in self.store.layers if self.store else ():
                if (info.backbone, info.view) == task.key:
                    self._refuse_other(task, info.provenance)
            for part in self.parts:
                for backbone, view, _, mark in part.tasks:
                    if (backbone, view) == task.key and mark != task.fingerprint:
                        self._refuse_other(task, self._provenance_of(part, task))

    def _provenance_of(self, part: Part, task: Task) -> Mapping[str, Any]:
        with self.folder.open(part) as store:
            return next(info.provenance for info in store.layers if (info.backbone, info.view) == task.key)

    def _refuse_other(self, task: Task, provenance: Mapping[str, Any]) -> None:
        different = differences(provenance, task.provenance)
        if different:
            raise StoreError(
                f"{self.folder.store} has {task.backbone!r} ({task.view.name}) produced differently: "
                f"{'; '.join(different)}; use the same, or another -o"
            )

    def missing(self, task: Task) -> BoolArray:
        """Return (len(keys),) bool: the images this task still needs; failed ones count as needed, gone ones do not."""
        needed = np.array([key in self.index for key in self.keys], dtype=bool)
        if self.in_store(task):
            assert self.store is not None
            positions = self.positions_of(self.store)
            needed[positions[self.store.present(task.backbone, view=task.view.name)]] = False
        for part in self.parts:
            if part.holds(task):
                with self.folder.open(part) as store:
                    there = store.present(task.backbone, view=task.view.name)
                    needed[self.positions_of(store)[there]] = False
        return needed

    def in_store(self, task: Task) -> bool:
        """Return whether the sealed store has this task's layers."""
        if self.store is None:
            return False
        layers = {info.layer for info in self.store.layers if (info.backbone, info.view) == task.key}
        return bool(layers) and set(task.feature_layers) <= layers

    def positions_of(self, store: FeatureStore) -> IntArray:
        """Return where the rows of a store stand in the sample list: (rows,) int64."""
        return np.array([self.position[key] for key in store.column("key")], dtype=np.int64)

    # -- the run -------------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Keep the sample list, which the parts' positions refer to; before the first part is written."""
        if self.folder.sample_list() is None:
            self.folder.keep_sample_list([(key, *self._label_of(key)) for key in self.keys])

    def _label_of(self, key: str) -> tuple[str, bool]:
        if key in self.index:
            sample = self.collection.samples[self.index[key]]
            return sample.source, sample.synthetic
        return "", False


def _interleaved(rows: Sequence[str], found: Sequence[str], unread: Sequence[str]) -> list[str]:
    """Return the store's rows in their order, with the keys that have no row behind the row they follow in ``found``.

    >>> _interleaved(["a", "c"], ["a", "b", "c"], ["b", "z"])
    ['a', 'b', 'c', 'z']
    """
    known = set(rows)
    behind: dict[str, list[str]] = {}
    last = ""
    for key in found:
        if key in known:
            last = key
        else:
            behind.setdefault(last, []).append(key)
    ordered = list(behind.get("", []))
    for row in rows:
        ordered.append(row)
        ordered += behind.get(row, [])
    there = set(ordered)
    return ordered + [key for key in unread if key not in there]


def _label(source: str, synthetic: bool) -> str:
    return f"{source} ({'synthetic' if synthetic else 'natural'})"
