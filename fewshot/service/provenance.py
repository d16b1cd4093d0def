"""Content credentials beside verdicts, where they are asked for: read by a process that is started for the first."""

import threading
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

from starlette.concurrency import run_in_threadpool

from fewshot.core.errors import FewshotError
from fewshot.detector.credentials import MISSING, Credentials
from fewshot.service.problems import INVALID, LOG, UNAVAILABLE, Problem
from fewshot.service.uploads import Upload


class Provenance:
    """What images say of their origin; never part of a score."""

    def __init__(self) -> None:
        self.offered = find_spec("c2pa") is not None
        self._credentials: Credentials | None = None
        self._lock = threading.Lock()

    def require_offered(self) -> None:
        """Refuse where the package that reads it is not installed.

        Raises:
            Problem: so.
        """
        if not self.offered:
            raise Problem(INVALID, f"provenance: {MISSING}")

    async def evidence(self, uploads: Sequence[Upload]) -> list[dict[str, Any]]:
        """Return what each image says of its origin, as ``Credentials.evidence``.

        Raises:
            Problem: the process that reads it does not start.
        """
        try:
            credentials = await run_in_threadpool(self._started)
        except FewshotError as error:
            LOG.error("provenance cannot be read: %s", error)
            raise Problem(UNAVAILABLE, "provenance cannot be read now; the service's log says why") from error
        return [await run_in_threadpool(credentials.evidence, upload.path) for upload in uploads]

    def close(self) -> None:
        """End the process, if there is one."""
        if self._credentials is not None:
            self._credentials.__exit__(None, None, None)

    def _started(self) -> Credentials:
        with self._lock:
            if self._credentials is None:
                self._credentials = Credentials().__enter__()
            return self._credentials
