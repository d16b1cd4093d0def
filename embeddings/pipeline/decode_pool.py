"""Prepare images in worker processes and hand the results on in order.

A worker is a fresh interpreter that talks over a socket, not a fork: no thread or CUDA state is copied, the user's
script is not imported again, and torch is not loaded. It ends by itself when this process dies, and its own death
costs the image it worked on a second trial, then that image is listed as failed.
"""

import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import islice
from multiprocessing.connection import Connection, wait
from typing import Any

import numpy as np

from fewshot.core.errors import FewshotError
from fewshot.embeddings.pipeline.prepare import Job, Prepared, Recipe, prepare

_READY = "ready"
_BLOCK_JOBS = 4
_BLOCKS_AHEAD = 2
_WINDOW_BYTES = 256 << 20
_START = (
    "import sys, json; sys.path[:] = json.loads(sys.argv[1]);"
    " from fewshot.embeddings.pipeline.decode_pool import serve; serve({})"
)


def prepared_in_order(recipe: Recipe, jobs: Iterable[Job], *, workers: int) -> Iterator[Prepared]:
    """Yield what became of every job, in the jobs' order; in this process when ``workers`` is 0."""
    if workers == 0:
        for job in jobs:
            yield prepare(recipe, job)
        return
    with WorkerPool(recipe, workers) as pool:
        yield from pool.run(jobs)


class WorkerPool:
    """Some worker processes with one recipe; use as a context manager."""

    def __init__(self, recipe: Recipe, workers: int) -> None:
        self.recipe = recipe
        self.count = workers
        self._workers: list[_Worker] = []
        self._bytes_each = 0.0

    def __enter__(self) -> "WorkerPool":
        self._workers = [_Worker(self.recipe) for _ in range(self.count)]
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            worker.close()

    def run(self, jobs: Iterable[Job]) -> Iterator[Prepared]:
        """Yield results in the order of the jobs; a thread receives while the caller works."""
        results: queue.Queue[Prepared | BaseException | None] = queue.Queue()
        room = _Window()
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
        self, jobs: Iterator[Job], results: "queue.Queue[Prepared | BaseException | None]", room: "_Window"
    ) -> None:
        try:
            for result in self._ordered(jobs, room):
                results.put(result)
            results.put(None)
        except BaseException as error:  # handed to the caller's thread, which raises it
            results.put(error)

    def _ordered(self, jobs: Iterator[Job], room: "_Window") -> Iterator[Prepared]:
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

    def _dispatch(self, jobs: Iterator[Job], order: deque[int], room: "_Window") -> bool:
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
                worker.send(block)
        return True

    def _arrived(self, *, timeout: float) -> list[Prepared]:
        results = []
        by_connection: dict[Any, _Worker] = {worker.connection: worker for worker in self._workers}
        for connection in wait(list(by_connection), timeout=timeout):
            worker = by_connection[connection]
            try:
                results += worker.receive()
            except (EOFError, ConnectionError):
                results += self._replace(worker)
        return results

    def _replace(self, dead: "_Worker") -> list[Prepared]:
        """Start a new worker in a dead one's place; the job it worked on is tried once more, then given up."""
        dead.close()
        if not dead.spoke:
            raise FewshotError(
                f"a worker process ended at its start (exit status {dead.process.returncode}); its message is above. "
                f"Run again with --workers 0 to work in one process"
            )
        fresh = _Worker(self.recipe)
        self._workers[self._workers.index(dead)] = fresh
        left = list(dead.pending)
        given_up = []
        if left and left[0].number in dead.retried:
            given_up = [Prepared(left[0].number, failure=f"damaged: the decoder process died twice ({dead.ending})")]
            left = left[1:]
        elif left:
            fresh.retried.add(left[0].number)
        if left:
            fresh.send(left)
        return given_up


class _Window:
    """How many jobs are under way between dispatch and consumption, so that memory stays bounded."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._under_way = 0
        self.stopped = False

    def take(self, count: int, *, limit: int, wait: bool) -> bool:
        """Add ``count`` if there is room, waiting for it if asked; return whether they were added."""
        with self._condition:
            while wait and not self.stopped and self._under_way and self._under_way + count > limit:
                self._condition.wait(timeout=0.5)
            if self.stopped or (self._under_way and self._under_way + count > limit):
                return False
            self._under_way += count
            return True

    def consumed(self, count: int) -> None:
        """Make room."""
        with self._condition:
            self._under_way -= count
            self._condition.notify_all()

    def stop(self) -> None:
        """Let the receiving thread end."""
        with self._condition:
            self.stopped = True
            self._condition.notify_all()


class _Worker:
    """This process's end of one worker."""

    def __init__(self, recipe: Recipe) -> None:
        ours, theirs = socket.socketpair()
        arguments = [sys.executable, "-c", _START.format(theirs.fileno()), json.dumps(sys.path)]
        self.process = subprocess.Popen(arguments, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)
        theirs.close()
        self._socket = ours
        self.connection = Connection(os.dup(ours.fileno()))
        self.pending: deque[Job] = deque()
        self.retried: set[int] = set()
        self.spoke = False
        self._send(recipe)

    @property
    def ending(self) -> str:
        """How the process ended, in words."""
        code = self.process.returncode
        return signal.Signals(-code).name if code is not None and code < 0 else f"exit status {code}"

    def send(self, jobs: list[Job]) -> None:
        self.pending.extend(jobs)
        self._send(jobs)

    def _send(self, message: Any) -> None:
        with suppress(OSError):  # it died; the reading side finds out and replaces it
            self.connection.send(message)

    def receive(self) -> list[Prepared]:
        """Return the next result, none for a greeting: a header, then the bytes of each array into its place."""
        message = self.connection.recv()
        if message == _READY:
            self.spoke = True
            return []
        result, shapes = message
        for place, (shape, dtype) in shapes.items():
            array = np.empty(shape, np.dtype(dtype))
            view = array.data.cast("B")
            while len(view):
                count = self._socket.recv_into(view)
                if count == 0:
                    raise EOFError
                view = view[count:]
            result.inputs[place] = array
        self.pending.popleft()
        return [result]

    def close(self) -> None:
        self.connection.close()
        self._socket.close()
        try:
            self.process.wait(timeout=1.0)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def serve(descriptor: int) -> None:
    """Prepare jobs until the other side closes; the body of a worker process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the whole group; the parent ends us by closing
    stream = socket.socket(fileno=descriptor)
    connection = Connection(os.dup(descriptor))
    try:
        recipe: Recipe = connection.recv()
        connection.send(_READY)
        while True:
            for job in connection.recv():
                _answer(connection, stream, prepare(recipe, job))
    except (EOFError, ConnectionError):
        return


def _answer(connection: "Connection[Any, Any]", stream: socket.socket, result: Prepared) -> None:
    arrays = {place: part for place, part in enumerate(result.inputs) if not isinstance(part, str)}
    for place in arrays:
        result.inputs[place] = ""
    connection.send((result, {place: (part.shape, part.dtype.str) for place, part in arrays.items()}))
    for part in arrays.values():
        if part.size:
            stream.sendall(part.data.cast("B"))
