"""Unfinished work beside a store, in ``STORE.h5.parts/``: finished units, their ledger, the sample list and the lock.

The folder is ours when it has our marker (``parts_marker.py``); any other folder of that name is left alone. A unit's
file is itself a small sealed store, written under a temporary name with checksums, closed, fsynced, reopened,
counted and renamed; only then does the ledger name it. Whatever a killed run left besides is overwritten or ignored.
"""

import fcntl
import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from fewshot.core.errors import OutputError, StoreError
from fewshot.core.files import file_sha256, output_error, remove_abandoned, write_text
from fewshot.core.regular_files import require_regular
from fewshot.embeddings.layer_key import LayerKey
from fewshot.embeddings.pipeline.ledger_file import Entry, read_entries, read_samples, samples_text, write_entries
from fewshot.embeddings.pipeline.parts_marker import is_own, make_parts_folder, remove_own_files
from fewshot.embeddings.pipeline.units import Task, Unit
from fewshot.embeddings.store.read_errors import NO_LOCKS
from fewshot.embeddings.store.reader import FeatureStore

_SAMPLES = "samples.jsonl"
_LOCK = "lock"
_SEAL = "seal"


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
        self._opened: dict[str, FeatureStore] = {}

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder for this process; the system lets go when the process ends, however it ends.

        A run of everything holds it alone; runs of different shards share it, each alone with its shard.

        Raises:
            StoreError: another process works on the same output.
            OutputError: the folder cannot be made, or one of its name is not ours.
        """
        make_parts_folder(self.folder, self.store)
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
            make_parts_folder(self.folder, self.store)
            try:
                file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o644)
            except FileNotFoundError:
                continue  # the last owner removed the folder between our making and opening
            except OSError as error:
                raise output_error(self.store, error) from error
            self._take_lock(file, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
            if path.exists() and os.fstat(file).st_ino == path.stat().st_ino:
                if not shared:
                    os.truncate(file, 0)
                    os.write(file, f"process {os.getpid()} on {socket.gethostname()}".encode())
                return file
            os.close(file)  # the last owner removed the folder between our opening and locking

    def _take_lock(self, file: int, kind: int) -> None:
        try:
            fcntl.flock(file, kind | fcntl.LOCK_NB)
        except OSError as error:
            owner = os.read(file, 200).decode(errors="replace") or "a process that did not say its name"
            os.close(file)
            raise self._lock_error(error, owner) from error

    def _lock_error(self, error: OSError, owner: str) -> Exception:
        """Return what to say of a lock that was refused: held by another, unknown to the file system, or a fault."""
        if isinstance(error, BlockingIOError):
            return StoreError(f"{self.store} is being written by {owner}; wait until it has ended, or give another -o")
        if error.errno in NO_LOCKS:
            return OutputError(
                f"{self.store} cannot be written: its file system knows no locks, and two runs could not be kept "
                f"apart; give -o on a local disk, and copy the store when it is sealed"
            )
        return output_error(self.store, error)

    def _remove_if_idle(self, lock: int) -> None:
        """Remove the folder when nothing unfinished is in it and no other shard is at work."""
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return
        if not self.parts():
            remove_own_files(self.folder)

    @contextmanager
    def sealing(self) -> Iterator[None]:
        """Wait until no other shard seals, and seal alone; what a killed seal left is removed."""
        try:
            file = os.open(self.folder / _SEAL, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise output_error(self.store, error) from error
        try:
            try:
                fcntl.flock(file, fcntl.LOCK_EX)
            except OSError as error:
                raise self._lock_error(error, "another shard") from error
            remove_abandoned(self.store)
            yield
        finally:
            os.close(file)

    # -- the sample list -----------------------------------------------------------------------------------------------

    def sample_list(self) -> list[tuple[str, str, bool]] | None:
        """Return (key, source, synthetic) of every sample of the unfinished run, None when there is none.

        Raises:
            StoreError: the list is damaged.
        """
        return read_samples(self.folder / _SAMPLES)

    def keep_sample_list(self, rows: Sequence[tuple[str, str, bool]]) -> None:
        """Write the sample list once; every part's positions refer to it."""
        write_text(self.folder / _SAMPLES, samples_text(rows))

    # -- the ledger ----------------------------------------------------------------------------------------------------

    def parts(self) -> list[Part]:
        """Return the finished units of all ledgers, in the order they were finished; none where no folder is ours.

        Raises:
            StoreError: a ledger is damaged.
        """
        found: dict[str, Part] = {}
        for path in self._ledgers() if is_own(self.folder) else ():
            for entry in read_entries(path):
                found[entry.file] = _part(entry)
        return list(found.values())

    def _ledgers(self) -> list[Path]:
        return sorted(self.folder.glob("ledger*.json"))

    def sound_parts(self) -> tuple[list[Part], list[str]]:
        """Return the parts whose bytes are those the ledger names, and the files that are not (damaged or gone)."""
        sound: list[Part] = []
        damaged: list[Part] = []
        for part in self.parts():
            (sound if self._is_sound(part) else damaged).append(part)
        return sound, [part.file for part in damaged]

    def _is_sound(self, part: Part) -> bool:
        path = self.folder / part.file
        try:
            require_regular(path)
            if file_sha256(path) != part.sha256:
                return False
            with self.open(part) as store:
                keys = (LayerKey(backbone, layer, view) for backbone, view, layers, _ in part.tasks for layer in layers)
                return len(store) == part.rows and all(map(store.has_layer, keys))
        except (OSError, StoreError):
            return False

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
        entries = [entry for entry in read_entries(own) if entry.file != part.file]
        write_entries(own, [*entries, _entry(part)])
        return part

    def forget(self, files: set[str]) -> None:
        """Take parts out of every ledger, then delete their files."""
        for path in self._ledgers():
            entries = read_entries(path)
            kept = [entry for entry in entries if entry.file not in files]
            if len(kept) < len(entries):
                write_entries(path, kept)
        for file in files:
            self._opened.pop(file, None)
            with suppress(FileNotFoundError):
                (self.folder / file).unlink()

    def open(self, part: Part) -> FeatureStore:
        """Return the part's small store, whose structure is checked once; the caller closes it."""
        if part.file not in self._opened:
            self._opened[part.file] = FeatureStore(self.folder / part.file)
        return self._opened[part.file]


def _entry(part: Part) -> Entry:
    return Entry(
        file=part.file,
        sha256=part.sha256,
        rows=part.rows,
        failures=part.failures,
        tasks=list(part.tasks),
        positions=_runs(part.positions),
    )


def _part(entry: Entry) -> Part:
    return Part(
        file=entry.file,
        sha256=entry.sha256,
        rows=entry.rows,
        failures=entry.failures,
        tasks=tuple(entry.tasks),
        positions=tuple(position for start, stop in entry.positions for position in range(start, stop)),
    )


def _runs(positions: Sequence[int]) -> list[tuple[int, int]]:
    """Return positions as [start, stop) runs.

    >>> _runs([0, 1, 2, 7])
    [(0, 3), (7, 8)]
    """
    runs: list[tuple[int, int]] = []
    for position in positions:
        if runs and runs[-1][1] == position:
            runs[-1] = (runs[-1][0], position + 1)
        else:
            runs.append((position, position + 1))
    return runs
