"""Every verdict of a service in the audit log of ``--log``, written before it is answered."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from fewshot.detector.audit_log import AuditLog, entries
from fewshot.detector.detector import Detector
from fewshot.detector.judgement import Judged
from fewshot.service.uploads import Upload


class VerdictLog:
    """The audit log of a service, or none.

    Args:
        path: of the file; None where nothing is logged.

    Raises:
        OutputError: it cannot be written, or another file is there.
    """

    def __init__(self, path: Path | str | None) -> None:
        self._log = None if path is None else AuditLog(path)

    def append(self, detector: Detector, uploads: Sequence[Upload], found: Sequence[Judged]) -> None:
        """Append what a detector said of some uploads; images that could not be judged have no line.

        Raises:
            OutputError: it cannot be written.
        """
        if self._log is not None:
            named = [replace(judged, image=upload.name) for upload, judged in zip(uploads, found, strict=True)]
            self._log.append(entries(detector, named, now=datetime.now(UTC)))

    def close(self) -> None:
        """Have the disk take all lines."""
        if self._log is not None:
            self._log.close()
