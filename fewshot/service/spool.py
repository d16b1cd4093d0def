"""Uploads on the disk: a private folder, a folder in it for each request, and never more bytes than allowed."""

import shutil
import tempfile
import threading
from pathlib import Path

from fewshot.service.limits import Limits
from fewshot.service.problems import BUSY, UNAVAILABLE, Problem

_RETRY_SECONDS = 5


class Spool:
    """The private folder of one service; open it before, close it after."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._folder: Path | None = None
        self._lock = threading.Lock()
        self._number = 0
        self.requests = 0
        self.bytes = 0

    def open(self) -> None:
        """Make the folder, readable for this user only."""
        self._folder = Path(tempfile.mkdtemp(prefix="fewshot-serve-"))

    def close(self) -> None:
        """Remove the folder with all that is in it."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def admit(self) -> "SpooledRequest":
        """Return the folder of one more request.

        Raises:
            Problem: too many requests are under way, or the disk does not take it.
        """
        if self._folder is None:
            raise Problem(UNAVAILABLE, "the service is not started yet", _RETRY_SECONDS)
        with self._lock:
            if self.requests >= self._limits.requests:
                raise Problem(BUSY, f"{self.requests} requests are under way, and no more are taken", _RETRY_SECONDS)
            self.requests += 1
            self._number += 1
            folder = self._folder / str(self._number)
        try:
            folder.mkdir(mode=0o700)
        except OSError as error:
            self.leave(0)
            raise no_room(error) from error
        return SpooledRequest(self, folder)

    def take(self, size: int) -> None:
        """Count so many bytes more.

        Raises:
            Problem: they are more than may lie there at once.
        """
        with self._lock:
            if self.bytes + size > self._limits.spool_bytes:
                raise Problem(UNAVAILABLE, "too many bytes are uploaded at once", _RETRY_SECONDS)
            self.bytes += size

    def leave(self, size: int) -> None:
        """Count one request and its bytes no more."""
        with self._lock:
            self.bytes -= size
            self.requests -= 1


class SpooledRequest:
    """The folder of one request, removed once everyone who holds it let go."""

    def __init__(self, spool: Spool, folder: Path) -> None:
        self.folder = folder
        self._spool = spool
        self._bytes = 0
        self._holders = 1
        self._lock = threading.Lock()

    def take(self, size: int) -> None:
        """Count so many bytes more; errors as ``Spool.take``."""
        self._spool.take(size)
        self._bytes += size

    def hold(self) -> None:
        """Keep the files until one more ``release``."""
        with self._lock:
            self._holders += 1

    def release(self) -> None:
        """Let go of the files."""
        with self._lock:
            self._holders -= 1
            if self._holders:
                return
        shutil.rmtree(self.folder, ignore_errors=True)
        self._spool.leave(self._bytes)


def no_room(error: OSError) -> Problem:
    """Return the problem of a disk that does not take an upload."""
    return Problem(UNAVAILABLE, f"the upload cannot be kept: {error.strerror or error}", _RETRY_SECONDS)
