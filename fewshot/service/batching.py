"""One thread judges the images of all requests, as many at once as wait: micro-batches without a wait of their own."""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass, field
from math import ceil

from PIL import Image

from fewshot.core.errors import FewshotError
from fewshot.detector.judgement import Judged
from fewshot.detector.scorer import Scorer
from fewshot.service.limits import Limits
from fewshot.service.metrics import Metrics
from fewshot.service.problems import BUSY, LOG, UNAVAILABLE, Problem
from fewshot.service.uploads import Upload
from fewshot.service.verdict_log import VerdictLog

_FIRST_PIXELS = (256, 256)
_TOGETHER = 8  # through the networks, while the next ones of the batch are decoded
_LONGEST_RETRY_SECONDS = 60
_JOIN_SECONDS = 5.0


@dataclass(frozen=True, eq=False)
class Waiting:
    """The images of one request, in the queue.

    Args:
        re_encoded: whether they are judged under re-encodings too.
        release: to be called once the files are needed no more.
    """

    uploads: Sequence[Upload]
    re_encoded: bool
    release: Callable[[], None]
    answer: "Future[list[Judged]]" = field(default_factory=Future)


class Judge:
    """The scorers' thread with the queue before it.

    Args:
        scorer: judges; shadow: judges the same images afterwards, which shows in metrics and log only.
        log: takes every verdict before it is answered.
    """

    def __init__(
        self, scorer: Scorer, shadow: Scorer | None, *, limits: Limits, metrics: Metrics, log: VerdictLog
    ) -> None:
        self._scorer, self._shadow = scorer, shadow
        self._limits, self._metrics, self._log = limits, metrics, log
        self._queue: deque[Waiting] = deque()
        self._changed = threading.Condition()
        self._ending = False
        self._seconds_each = 0.0
        self._thread = threading.Thread(target=self._run, name="fewshot-judge", daemon=True)
        self.ready = threading.Event()
        self.broken = ""

    def start(self) -> None:
        """Start the thread; ``ready`` is set once it can judge."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread after its batch; whoever waits still is told so."""
        with self._changed:
            self._ending = True
            self._changed.notify()
        if self._thread.ident is not None:
            self._thread.join(_JOIN_SECONDS)
        self._drop_waiting()

    @property
    def waiting_images(self) -> int:
        """How many images wait; those of clients that left do not."""
        with self._changed:
            return self._waiting_images()

    def require_room(self, images: int) -> None:
        """Refuse so many more images where the queue is full, or where nothing is judged any more.

        Raises:
            Problem: so.
        """
        with self._changed:
            self._require_room(images)

    def submit(
        self, uploads: Sequence[Upload], *, re_encoded: bool, release: Callable[[], None]
    ) -> "Future[list[Judged]]":
        """Put the images of a request into the queue; cancelling what is returned takes them out of it.

        Raises:
            Problem: as ``require_room``.
        """
        waiting = Waiting(uploads, re_encoded, release)
        with self._changed:
            self._require_room(len(uploads))
            self._queue.append(waiting)
            self._changed.notify()
        return waiting.answer

    def _waiting_images(self) -> int:
        return sum(len(each.uploads) for each in self._queue if not each.answer.cancelled())

    def _require_room(self, images: int) -> None:
        if self._ending or self.broken:
            raise Problem(UNAVAILABLE, "the service judges no more images", _LONGEST_RETRY_SECONDS)
        before = self._waiting_images()
        if before and before + images > self._limits.queue_images:
            retry = min(max(1, ceil(before * self._seconds_each)), _LONGEST_RETRY_SECONDS)
            raise Problem(BUSY, f"{before} images wait to be judged, and no more are taken", retry)

    # -- the thread ------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            with ExitStack() as stack:
                for scorer in filter(None, (self._scorer, self._shadow)):
                    stack.enter_context(scorer)
                    scorer.images([Image.new("RGB", _FIRST_PIXELS)])  # starts processes, at nobody's expense
                self.ready.set()
                while batch := self._next_batch():
                    self._judge(batch)
        except BaseException as error:  # nobody else would tell that nothing is judged any more
            self.broken = f"{type(error).__name__}: {error}"
            LOG.exception("the scorer's thread ended")
            self._drop_waiting()

    def _next_batch(self) -> list[Waiting]:
        """Return requests that can be judged together, the first that came among them; none at the end."""
        batch: list[Waiting] = []
        with self._changed:
            while not batch:
                while not self._queue and not self._ending:
                    self._changed.wait()
                if self._ending:
                    return []
                while self._queue and self._fits(batch):
                    waiting = self._queue.popleft()
                    if waiting.answer.set_running_or_notify_cancel():
                        batch.append(waiting)
                    else:
                        waiting.release()
        return batch

    def _fits(self, batch: Sequence[Waiting]) -> bool:
        after = self._queue[0]
        if not batch:
            return True
        images = sum(len(each.uploads) for each in batch) + len(after.uploads)
        return after.re_encoded == batch[0].re_encoded and images <= self._limits.batch_images

    def _judge(self, batch: Sequence[Waiting]) -> None:
        """Answer a batch; where judging it together fails, each request is judged alone, so that one fails only."""
        try:
            self._answer(batch)
        except Exception as error:
            LOG.error("%d requests could not be judged together: %s: %s", len(batch), type(error).__name__, error)
            for waiting in batch:
                self._judge_alone(waiting)
        finally:
            for waiting in batch:
                waiting.release()

    def _judge_alone(self, waiting: Waiting) -> None:
        if waiting.answer.done():  # before the batch failed
            return
        try:
            self._answer([waiting])
        except Exception as error:
            if not waiting.answer.done():
                waiting.answer.set_exception(_told(error))

    def _answer(self, batch: Sequence[Waiting]) -> None:
        """Judge a batch, and answer each request as soon as its last image is judged."""
        uploads = [upload for waiting in batch for upload in waiting.uploads]
        started = time.monotonic()
        found: list[Judged] = []
        left = deque(batch)
        paths = [upload.path for upload in uploads]
        for judged in self._scorer.stream(paths, re_encoded=batch[0].re_encoded, together=_TOGETHER):
            found.append(judged)
            if left and len(found) == sum(len(each.uploads) for each in batch[: len(batch) - len(left) + 1]):
                waiting = left.popleft()
                own = found[-len(waiting.uploads) :]
                self._log.append(self._scorer.detector, waiting.uploads, own)
                waiting.answer.set_result(own)
        seconds = time.monotonic() - started
        self._seconds_each += 0.2 * (seconds / len(found) - self._seconds_each)
        self._metrics.judged(found, seconds=seconds)
        if self._shadow is not None:
            self._compare(self._shadow, uploads, found)

    def _compare(self, shadow: Scorer, uploads: Sequence[Upload], found: Sequence[Judged]) -> None:
        """Have the shadow judge the same images; whatever goes wrong with it concerns nobody who waits."""
        started = time.monotonic()
        try:
            other = shadow.files([upload.path for upload in uploads])
            self._log.append(shadow.detector, uploads, other)
            self._metrics.compared(found, other, seconds=time.monotonic() - started)
        except Exception as error:
            LOG.error("the shadow %s failed: %s: %s", shadow.detector.name, type(error).__name__, error)

    def _drop_waiting(self) -> None:
        with self._changed:
            left = list(self._queue)
            self._queue.clear()
        for waiting in left:
            if waiting.answer.set_running_or_notify_cancel():
                waiting.answer.set_exception(Problem(UNAVAILABLE, "the service judges no more images", 5))
            waiting.release()


def _told(error: Exception) -> Exception:
    """Return what the client is told: our own errors speak of this machine, and stand in the log."""
    if isinstance(error, FewshotError):
        return Problem(UNAVAILABLE, "the images could not be judged; the service's log says why", 5)
    return error
