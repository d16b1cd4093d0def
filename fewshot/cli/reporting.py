"""How commands print: text and JSON on stdout, warnings on stderr; the only place that writes to either.

Names come from files of others, so no character that a terminal obeys leaves here (``core/control_characters.py``).
"""

import errno
import os
import shutil
import sys
from collections.abc import Container, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

from fewshot.core.control_characters import escape_control, escape_lines, json_text
from fewshot.core.errors import OptionError, OutputError
from fewshot.core.outputs import REPORT, SCORES, Output, require_outputs

if TYPE_CHECKING:
    from fewshot.results.report import Report

_NO_ROOM = "no space is left where it is written to; free some and run the same command again"
_CLOSED = "it was closed before everything was printed"
_WHY = {
    errno.ENOSPC: _NO_ROOM,
    errno.EDQUOT: _NO_ROOM,
    errno.EFBIG: "files may not grow so large here; raise the limit (`ulimit -f`)",
    errno.EPIPE: _CLOSED,
    errno.EBADF: _CLOSED,
}


class StandardOutputError(OutputError):
    """What a command printed did not arrive; files that it was to write are written by then."""


def print_text(text: object, *, bold: Container[int] = ()) -> None:
    """Print lines on stdout, without the characters that a terminal obeys.

    Args:
        bold: numbers of the lines that stand out where stdout is a terminal that may be coloured.

    Raises:
        StandardOutputError: stdout is full or closed.
    """
    stream: TextIO | None = sys.stdout
    try:
        if stream is None:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        lines = escape_lines(text).split("\n")
        _write(
            stream, "\n".join(_styled(line, stream, bold=True) if n in bold else line for n, line in enumerate(lines))
        )
    except OSError as error:
        abandon(stream)
        why = _WHY.get(error.errno or 0) or error.strerror or str(error)
        raise StandardOutputError(f"the result could not be printed on the standard output: {why}") from error


def print_line(text: object) -> None:
    """Print one line on stdout; a newline within it, which a name may hold, is escaped as well.

    Raises:
        StandardOutputError: stdout is full or closed.
    """
    print_text(escape_control(text))


def print_json(document: object, *, indent: int | None = None) -> None:
    """Print one JSON document on stdout, in printable ASCII.

    Raises:
        StandardOutputError: stdout is full or closed.
    """
    print_text(json_text(document, indent=indent))


def print_note(text: object, *, colour: str | None = None) -> None:
    """Print one line on stderr; a stderr that is full or closed loses it, and nothing else.

    Args:
        colour: of the line where stderr is a terminal that may be coloured.
    """
    stream: TextIO | None = sys.stderr
    if stream is None:
        return
    try:
        line = escape_control(text)
        _write(stream, line if colour is None else _styled(line, stream, fg=colour))
    except (OSError, ValueError):
        abandon(stream)


def flush_notes() -> None:
    """Empty the buffer of stderr, or give it up, so that what could not be said does not change the exit status."""
    if sys.stderr is not None:
        try:
            sys.stderr.flush()
        except (OSError, ValueError):
            abandon(sys.stderr)


def print_labelled(lines: Iterable[str]) -> None:
    """Print ``labelled_text`` of lines on stdout.

    Raises:
        StandardOutputError: stdout is full or closed.
    """
    print_text(labelled_text(lines))


def labelled_text(lines: Iterable[str]) -> str:
    """Return lines that begin with a label each, within the terminal's width; what goes on stands under its start."""
    from fewshot.results.paragraph import labelled

    width = terminal_width()
    return "\n".join(part for line in lines for part in labelled(line, width=width))


def print_report(report: "Report", text: str, *, as_json: bool) -> None:
    """Print a report on stdout, as ``text`` or as JSON; the warnings beside a text go to stderr."""
    if as_json:
        print_json(report.to_file_json())
        return
    print_text(text)
    print_warnings(report.warnings)


def print_answer(report: "Report", *, hint: str, kept: bool) -> None:
    """Print a report's answer and ranking on stdout, the best line bold, and its warnings on stderr.

    Args:
        hint: the line under the table, which says what shows the rest.
        kept: whether the report was saved.
    """
    from fewshot.results.answer import answer
    from fewshot.results.paragraph import wrapped
    from fewshot.results.presentation import ranked_text
    from fewshot.results.ranked_table import ranked_table

    width, table = terminal_width(), ranked_table(report)
    sentence = wrapped(answer(report), width=width)
    further = "\n".join(wrapped(hint if kept else f"{hint}; -o REPORT.json keeps the report", width=width))
    best = {len(sentence) + 2} if table.lines else set()  # behind an empty line and the header
    print_text("\n".join([*sentence, "", ranked_text(table, width=width, more="--full"), "", further]), bold=best)
    print_warnings(report.warnings)


def print_full(report: "Report", *parts: str, as_json: bool) -> None:
    """Print a report's answer and all of its tables on stdout, or the whole as JSON."""
    from fewshot.results.answer import answer
    from fewshot.results.paragraph import wrapped

    sentence = "\n".join(wrapped(answer(report), width=terminal_width()))
    print_report(report, "\n\n".join([sentence, *filter(None, parts)]), as_json=as_json)


def print_warnings(warnings: Sequence[str]) -> None:
    """Print warnings on stderr within its width, and coloured where it is a terminal."""
    for warning in warnings:
        print_warning(warning)


def print_warning(warning: str) -> None:
    """Print one warning on stderr; see ``print_warnings``."""
    from fewshot.results.presentation import warning_lines

    for line in warning_lines(warning, width=terminal_width()):
        print_note(line, colour="yellow")


def terminal_width() -> int:
    """Return the columns that sentences and tables may take: those of the terminal, between 60 and 100."""
    from fewshot.results.paragraph import WIDTH

    return max(60, min(WIDTH, shutil.get_terminal_size((WIDTH, 24)).columns))


def _styled(line: str, stream: TextIO, **style: Any) -> str:
    """Return a line, whose characters are escaped by now, with a style where the stream is a terminal that takes it.

    ``NO_COLOR`` of any value but the empty one turns it off (no-color.org), and so does a terminal that is ``dumb``.
    """
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" or not stream.isatty()
    return line if plain else click.style(line, **style)


def abandon(stream: TextIO | None) -> None:
    """Let what is left in the buffer of a stream go nowhere: Python would try, and complain, when it ends."""
    if stream is None:
        return
    with suppress(OSError, ValueError):
        number = stream.fileno()
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, number)
        os.close(nowhere)


def require_report_file(out: Path | None, *, keep_scores: bool, inputs: Iterable[Path | str | None] = ()) -> None:
    """Refuse to keep scores beside no report, and to write over an input or another file than a report.

    Raises:
        OptionError: there is no report file.
        OutputError: what is at its path must stay.
    """
    require_outputs(report_outputs(out, keep_scores=keep_scores), inputs=inputs)


def report_outputs(out: Path | None, *, keep_scores: bool) -> list[Output]:
    """Return the files that ``-o`` and ``--keep-scores`` write.

    Raises:
        OptionError: scores are to be kept beside no report.
    """
    if keep_scores and out is None:
        raise OptionError("--keep-scores saves beside the report, and there is none; give -o REPORT.json")
    if out is None:
        return []
    scores = [Output(out.with_suffix(".npz"), SCORES, "--keep-scores")] if keep_scores else []
    return [Output(out, REPORT), *scores]


def _write(stream: TextIO, text: str) -> None:
    try:
        stream.write(f"{text}\n")
    except UnicodeEncodeError:
        stream.write(text.encode("ascii", "backslashreplace").decode("ascii") + "\n")
    stream.flush()
