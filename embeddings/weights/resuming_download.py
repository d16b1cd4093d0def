"""Fetch one file over HTTP into ``NAME.part``, resuming what an earlier attempt left there."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from fewshot.core.errors import FewshotError, OutputError
from fewshot.core.files import output_error
from fewshot.core.progress import Progress

if TYPE_CHECKING:
    from requests import Response

TIMEOUT_SECONDS = 30
_BLOCK_BYTES = 1 << 18
_MEGABYTE = 1_000_000
_PARTIAL, _BEYOND_THE_END = 206, 416


class DownloadFailed(FewshotError):
    """The server could not be reached, refused, or broke off; another address may do, or the same one later."""


def download(url: str, part: Path, *, quiet: bool = True) -> None:
    """Fetch the file at ``url`` into ``part``; what is there already is kept, and only the rest is requested.

    Args:
        url: the address.
        part: where the bytes go; it stays when the connection breaks.
        quiet: show no progress.

    Raises:
        DownloadFailed: the file did not come, or not all of it.
        OutputError: ``part`` cannot be written.
    """
    import requests

    _require_own(part)
    try:
        with _answer(url, have=part.stat().st_size if part.is_file() else 0) as answer:
            answer.raise_for_status()
            with part.open("ab" if answer.status_code == _PARTIAL else "wb") as stream:
                _copy(answer, stream, label=part.stem, quiet=quiet)
    except requests.RequestException as error:  # an OSError as well, so it stands first
        raise DownloadFailed((str(error) or type(error).__name__).splitlines()[0]) from error
    except OSError as error:
        raise output_error(part, error, option="FEWSHOT_WEIGHTS or --cache") from error


def _require_own(part: Path) -> None:
    """Refuse a link or a second name of a file, through which the bytes would reach a file elsewhere, and a pipe."""
    if part.is_char_device() or not os.path.lexists(part):
        return  # opening a device says what it says
    if part.is_symlink() or not part.is_file() or part.stat().st_nlink > 1:
        raise OutputError(
            f"{part} cannot be written: it is a link or no file, and what comes would be written elsewhere; remove it"
        )


def _answer(url: str, *, have: int) -> "Response":
    """Request what follows the first ``have`` bytes, or for all where these are not the beginning of this file."""
    import requests

    headers = {"Accept-Encoding": "identity", **({"Range": f"bytes={have}-"} if have else {})}
    answer = requests.get(url, headers=headers, stream=True, timeout=TIMEOUT_SECONDS)
    if have and answer.status_code == _BEYOND_THE_END:
        answer.close()
        return _answer(url, have=0)
    return answer


def _copy(answer: "Response", stream: BinaryIO, *, label: str, quiet: bool) -> None:
    total, got = _length(answer), 0
    size = None if total is None else total // _MEGABYTE
    with Progress(size, label=label, unit="MB", quiet=quiet) as bar:
        for block in answer.iter_content(_BLOCK_BYTES):
            stream.write(block)
            bar.advance((got + len(block)) // _MEGABYTE - got // _MEGABYTE)
            got += len(block)
    if total is not None and got < total:
        raise DownloadFailed(f"the connection broke after {got} of {total} bytes")


def _length(answer: "Response") -> int | None:
    length = answer.headers.get("Content-Length")
    return None if length is None or answer.headers.get("Content-Encoding") else int(length)
