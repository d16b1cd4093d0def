"""The end of a run: merge what was done into one sealed store, or say what is left."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from fewshot.core.arrays import BoolArray
from fewshot.embeddings.pipeline.history import History
from fewshot.embeddings.pipeline.ledger import Part
from fewshot.embeddings.pipeline.units import Task
from fewshot.embeddings.store.failures import Reasons
from fewshot.embeddings.store.merge import Merge, Piece
from fewshot.embeddings.store.reader import FeatureStore

_GONE = "missing: in the store's sample list, and no longer among the images"


@dataclass(frozen=True)
class Outcome:
    """What an extraction did.

    Args:
        store: the sealed store; None while other shards are unfinished, or when no image could be used.
        images: samples in; rows: images with features; failures: key -> reason of the images without a row.
        lacking: features that single backbones could not make.
        notes: what a user should know, in sentences; changed: whether the store was written.
    """

    store: FeatureStore | None
    images: int
    rows: int = 0
    failures: Mapping[str, str] = field(default_factory=dict)
    lacking: int = 0
    notes: tuple[str, ...] = ()
    changed: bool = False
    unfinished: int = 0


class Sealing:
    """The finished parts of a history on their way into the store.

    Args:
        history: of the parts folder, which is locked.
    """

    def __init__(self, history: History) -> None:
        self.history = history

    def finish(self, tasks: Sequence[Task], *, provenance: Mapping[str, Any]) -> Outcome:
        """Seal when every task is done on every image, here and in other shards; else say what is left.

        Args:
            provenance: more for the store's provenance.
        """
        parts = self.history.folder.parts()
        left = sum(int((self.history.missing(task) & ~self._tried(task, parts)).sum()) for task in tasks)
        if left:
            note = f"{left} embeddings of other shards are left; run those shards, the last to end seals the store"
            return Outcome(None, len(self.history.keys), notes=(*self.history.notes, note), unfinished=left)
        used = [part for part in parts if any(part.holds(task) for task in tasks)]
        merge = self._merge(used, tasks)
        reasons = self._reasons(used)
        if len(merge) == 0:
            self.history.folder.forget({part.file for part in used})
            return Outcome(None, len(self.history.keys), failures={key: reasons.of(key) for key in self.history.keys})
        changed = self._adds(merge)
        if changed:
            self._seal(merge, reasons, provenance)
        sealed = FeatureStore(self.history.folder.store)
        self._forget_sealed(parts, sealed)
        return self._outcome(sealed, changed=changed)

    def _merge(self, used: Sequence[Part], tasks: Sequence[Task]) -> Merge:
        pieces = []
        for part in used:
            with self.history.folder.open(part) as store:
                pieces.append(Piece(partial(self.history.folder.open, part), self.history.positions_of(store)))
        old = None
        if self.history.store is not None:
            store = FeatureStore(self.history.folder.store)
            old = Piece(lambda: store, self.history.positions_of(store))
        return Merge(self.history.keys, old=old, pieces=pieces, wanted=frozenset(task.key for task in tasks))

    def _tried(self, task: Task, parts: Sequence[Part]) -> BoolArray:
        """Return (len(keys),) bool: images that this task was run on, with or without success."""
        tried = np.full(len(self.history.keys), self.history.in_store(task))  # what a sealed store lacks was tried
        for part in parts:
            if part.holds(task):
                tried[list(part.positions)] = True
        return tried

    def _reasons(self, used: Sequence[Part]) -> Reasons:
        reasons = Reasons()
        for key in self.history.keys:
            if key not in self.history.index:
                reasons.note(key, _GONE)
        if self.history.store is not None:
            reasons.add(self.history.store.failures())
        for part in used:
            if part.failures:
                with self.history.folder.open(part) as store:
                    reasons.add(store.failures())
        return reasons

    def _adds(self, merge: Merge) -> bool:
        """Return whether the merged store has a row, a layer or a present row that the sealed one lacks."""
        if self.history.store is None or len(merge) > len(self.history.store):
            return True
        before = {info.key for info in self.history.store.layers}
        if set(merge.infos) - before:
            return True
        return any(
            not np.array_equal(merge.present(key), self.history.store.present(key.backbone, view=key.view))
            for key in merge.infos
            if key.task in merge.wanted
        )

    def _seal(self, merge: Merge, reasons: Reasons, provenance: Mapping[str, Any]) -> None:
        roots = [str(root) for root in self.history.collection.roots]
        merge.write(self.history.folder.store, roots=roots, reasons=reasons, provenance=provenance)

    def _forget_sealed(self, parts: Sequence[Part], sealed: FeatureStore) -> None:
        """Delete the parts whose every task is in the sealed store."""
        there = {info.key.task for info in sealed.layers}
        done = {part.file for part in parts if {(task[0], task[1]) for task in part.tasks} <= there}
        self.history.folder.forget(done)

    def _outcome(self, sealed: FeatureStore, *, changed: bool) -> Outcome:
        failed = sealed.failures()
        failures = {failure.key: failure.reason for failure in failed if failure.of_image}
        assert len(sealed) + len(failures) == len(self.history.keys), "samples in = rows + failures"
        altered = [] if changed and self.history.store is None else self.history.changed(sealed)
        if altered:
            self.history.notes.append(
                f"{len(altered)} images changed since they were embedded, the first is {altered[0]!r}"
            )
        return Outcome(
            store=sealed,
            images=len(self.history.keys),
            rows=len(sealed),
            failures=failures,
            lacking=len(failed) - len(failures),
            notes=tuple(self.history.notes),
            changed=changed,
        )
