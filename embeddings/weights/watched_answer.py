"""Read a server's answer in a thread of its own, so that one that trickles or falls silent is given up in time."""

import queue
import threading
from collections.abc import Callable, Iterator, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from fewshot.core.errors import FewshotError

if TYPE_CHECKING:
    from requests import Response

BLOCK_BYTES = 1 << 18
_WAITING_BLOCKS = 8


class DownloadFailed(FewshotError):
    """The server could not be reached, refused, or broke off; another address may do, or the same one later."""


class _GivenUp(Exception):
    """Nobody waits for the answer any more."""


class WatchedAnswer:
    """An answer whose head, and then every 256 KiB of whose body, must come in time; use as a context manager.

    The client's own timeout begins again with every byte, and ends no answer of one byte a second.

    Args:
        request: asks, and returns an answer whose body was not read.
        patience_seconds: how long the head and every block may take.
    """

    def __init__(self, request: "Callable[[], Response]", *, patience_seconds: float) -> None:
        self._request = request
        self._patience_seconds = patience_seconds
        self._items: queue.Queue[Any] = queue.Queue(_WAITING_BLOCKS)
        self._given_up = threading.Event()
        self.status = 0
        self.headers: Mapping[str, str] = {}

    def __enter__(self) -> Self:
        threading.Thread(target=self._receive, name="fewshot-download", daemon=True).start()
        try:
            self.status, self.headers = self._next("its answer did not come")
        except BaseException:
            self._given_up.set()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._given_up.set()

    def blocks(self) -> Iterator[bytes]:
        """Yield the body.

        Raises:
            DownloadFailed: it broke off, or came too slowly.
        """
        while (block := self._next(f"{BLOCK_BYTES >> 10} KiB did not come")) is not None:
            yield block

    def _next(self, late: str) -> Any:
        try:
            item = self._items.get(timeout=self._patience_seconds)
        except queue.Empty:
            raise DownloadFailed(f"{late} within {self._patience_seconds:g} seconds") from None
        if isinstance(item, Exception):
            raise DownloadFailed((str(item) or type(item).__name__).splitlines()[0][:300]) from item
        return item

    def _receive(self) -> None:
        try:
            with self._request() as answer:
                self._hand_over((answer.status_code, answer.headers))
                for block in answer.iter_content(BLOCK_BYTES):
                    self._hand_over(block)
            self._hand_over(None)
        except _GivenUp:
            return
        except Exception as error:  # a hostile answer makes the client raise more than its own errors
            self._hand_over(error, last=True)

    def _hand_over(self, item: Any, *, last: bool = False) -> None:
        while not self._given_up.is_set():
            try:
                return self._items.put(item, timeout=0.5)
            except queue.Full:
                continue
        if not last:
            raise _GivenUp
        return None
