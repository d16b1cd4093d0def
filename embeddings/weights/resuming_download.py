"""Fetch one file over HTTP into a partial file, resuming what an earlier attempt of ours left there."""

import shutil
from collections.abc import Mapping
from typing import TYPE_CHECKING, BinaryIO

from fewshot.core.errors import OutputError
from fewshot.core.files import output_error
from fewshot.core.progress import Progress
from fewshot.embeddings.weights.partial_file import OPTION, PartialFile, Received
from fewshot.embeddings.weights.watched_answer import DownloadFailed as DownloadFailed
from fewshot.embeddings.weights.watched_answer import WatchedAnswer

if TYPE_CHECKING:
    from requests import Response

TIMEOUT_SECONDS = 30
PATIENCE_SECONDS = 60.0
_MOST_BYTES = 1 << 36  # 64 GiB, where neither card nor server say how long the file is
_MEGABYTE = 1_000_000
_WHOLE, _PARTIAL, _BEYOND_THE_END = 200, 206, 416


def download(
    url: str,
    part: PartialFile,
    *,
    size: int | None = None,
    verified: bool = True,
    quiet: bool = True,
    patience_seconds: float = PATIENCE_SECONDS,
) -> None:
    """Fetch the file at ``url`` into ``part``; what is there of ours is kept, and only the rest is requested.

    Args:
        url: the address.
        part: where the bytes go; it stays when the connection breaks.
        size: bytes of the file, where known: more are never written.
        verified: whether the caller compares a published hash afterwards. Where it cannot, only bytes of the same
            address and version are continued.
        quiet: show no progress.
        patience_seconds: how long the answer, and then every 256 KiB of it, may take.

    Raises:
        DownloadFailed: the file did not come, or not all of it, or something else came.
        OutputError: the partial file cannot be written, or a file of the user's is in its place.
    """
    found = part.received()
    if not verified and (found.url != url or not found.version):
        found = Received()
    if not (found.size and _fetched(url, part, found, size, quiet, patience_seconds)):
        _fetched(url, part, Received(), size, quiet, patience_seconds)


def _fetched(
    url: str, part: PartialFile, found: Received, size: int | None, quiet: bool, patience_seconds: float
) -> bool:
    """Fetch what follows ``found``; return False where the server gives no such continuation."""
    with WatchedAnswer(lambda: _ask(url, found), patience_seconds=patience_seconds) as answer:
        if found.size and answer.status == _BEYOND_THE_END:
            return False
        if answer.status == _PARTIAL and not _begins_at(answer.headers, found.size):
            if found.size:
                return False
            raise DownloadFailed("the server sent a part of the file, and the whole was requested")
        if answer.status not in (_WHOLE, _PARTIAL):
            raise DownloadFailed(f"the server answered with status {answer.status}")
        kept = found.size if answer.status == _PARTIAL else 0
        length = _length(answer.headers)
        _require_room(part, kept, length, size)
        try:
            with part.open(url=url, version=_version(answer.headers), append=kept > 0) as stream:
                _copy(answer, part, stream, kept=kept, length=length, most=size or _MOST_BYTES, quiet=quiet)
        except OSError as error:
            raise output_error(part.path, error, option=OPTION) from error
    return True


def _ask(url: str, found: Received) -> "Response":
    """Request what follows the bytes that are there, or all where these are not the beginning of this version."""
    import requests

    headers = {"Accept-Encoding": "identity"}
    if found.size:
        headers["Range"] = f"bytes={found.size}-"
        if found.version and found.url == url:
            headers["If-Range"] = found.version
    answer = requests.get(url, headers=headers, stream=True, timeout=TIMEOUT_SECONDS)
    if answer.status_code != _BEYOND_THE_END:
        answer.raise_for_status()
    return answer


def _copy(
    answer: WatchedAnswer,
    part: PartialFile,
    stream: BinaryIO,
    *,
    kept: int,
    length: int | None,
    most: int,
    quiet: bool,
) -> None:
    got = 0
    label = part.path.stem
    with Progress(None if length is None else length // _MEGABYTE, label=label, unit="MB", quiet=quiet) as bar:
        for block in answer.blocks():
            if not kept + got and _is_page(block):
                part.discard()
                raise DownloadFailed("a web page came instead of the file")
            if kept + got + len(block) > most:
                part.discard()
                raise DownloadFailed(f"more than the {most} bytes of the file came, and were deleted")
            stream.write(block)
            bar.advance((got + len(block)) // _MEGABYTE - got // _MEGABYTE)
            got += len(block)
    if length is not None and got < length:
        raise DownloadFailed(f"the connection broke after {got} of {length} bytes")
    if not kept + got:
        part.discard()
        raise DownloadFailed("an empty file came")


def _require_room(part: PartialFile, kept: int, length: int | None, size: int | None) -> None:
    if length is None:
        return
    if size is not None and kept + length > size:
        raise DownloadFailed(f"the server offers {kept + length} bytes, and the file has {size}")
    if kept + length > _MOST_BYTES:
        raise DownloadFailed(f"the server offers {kept + length} bytes, which no weight file has")
    if length > shutil.disk_usage(part.path.parent).free:
        raise OutputError(
            f"{part.path} cannot be written: its disk has no room for {length} bytes more; free some, or choose "
            f"another folder by {OPTION}"
        )


def _is_page(start: bytes) -> bool:
    return start[:200].lstrip().lower().startswith((b"<!doctype html", b"<html"))


def _begins_at(headers: Mapping[str, str], first: int) -> bool:
    """Whether a part of a file begins where it was wanted; a server that does not say so is believed."""
    said = headers.get("Content-Range", "")
    return not headers.get("Content-Encoding") and (not said or said.replace(" ", "").startswith(f"bytes{first}-"))


def _version(headers: Mapping[str, str]) -> str:
    """Return the server's strong mark of the file's version, empty where it gives none."""
    mark = headers.get("ETag", "")
    return "" if mark.startswith("W/") else mark[:1000]


def _length(headers: Mapping[str, str]) -> int | None:
    length = headers.get("Content-Length", "")
    usable = length.isascii() and length.isdigit() and len(length) < 20 and not headers.get("Content-Encoding")
    return int(length) if usable else None
