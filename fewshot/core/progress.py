"""Progress of long work: a bar on a terminal; elsewhere a line after 5 seconds, then every 30; or silence."""

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self, TextIO

from fewshot.core.control_characters import escape_control

FIRST_LINE_SECONDS = 5.0  # soon, for it says how long the rest will take
LINE_EVERY_SECONDS = 30.0
_SETTLED = 32  # units, or a hundredth of all, before which the start tells nothing of the rest


class Progress:
    """Count units of work on stderr; use as a context manager.

    Args:
        total: units expected, or None when unknown.
        label: what is being done, for example ``"embed"``.
        unit: the name of one unit, for example ``"images"``.
        quiet: show nothing.
        stream: where to write; stderr when None.
    """

    def __init__(
        self, total: int | None, *, label: str, unit: str, quiet: bool = False, stream: TextIO | None = None
    ) -> None:
        self.total, self.label, self.unit = total, escape_control(label), escape_control(unit)
        self.stream: TextIO | None = stream or sys.stderr  # None where the caller closed it
        self.quiet = quiet or self.stream is None
        self.done = 0
        self._bar: Any = None
        self._started = self._next_line = 0.0

    def __enter__(self) -> Self:
        self._started = time.monotonic()
        self._next_line = self._started + min(FIRST_LINE_SECONDS, LINE_EVERY_SECONDS)
        if not self.quiet and self.stream is not None and self.stream.isatty():
            from tqdm import tqdm

            self._bar = tqdm(total=self.total, desc=self.label, unit=f" {self.unit}", file=self.stream, smoothing=0.1)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._show(self._bar.close)

    def advance(self, units: int = 1, *, note: str = "") -> None:
        """Count ``units`` more as done; ``note`` is shown beside the rate, for example ``"2 failed"``."""
        self.done += units
        if self.quiet:
            return
        if self._bar is not None:
            if note:
                self._bar.set_postfix_str(escape_control(note), refresh=False)
            self._show(lambda: self._bar.update(units))
        elif time.monotonic() >= self._next_line:
            self._next_line = time.monotonic() + LINE_EVERY_SECONDS
            self.say(self._line(note))

    def say(self, line: str) -> None:
        """Write one line without breaking the bar, and without the characters that a terminal obeys."""
        if self.quiet:
            return
        shown = escape_control(line)
        if self._bar is not None:
            self._show(lambda: self._bar.write(shown, file=self.stream))
        else:
            self._show(lambda: self._write_line(shown))

    def _write_line(self, line: str) -> None:
        if self.stream is not None:
            self.stream.write(line + "\n")
            self.stream.flush()

    def _show(self, write: Callable[[], object]) -> None:
        """Write to the stream; where it is full or closed, the work goes on in silence."""
        try:
            write()
        except (OSError, ValueError):
            self.quiet = True

    def _line(self, note: str) -> str:
        seconds = max(time.monotonic() - self._started, 1e-9)
        rate = self.done / seconds
        of_total, left = "", ""
        if self.total is not None:
            of_total = f" of {self.total}"
            if rate > 0 and self.done >= min(_SETTLED, self.total / 100):
                left = f", {_duration((self.total - self.done) / rate)} left"
        tail = f", {note}" if note else ""
        return f"{self.label}: {self.done}{of_total} {self.unit}, {rate:.1f}/s{left}{tail}"


def _duration(seconds: float) -> str:
    """Return a time as people say it: ``90 s``, ``12 min``, ``1 h 4 min``."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
