"""The audit log: one line of JSON for every verdict that was given, appended as it is given and never rewritten.

Each line stands for itself, so that logs can be cut into parts and joined again. Several processes may append to one
log: each takes a lock for the moment of writing.
"""

import fcntl
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Annotated, Any, BinaryIO, Literal, Self

import msgspec

from fewshot.core.control_characters import json_text
from fewshot.core.errors import InputError
from fewshot.core.files import output_error
from fewshot.core.looked_for import why_unread
from fewshot.core.outputs import AUDIT_LOG, require_kind
from fewshot.core.regular_files import open_regular, require_regular
from fewshot.detector.description import Finite, Share
from fewshot.detector.detector import Detector
from fewshot.detector.judgement import Judged
from fewshot.detector.verdict import Verdict

VERSION: Literal[1] = 1
_OPTION = "--log"
_LINE_BYTES = 1 << 20
_SHA256 = "^(?:[0-9a-f]{64})?$"


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One verdict that was given.

    Args:
        time: when, ISO 8601 in UTC, for example ``2026-01-31T12:00:00.123+00:00``.
        image_sha256: of the image file's bytes; detector_sha256: of the detector file's. Empty where there is none.
        image: its path, key or name, as it was given.
        score, verdict, unknown, p_value: as in ``Judgement``.
        alarm, clear: the detector's thresholds.
    """

    time: str
    image_sha256: str
    detector_sha256: str
    image: str
    score: float
    verdict: Verdict
    unknown: bool
    p_value: float
    alarm: float
    clear: float


class _Line(msgspec.Struct, frozen=True, kw_only=True):
    """What a line holds, with the types that it must have; further fields are passed over."""

    audit: Annotated[int, msgspec.Meta(ge=1, le=VERSION)]
    time: str
    image_sha256: Annotated[str, msgspec.Meta(pattern=_SHA256)]
    detector_sha256: Annotated[str, msgspec.Meta(pattern=_SHA256)]
    image: str
    score: Finite
    verdict: Verdict
    unknown: bool
    p_value: Share
    alarm: Finite
    clear: Finite


def entries(detector: Detector, some: Sequence[Judged], *, now: datetime) -> list[AuditEntry]:
    """Return the lines of an audit log for the verdicts of some images; what failed has none.

    Args:
        now: when they were given, UTC.
    """
    alarm, clear = detector.description.alarm.value, detector.description.clear.value
    return [
        AuditEntry(
            time=now.isoformat(timespec="milliseconds"),
            image_sha256=judged.file_sha256,
            detector_sha256=detector.digest,
            image=judged.image,
            score=judged.judgement.score,
            verdict=judged.judgement.verdict,
            unknown=judged.judgement.unknown,
            p_value=judged.judgement.p_value,
            alarm=alarm,
            clear=clear,
        )
        for judged in some
        if judged.judgement is not None
    ]


class AuditLog:
    """A log that is open for appending; a context manager.

    What was appended survives the death of this process. A last line that a killed one left half-written is completed
    where only its end is missing, and cut off otherwise.

    Raises:
        OutputError: it cannot be written, or another file than an audit log is there.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path).expanduser()
        require_kind(self.path, AUDIT_LOG, option=_OPTION)
        try:
            flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
            descriptor = os.open(self.path, flags, 0o666)
            self._stream: BinaryIO = os.fdopen(descriptor, "r+b", buffering=0)
            require_regular(self.path)
        except OSError as error:
            raise output_error(self.path, error, option=_OPTION) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Have the disk take all lines, and close the file."""
        if not self._stream.closed:
            try:
                os.fsync(self._stream.fileno())
            except OSError as error:
                raise output_error(self.path, error, option=_OPTION) from error
            finally:
                self._stream.close()

    def append(self, entries: Iterable[AuditEntry]) -> None:
        """Append some entries: all of them, or none where that fails.

        Raises:
            OutputError: they cannot be written.
        """
        lines = "".join(f"{_text(entry)}\n" for entry in entries).encode("ascii")
        if not lines:
            return
        try:
            fcntl.flock(self._stream, fcntl.LOCK_EX)
            try:
                end = _repaired(self._stream)
                _write(self._stream, lines, end)
            finally:
                fcntl.flock(self._stream, fcntl.LOCK_UN)
        except OSError as error:
            raise output_error(self.path, error, option=_OPTION) from error


def read_audit_log(path: Path | str) -> list[AuditEntry]:
    """Return the entries of a log, in the order in which they were written; see ``audit_entries``."""
    return list(audit_entries(path))


def audit_entries(path: Path | str) -> Iterator[AuditEntry]:
    """Yield the entries of a log in bounded memory; a last line that is still being written is passed over.

    Raises:
        InputError: it cannot be read, is no audit log, or has a line that is none of its own.
    """
    where = Path(path).expanduser()
    try:
        with open_regular(where) as stream:
            number = 0
            while line := stream.readline(_LINE_BYTES):
                number += 1
                entry = _entry(line)
                if isinstance(entry, AuditEntry):
                    yield entry
                elif line.endswith(b"\n") or len(line) == _LINE_BYTES:
                    raise InputError(
                        f"{where}, line {number}: this is no line of an audit log ({entry}); give the file that "
                        f"`fewshot predict --log` wrote, or take the line out"
                    )
    except OSError as error:
        raise InputError(
            f"the audit log {where} cannot be read ({why_unread(where, error)}); give the file that "
            f"`fewshot predict --log` wrote"
        ) from error


def _text(entry: AuditEntry) -> str:
    return json_text({"audit": VERSION, **{each.name: getattr(entry, each.name) for each in fields(entry)}})


def _entry(line: bytes) -> AuditEntry | str:
    """Return the entry of a line, or why it has none."""
    try:
        decoded = json.loads(line.decode("utf-8"), parse_constant=_no_number)
        found = msgspec.convert(decoded, _Line)
        if datetime.fromisoformat(found.time).tzinfo is None:
            return f"the time {found.time!r} has no time zone"
    except (msgspec.ValidationError, ValueError, RecursionError) as error:
        return str(error)
    return AuditEntry(**{each.name: getattr(found, each.name) for each in fields(AuditEntry)})


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON")


def _repaired(stream: BinaryIO) -> int:
    """Return where the log ends, once its last line is whole: completed, or cut off.

    Raises:
        OutputError: the last line is longer than any of ours.
        OSError: it cannot be read or written.
    """
    size = os.fstat(stream.fileno()).st_size
    tail = os.pread(stream.fileno(), min(size, _LINE_BYTES), max(size - _LINE_BYTES, 0)) if _torn(stream, size) else b""
    if not tail:
        return size
    last = tail[tail.rfind(b"\n") + 1 :]
    if len(last) == _LINE_BYTES:
        raise OSError("its last line is longer than any line of an audit log")
    if isinstance(_entry(last), AuditEntry):
        os.write(stream.fileno(), b"\n")
        return size + 1
    os.ftruncate(stream.fileno(), size - len(last))
    return size - len(last)


def _torn(stream: BinaryIO, size: int) -> bool:
    return size > 0 and os.pread(stream.fileno(), 1, size - 1) != b"\n"


def _write(stream: BinaryIO, lines: bytes, end: int) -> None:
    """Write at the end of the log; what did not fit on the disk is taken back, so that no line is half there."""
    left = memoryview(lines)
    try:
        while left:
            left = left[os.write(stream.fileno(), left) :]
    except OSError:
        os.ftruncate(stream.fileno(), end)
        raise
