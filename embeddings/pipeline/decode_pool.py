"""Prepare images in worker processes and hand the results on in order.

A worker is a fresh interpreter without torch (``core/child.py``) with a limit on its memory. One that dies, or that
works on one image for longer than the deadline, is replaced: its image gets a second trial, then it is listed as failed
and the others go on. Without workers, images whose decoding is certain to end soon are decoded in this process, and the
others in one that is started for the first of them.
"""

import queue
import resource
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from itertools import islice
from multiprocessing.connection import wait
from typing import Any

import numpy as np

from fewshot.core.child import Child, connected
from fewshot.core.errors import FewshotError
from fewshot.embeddings.inputs.decoders import decoder_of
from fewshot.embeddings.inputs.images import pillow_formats
from fewshot.embeddings.pipeline.prepare import Job, Preparation, Prepared, prepare, prepare_light
from fewshot.embeddings.pipeline.settings import DECODE_BYTES, DECODE_SECONDS
from fewshot.embeddings.pipeline.window import Window

_READY = "ready"
_BLOCK_JOBS = 4
_BLOCKS_AHEAD = 2
_WINDOW_BYTES = 256 << 20
_START_SECONDS = 20.0  # at least, for a worker to speak: a busy machine starts an interpreter slowly
_STARTS = 3  # workers in a row, in one's place, that may end before they spoke


def prepared_in_order(
    preparation: Preparation,
    jobs: Iterable[Job],
    *,
    workers: int,
    decode_seconds: float = DECODE_SECONDS,
    pool: "WorkerPool | None" = None,
) -> Iterator[Prepared]:
    """Yield what became of every job, in the jobs' order.

    Args:
        workers: processes; 0 decodes in this one what is certain to end soon, and the rest in one process.
        decode_seconds: what one image may take in a process of its own, from its bytes to its arrays.
        pool: processes that were started for the same preparation, and stay; started and ended here when None.
    """
    if pool is not None:
        yield from pool.run(jobs)
        return
    if workers == 0:
        yield from _prepared_here(preparation, jobs, decode_seconds)
        return
    with WorkerPool(preparation, workers, decode_seconds=decode_seconds) as pool:
        yield from pool.run(jobs)


def _prepared_here(preparation: Preparation, jobs: Iterable[Job], decode_seconds: float) -> Iterator[Prepared]:
    with ExitStack() as stack:
        pool: WorkerPool | None = None
        for job in jobs:
            light = prepare_light(preparation, job)
            if light is not None:
                yield light
                continue
            if pool is None:
                pool = stack.enter_context(WorkerPool(preparation, 1, decode_seconds=decode_seconds))
            yield from pool.run([job])


class WorkerPool:
    """Some worker processes with one preparation; use as a context manager.

    Args:
        workers: how many. decode_seconds, decode_bytes: what one image may take.
    """

    def __init__(
        self,
        preparation: Preparation,
        workers: int,
        *,
        decode_seconds: float = DECODE_SECONDS,
        decode_bytes: int = DECODE_BYTES,
    ) -> None:
        self.preparation = preparation
        self.count = workers
        self.decode_seconds = decode_seconds
        self.decode_bytes = decode_bytes
        self._workers: list[_Worker] = []
        self._bytes_each = 0.0

    def __enter__(self) -> "WorkerPool":
        self._workers = [self._started() for _ in range(self.count)]
        return self

    def _started(self, *, silent_ends: int = 0) -> "_Worker":
        start = (self.preparation, self.decode_bytes)
        return _Worker(start, decode_seconds=self.decode_seconds, silent_ends=silent_ends)

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            worker.child.close()

    def run(self, jobs: Iterable[Job]) -> Iterator[Prepared]:
        """Yield results in the order of the jobs; a thread receives while the caller works."""
        results: queue.Queue[Prepared | BaseException | None] = queue.Queue()
        room = Window()
        thread = threading.Thread(target=self._receive, args=(iter(jobs), results, room), daemon=True)
        thread.start()
        try:
            while (result := results.get()) is not None:
                if isinstance(result, BaseException):
                    raise result
                yield result
                room.consumed(1)
        finally:
            room.stop()
            thread.join()

    def _receive(
        self, jobs: Iterator[Job], results: "queue.Queue[Prepared | BaseException | None]", room: Window
    ) -> None:
        try:
            for result in self._ordered(jobs, room):
                results.put(result)
            results.put(None)
        except BaseException as error:  # handed to the caller's thread, which raises it
            results.put(error)

    def _ordered(self, jobs: Iterator[Job], room: Window) -> Iterator[Prepared]:
        waiting: dict[int, Prepared] = {}
        order: deque[int] = deque()
        more = True
        while more or order:
            more = more and self._dispatch(jobs, order, room)
            if not order:
                continue
            for result in self._arrived(timeout=0.05):
                waiting[result.number] = result
                size = sum(part.nbytes for part in result.inputs if not isinstance(part, str))
                self._bytes_each += 0.1 * (size - self._bytes_each)
            while order and order[0] in waiting:
                yield waiting.pop(order.popleft())
            if room.stopped:
                return

    def _dispatch(self, jobs: Iterator[Job], order: deque[int], room: Window) -> bool:
        """Keep every worker supplied while the window has room; return whether jobs may be left."""
        limit = max(2 * self.count, min(64 * self.count, int(_WINDOW_BYTES / max(self._bytes_each, 1.0))))
        for worker in sorted(self._workers, key=lambda worker: len(worker.pending)):
            while len(worker.pending) <= _BLOCK_JOBS * (_BLOCKS_AHEAD - 1):
                if not room.take(_BLOCK_JOBS, limit=limit, wait=not order):
                    return True
                block = list(islice(jobs, _BLOCK_JOBS))
                room.consumed(_BLOCK_JOBS - len(block))
                if not block:
                    return False
                order.extend(job.number for job in block)
                worker.give(block)
        return True

    def _arrived(self, *, timeout: float) -> list[Prepared]:
        results = []
        by_connection: dict[Any, _Worker] = {worker.child.connection: worker for worker in self._workers}
        for connection in wait(list(by_connection), timeout=timeout):
            worker = by_connection[connection]
            try:
                results += worker.receive()
            except (EOFError, ConnectionError):
                worker.child.close()
                results += self._replace(worker, f"damaged: the decoder process died twice ({worker.child.ending})")
            except BlockingIOError:  # stopped while it sent
                continue
        late = f"timeout: not decoded within {self.decode_seconds:g} s, twice; --decode-seconds allows more"
        for worker in [worker for worker in self._workers if worker.late(self.decode_seconds)]:
            worker.child.kill()
            worker.child.close()
            results += self._replace(worker, late)
        return results

    def _replace(self, dead: "_Worker", failure: str) -> list[Prepared]:
        """Start a new worker in a dead one's place; the job it worked on is tried once more, then given up."""
        silent_ends = 0 if dead.spoke else dead.silent_ends + 1
        if silent_ends >= _STARTS:
            raise FewshotError(
                f"{_STARTS} worker processes in a row ended at their start ({dead.child.ending}); their message is "
                f"above. Run again with --workers 0 to work in one process"
            )
        fresh = self._started(silent_ends=silent_ends)
        self._workers[self._workers.index(dead)] = fresh
        left = list(dead.pending)
        given_up = []
        if left and left[0].number in dead.retried:
            given_up = [Prepared(left[0].number, failure=failure)]
            left = left[1:]
        elif left and dead.spoke:
            fresh.retried.add(left[0].number)
        if left:
            fresh.give(left)
        return given_up


