"""Read ``multipart/form-data`` as it arrives: only files called ``images``, handed on part by part."""

from typing import Protocol

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from fewshot.core.control_characters import escape_control
from fewshot.service.problems import BAD_REQUEST, INVALID, Problem

FIELD = "images"


class Files(Protocol):
    """What takes the parts: the next file begins, more of it comes."""

    def begin(self, name: str) -> None:
        """Begin a file that the client calls ``name``."""

    def write(self, part: bytes) -> None:
        """Take more of it."""


class MultipartReader:
    """Feeds files from the chunks of a body.

    Args:
        content_type: of the request, with the boundary.
        files: told of each file and its bytes; what it raises ends the reading.

    Raises:
        Problem: there is no boundary, or one that is too long.
    """

    def __init__(self, content_type: str, files: Files) -> None:
        self._files = files
        self._disposition = b""
        self._header = b""
        self._value = b""
        self._ended = False
        _, options = parse_options_header(content_type)
        try:
            self._parser = MultipartParser(
                options[b"boundary"],
                {
                    "on_part_begin": self._on_part_begin,
                    "on_header_field": self._on_header_field,
                    "on_header_value": self._on_header_value,
                    "on_header_end": self._on_header_end,
                    "on_headers_finished": self._on_headers_finished,
                    "on_part_data": self._on_part_data,
                    "on_end": self._on_end,
                },
            )
        except (KeyError, FormParserError, ValueError) as error:
            raise Problem(BAD_REQUEST, "the Content-Type names no boundary that parts the body") from error

    def feed(self, chunk: bytes) -> None:
        """Read on.

        Raises:
            Problem: this is no multipart, or a part is no file called ``images``.
        """
        try:
            self._parser.write(chunk)
        except FormParserError as error:
            raise Problem(BAD_REQUEST, "the body is not multipart as its Content-Type says") from error

    def finish(self) -> None:
        """Require that the body came to its end.

        Raises:
            Problem: it is cut short.
        """
        if not self._ended:
            raise Problem(BAD_REQUEST, "the body ends before its last boundary")

    def _on_part_begin(self) -> None:
        self._disposition = self._header = self._value = b""

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _on_header_end(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = self._value
        self._header = self._value = b""

    def _on_headers_finished(self) -> None:
        _, options = parse_options_header(self._disposition)
        field = options.get(b"name", b"").decode("utf-8", "replace")
        if field != FIELD:
            shown = escape_control(field[:80])
            raise Problem(INVALID, f"a part is called {shown!r}; every part must be a file called {FIELD!r}")
        self._files.begin(options.get(b"filename", b"").decode("utf-8", "replace"))

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        self._files.write(data[start:end])

    def _on_end(self) -> None:
        self._ended = True
