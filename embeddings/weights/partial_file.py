"""What has come of a file so far: ``NAME.part``, and beside it ``NAME.part.json``, by which we know it for ours."""

import json
import os
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from fewshot.core.errors import OutputError
from fewshot.core.files import output_error, write_text
from fewshot.core.regular_files import read_regular

_KIND = "fewshot partial download"
_MOST_BYTES = 1 << 16
OPTION = "FEWSHOT_WEIGHTS or --cache"  # what the user changes to keep weight files elsewhere


@dataclass(frozen=True)
class Received:
    """What an earlier attempt left: its bytes, the address they came from, and the server's mark of that version."""

    size: int = 0
    url: str = ""
    version: str = ""


@dataclass(frozen=True)
class PartialFile:
    """A partial download at ``path``; a file or link of the user's at that name is never opened, moved or deleted."""

    path: Path

    def received(self) -> Received:
        """Return what is there of ours.

        Raises:
            OutputError: something else lies at one of the two names.
        """
        marker = self._marker()
        if marker is None and os.path.lexists(self._marker_path):
            raise self._taken(self._marker_path)
        try:
            status = self.path.lstat()
        except OSError:
            return Received()
        if marker is None or not stat.S_ISREG(status.st_mode):
            raise self._taken(self.path)
        return Received(status.st_size, marker["url"], marker["version"])

    def open(self, *, url: str, version: str, append: bool) -> BinaryIO:
        """Open it for writing after noting where its bytes come from; call ``received`` first.

        Args:
            append: keep what is there.

        Raises:
            OSError: the system refuses it.
            OutputError: the note cannot be written.
        """
        write_text(
            self._marker_path, json.dumps({"kind": _KIND, "url": url, "version": version}, indent=1), option=OPTION
        )
        there = os.path.lexists(self.path)
        flags = os.O_WRONLY | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0)
        flags |= 0 if there else os.O_CREAT | os.O_EXCL
        flags |= os.O_APPEND if append else os.O_TRUNC
        return os.fdopen(os.open(self.path, flags, 0o666), "ab" if append else "wb")

    def discard(self) -> None:
        """Delete it and its note, once it is complete under another name or of no use."""
        for path in (self.path, self._marker_path):
            with suppress(FileNotFoundError):
                self._remove(path)

    def _remove(self, path: Path) -> None:
        try:
            path.unlink()
        except FileNotFoundError:
            raise
        except OSError as error:
            raise output_error(path, error, option=OPTION) from error

    @property
    def _marker_path(self) -> Path:
        return self.path.with_name(f"{self.path.name}.json")

    def _marker(self) -> dict[str, str] | None:
        import msgspec

        try:
            found = msgspec.json.decode(read_regular(self._marker_path, limit=_MOST_BYTES), type=dict[str, str])
        except (OSError, ValueError, RecursionError):
            return None
        return found if found.get("kind") == _KIND and {"url", "version"} <= found.keys() else None

    def _taken(self, path: Path) -> OutputError:
        return OutputError(
            f"{path} is in the way and is not a download of ours; move it, or choose another folder by {OPTION}"
        )