class _Worker:
    """This process's end of one worker."""

    def __init__(self, start: tuple[Preparation, int], *, decode_seconds: float, silent_ends: int) -> None:
        self.child = Child("fewshot.embeddings.pipeline.decode_pool", "serve")
        self.child.limit_transfers(decode_seconds)
        self.silent_ends = silent_ends  # of those before it in its place
        self.pending: deque[Job] = deque()
        self.retried: set[int] = set()
        self.spoke = False
        self._since = time.monotonic()
        self.child.send(start)

    def give(self, jobs: list[Job]) -> None:
        """Send more jobs."""
        if not self.pending:
            self._since = time.monotonic()
        self.pending.extend(jobs)
        self.child.send(jobs)

    def late(self, decode_seconds: float) -> bool:
        """Return whether it has been at its first job, or at its start, for longer than it may."""
        allowed = decode_seconds if self.spoke else max(decode_seconds, _START_SECONDS)
        return bool(self.pending) and time.monotonic() - self._since > allowed

    def receive(self) -> list[Prepared]:
        """Return the next result, none for a greeting: a header, then the bytes of each array in turn."""
        message = self.child.connection.recv()
        if message == _READY:
            self.spoke = True
            self._since = time.monotonic()
            return []
        result, shapes = message
        for number, (shape, dtype) in shapes.items():
            array = np.empty(shape, np.dtype(dtype))
            view = array.data.cast("B")
            while len(view):
                count = self.child.socket.recv_into(view)
                if count == 0:
                    raise EOFError
                view = view[count:]
            result.inputs[number] = array
        self.pending.popleft()
        self._since = time.monotonic()
        return [result]


def serve(descriptor: int) -> None:
    """Prepare jobs until the other side closes; the body of a worker process."""
    stream, connection = connected(descriptor)
    try:
        preparation, decode_bytes = connection.recv()
        decoder_of(preparation.pixels.decoder)  # readers are loaded now, at no image's expense
        pillow_formats()
        _limit_memory(preparation, decode_bytes)
        connection.send(_READY)
        while True:
            for job in connection.recv():
                _answer(connection, stream, prepare(preparation, job))
    except (EOFError, ConnectionError):
        return


def _limit_memory(preparation: Preparation, most_bytes: int) -> None:
    """Let an allocation beyond the limit raise MemoryError; a CUDA decoder maps more than that without using it."""
    if preparation.pixels.decoder == "nvjpeg":
        return
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limit = most_bytes if hard == resource.RLIM_INFINITY else min(most_bytes, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))


def _answer(connection: Any, stream: Any, result: Prepared) -> None:
    arrays = {number: part for number, part in enumerate(result.inputs) if not isinstance(part, str)}
    for number in arrays:
        result.inputs[number] = ""
    connection.send((result, {number: (part.shape, part.dtype.str) for number, part in arrays.items()}))
    for part in arrays.values():
        if part.size:
            stream.sendall(part.data.cast("B"))
