"""Shuffled batches of feature rows without end, from memory or from a store, in bounded memory."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fewshot.core.arrays import FloatArray, IntArray
from fewshot.core.errors import EpisodeError

ReadRows = Callable[[IntArray], FloatArray]

WINDOW_BYTES = 64 << 20
RUN_ROWS = 256  # neighbours that stay together when runs are shuffled
READ_ROWS = 4096  # read from the store at once: fewer cost more calls and checksums, more are held twice


class RowStream:
    """Batches of some rows in random order, one pass after another, every batch full.

    When all rows fit into one window they are read once and every pass is one uniform permutation. Otherwise a pass
    cuts the rows into runs of ``RUN_ROWS`` neighbours, shuffles the runs, and mixes as many of them as fill a window;
    the next window is read in a thread while this one is used, so two lie in memory. The first is begun at once; what
    goes wrong while reading is raised by ``take``.

    Args:
        read: gives the features of some rows: (n,) int64 -> (n, D) float16 or float32.
        rows: (n,) int64 row numbers, ascending, at least one.
        seed: numbers that the order follows from.
        device: where the batches are wanted.
        window_bytes: how large one window of rows, in the type they are read in, may be.
    """

    def __init__(
        self,
        read: ReadRows,
        rows: IntArray,
        *,
        seed: tuple[int, ...],
        device: str | torch.device = "cpu",
        window_bytes: int = WINDOW_BYTES,
    ) -> None:
        if len(rows) == 0:
            raise EpisodeError("a training class has no rows; give every class at least one image")
        self.read, self.rows, self.device = read, np.asarray(rows, dtype=np.int64), torch.device(device)
        self._generator = np.random.default_rng(list(seed))
        self._one = read(self.rows[:1])
        self._window_rows = max(RUN_ROWS, window_bytes // self._one.nbytes)
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="fewshot-rows")
        self._picks = _window_picks(self.rows, self._window_rows, self._generator)
        self._coming: Future[Tensor] | None = self._read_ahead()
        self._window = torch.empty(0)
        self._order = torch.empty(0, dtype=torch.int64)
        self._at = 0

    @property
    def dimension(self) -> int:
        """D of the features."""
        return int(self._one.shape[1])

    def take(self, count: int) -> Tensor:
        """Return the next ``count`` rows: (count, D) float32 on the device; a batch may span passes."""
        parts, missing = [], count
        while missing:
            if self._at == len(self._order):
                self._turn()
            chosen = self._order[self._at : self._at + missing]
            parts.append(self._window.index_select(0, chosen))
            self._at += len(chosen)
            missing -= len(chosen)
        batch = parts[0] if len(parts) == 1 else torch.cat(parts)
        return batch.to(torch.float32)

    def _read_ahead(self) -> Future[Tensor] | None:
        rows = next(self._picks, None)
        return None if rows is None else self._reader.submit(self._load, rows)

    def _turn(self) -> None:
        """Go on to the next window, or where there is only one, to the next pass over it."""
        if self._coming is not None:
            self._window = self._coming.result()
            self._coming = self._read_ahead()
        self._order, self._at = self._permutation(len(self._window)), 0

    def _load(self, rows: IntArray) -> Tensor:
        """Read rows in small parts, so that no more than one part is held besides the window."""
        window: Any = np.empty((len(rows), self.dimension), self._one.dtype)
        for start in range(0, len(rows), READ_ROWS):
            window[start : start + READ_ROWS] = self.read(rows[start : start + READ_ROWS])
        return torch.from_numpy(window).to(self.device)

    def _permutation(self, count: int) -> Tensor:
        return torch.from_numpy(self._generator.permutation(count)).to(self.device)


def _window_picks(rows: IntArray, window_rows: int, generator: np.random.Generator) -> Iterator[IntArray]:
    """Yield the row numbers of each window, pass after pass, all but a pass's last full; one for rows that fit.

    A function that knows no stream: a generator of the stream's own would keep it, and its windows, alive in a cycle.
    """
    if len(rows) <= window_rows:
        yield rows
        return
    runs = np.array_split(rows, -(-len(rows) // RUN_ROWS))
    per_window = max(1, window_rows // RUN_ROWS)
    order = np.random.default_rng(generator.integers(1 << 62))
    while True:
        shuffled = order.permutation(len(runs))
        for start in range(0, len(runs), per_window):
            yield np.sort(np.concatenate([runs[run] for run in shuffled[start : start + per_window]]))
