"""Unfinished work beside a store, in ``STORE.h5.parts/``: finished units, their ledger, the sample list and the lock.

A unit's file is itself a small sealed store, written under a temporary name with checksums, closed, fsynced, reopened,
counted and renamed; only then does the ledger name it. Whatever a killed run left besides is overwritten or ignored.
"""

import fcntl
import json
import os
import shutil
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fewshot.core.errors import StoreError
from fewshot.core.files import file_sha256, output_error, remove_abandoned, write_text
from fewshot.embeddings.pipeline.units import Task, Unit
from fewshot.embeddings.store.reader import FeatureStore

_SAMPLES = "samples.jsonl"
_LOCK = "lock"
_SEAL = "seal"
_FORMAT = 1


@dataclass(frozen=True)
class Part:
    """One finished unit.

    Args:
        file: name in the parts folder; sha256: of the file.
        rows: images with features; failures: entries of its failure list.
        tasks: (backbone, view, layers, fingerprint) of each task it holds.
        positions: its samples' places in the sample list.
    """

    file: str
    sha256: str
    rows: int
    failures: int
    tasks: tuple[tuple[str, str, tuple[str, ...], str], ...]
    positions: tuple[int, ...]

    def holds(self, task: Task) -> bool:
        """Return whether the part has this task's features, made in the same way."""
        return any(
            (backbone, view) == task.key and mark == task.fingerprint and set(task.feature_layers) <= set(layers)
            for backbone, view, layers, mark in self.tasks
        )


