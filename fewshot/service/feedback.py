"""What people say of verdicts, as JSON lines that are only ever appended: which image is what, and what was said of it.

A line names its image by the SHA-256 of the file, for the service keeps no image. Whoever has the files finds them by
it and gives them to ``fewshot fit --from ... --add`` as a table (docs/how-to/serve.md).
"""

import fcntl
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from fewshot.core.control_characters import json_text
from fewshot.core.errors import OutputError
from fewshot.core.files import output_error
from fewshot.core.outputs import FEEDBACK, require_kind
from fewshot.core.regular_files import require_regular
from fewshot.detector.verdict import Verdict

VERSION: Literal[1] = 1
_OPTION = "--feedback"
MOST_BYTES = 16 << 10
_Text = Annotated[str, msgspec.Meta(max_length=255)]


class Feedback(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What somebody says of one image.

    Args:
        sha256: of the image file's bytes, as the results have it.
        label: what the image is.
        verdict: what the detector said, if anything; image: what the file is called; source: which generator or camera
            made it; comment: whatever else.
    """

    sha256: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
    label: Literal["synthetic", "natural"]
    verdict: Verdict | None = None
    image: _Text = ""
    source: _Text = ""
    comment: Annotated[str, msgspec.Meta(max_length=1000)] = ""


def feedback_of(body: bytes) -> Feedback:
    """Return the feedback of a request's body.

    Raises:
        msgspec.ValidationError: a field is missing, unknown, or of another type or length.
        msgspec.DecodeError: it is no JSON.
        UnicodeDecodeError: it is no UTF-8.
    """
    return msgspec.json.decode(body, type=Feedback)


class FeedbackFile:
    """A file that takes feedback; several processes may append to one.

    Raises:
        OutputError: it cannot be written, or another file is there.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path).expanduser()
        require_kind(self.path, FEEDBACK, option=_OPTION)
        try:
            flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
            self._descriptor = os.open(self.path, flags, 0o666)
            require_regular(self.path)
        except OSError as error:
            raise output_error(self.path, error, option=_OPTION) from error

    def append(self, feedback: Feedback, *, detector: str) -> None:
        """Append one line, whole or not at all.

        Args:
            detector: the digest of the one that judged.

        Raises:
            OutputError: it cannot be written.
        """
        line = f"{json_text(_line(feedback, detector))}\n".encode("ascii")
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        try:
            end = os.fstat(self._descriptor).st_size
            if os.write(self._descriptor, line) != len(line):
                os.ftruncate(self._descriptor, end)
                raise OutputError(f"{self.path} cannot be written: no space is left on its disk")
        except OSError as error:
            raise output_error(self.path, error, option=_OPTION) from error
        finally:
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def close(self) -> None:
        """Have the disk take all lines."""
        os.fsync(self._descriptor)
        os.close(self._descriptor)


def _line(feedback: Feedback, detector: str) -> dict[str, Any]:
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    return {
        "feedback": VERSION,
        "time": now,
        "detector_sha256": detector,
        **msgspec.to_builtins(feedback),
        "synthetic": feedback.label == "synthetic",
    }