class PartsFolder:
    """The parts folder of one store.

    Args:
        store: the store's final path.
        shard: (i, n) when several processes share the work, i from 1; each keeps a ledger of its own.
    """

    def __init__(self, store: Path, *, shard: tuple[int, int] | None = None) -> None:
        self.store = store
        self.folder = store.with_name(store.name + ".parts")
        self.name = "ledger.json" if shard is None else f"ledger-{shard[0]}-of-{shard[1]}.json"
        self.shard = shard

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder for this process; the system lets go when the process ends, however it ends.

        A run of everything holds it alone; runs of different shards share it, each alone with its shard.

        Raises:
            StoreError: another process works on the same output.
            OutputError: the folder cannot be made.
        """
        try:
            self.folder.mkdir(exist_ok=True)
        except OSError as error:
            raise output_error(self.store, error) from error
        files = []
        try:
            files.append(self._lock(_LOCK, shared=self.shard is not None))
            if self.shard is not None:
                files.append(self._lock(f"{_LOCK}-{self.shard[0]}-of-{self.shard[1]}", shared=False))
            yield
            self._remove_if_idle(files[0])
        finally:
            for file in files:
                os.close(file)

    def _lock(self, name: str, *, shared: bool) -> int:
        path = self.folder / name
        while True:
            try:
                self.folder.mkdir(exist_ok=True)
                file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
            except OSError as error:
                raise output_error(self.store, error) from error
            try:
                fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
            except OSError as error:
                owner = os.read(file, 200).decode(errors="replace") or "a process that did not say its name"
                os.close(file)
                raise StoreError(
                    f"{self.store} is being written by {owner}; wait until it has ended, or give another -o"
                ) from error
            if path.exists() and os.fstat(file).st_ino == path.stat().st_ino:
                if not shared:
                    os.truncate(file, 0)
                    os.write(file, f"process {os.getpid()} on {socket.gethostname()}".encode())
                return file
            os.close(file)  # the last owner removed the folder between our opening and locking

    def _remove_if_idle(self, lock: int) -> None:
        """Remove the folder when nothing unfinished is in it and no other shard is at work."""
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return
        if not self.parts():
            shutil.rmtree(self.folder, ignore_errors=True)

    @contextmanager
    def sealing(self) -> Iterator[None]:
        """Wait until no other shard seals, and seal alone; what a killed seal left is removed."""
        file = os.open(self.folder / _SEAL, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            remove_abandoned(self.store)
            yield
        finally:
            os.close(file)

    # -- the sample list -----------------------------------------------------------------------------------------------

    def sample_list(self) -> list[tuple[str, str, bool]] | None:
        """Return (key, source, synthetic) of every sample of the unfinished run, None when there is none."""
        path = self.folder / _SAMPLES
        if not path.exists():
            return None
        with path.open(encoding="ascii") as stream:
            return [(row[0], row[1], bool(row[2])) for row in map(json.loads, stream)]

    def keep_sample_list(self, rows: Sequence[tuple[str, str, bool]]) -> None:
        """Write the sample list once; every part's positions refer to it."""
        lines = "".join(json.dumps([key, source, int(synthetic)]) + "\n" for key, source, synthetic in rows)
        write_text(self.folder / _SAMPLES, lines)

    # -- the ledger ----------------------------------------------------------------------------------------------------

    def parts(self) -> list[Part]:
        """Return the finished units of all ledgers, in the order they were finished."""
        found: dict[str, Part] = {}
        for path in sorted(self.folder.glob("ledger*.json")):
            for entry in _read_ledger(path):
                found[entry["file"]] = _part(entry)
        return list(found.values())

    def sound_parts(self) -> tuple[list[Part], list[str]]:
        """Return the parts whose bytes are those the ledger names, and the files that are not (damaged or gone)."""
        sound, damaged = [], []
        for part in self.parts():
            path = self.folder / part.file
            if path.exists() and file_sha256(path) == part.sha256:
                sound.append(part)
            else:
                damaged.append(part.file)
        return sound, damaged

    def record(self, unit: Unit, file: Path, *, rows: int, failures: int) -> Part:
        """Name a finished unit in this process's ledger."""
        part = Part(
            file=file.name,
            sha256=file_sha256(file),
            rows=rows,
            failures=failures,
            tasks=tuple((*task.key, tuple(task.layers), task.fingerprint) for task in unit.tasks),
            positions=unit.positions,
        )
        own = self.folder / self.name
        entries = [entry for entry in _read_ledger(own) if entry["file"] != part.file]
        entries.append(_entry(part))
        write_text(own, json.dumps({"format": _FORMAT, "parts": entries}))
        return part

    def forget(self, files: set[str]) -> None:
        """Take parts out of every ledger, then delete their files."""
        for path in self.folder.glob("ledger*.json"):
            entries = _read_ledger(path)
            kept = [entry for entry in entries if entry["file"] not in files]
            if len(kept) < len(entries):
                write_text(path, json.dumps({"format": _FORMAT, "parts": kept}))
        for file in files:
            with suppress(FileNotFoundError):
                (self.folder / file).unlink()

    def open(self, part: Part) -> FeatureStore:
        """Return the part's small store."""
        return FeatureStore(self.folder / part.file)


def _read_ledger(path: Path) -> list[dict[str, Any]]:
    try:
        entries: list[dict[str, Any]] = json.loads(path.read_text(encoding="ascii"))["parts"]
    except FileNotFoundError:
        return []
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(f"the ledger {path} is damaged ({error}); delete {path.parent} to begin again") from error
    return entries


def _entry(part: Part) -> dict[str, Any]:
    return {
        "file": part.file,
        "sha256": part.sha256,
        "rows": part.rows,
        "failures": part.failures,
        "tasks": [list(task) for task in part.tasks],
        "positions": _runs(part.positions),
    }


def _part(entry: Mapping[str, Any]) -> Part:
    return Part(
        file=entry["file"],
        sha256=entry["sha256"],
        rows=entry["rows"],
        failures=entry["failures"],
        tasks=tuple((backbone, view, tuple(layers), mark) for backbone, view, layers, mark in entry["tasks"]),
        positions=tuple(position for start, stop in entry["positions"] for position in range(start, stop)),
    )


def _runs(positions: Sequence[int]) -> list[list[int]]:
    """Return positions as [start, stop) runs.

    >>> _runs([0, 1, 2, 7])
    [[0, 3], [7, 8]]
    """
    runs: list[list[int]] = []
    for position in positions:
        if runs and runs[-1][1] == position:
            runs[-1][1] += 1
        else:
            runs.append([position, position + 1])
    return runs
