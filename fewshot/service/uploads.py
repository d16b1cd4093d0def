"""From a request's body to image files on the disk, within bounds of bytes, parts and time.

Bytes go to the disk as they arrive, and nothing here looks into them: decoding is left to processes of its own.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from starlette.requests import Request

from fewshot.core.control_characters import escape_control
from fewshot.service.limits import Limits
from fewshot.service.multipart import MultipartReader
from fewshot.service.problems import BAD_REQUEST, LARGE, MEDIA, SLOW, Problem
from fewshot.service.spool import SpooledRequest, no_room

_NAME_CHARACTERS = 200


@dataclass(frozen=True)
class Upload:
    """One image on the disk: what the client calls it, made safe to show, and where it lies."""

    name: str
    path: Path


async def receive_images(request: Request, spooled: SpooledRequest, limits: Limits) -> list[Upload]:
    """Return the images of a request's body, in order, as files in its folder.

    Raises:
        Problem: the body is no multipart or image, cannot be read, has none or too many, is too large, or late.
        ClientDisconnect: the client is gone.
    """
    media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    multipart = media == "multipart/form-data"
    if not multipart and not media.startswith("image/"):
        found = repr(escape_control(media[:80])) if media else "no Content-Type"
        raise Problem(MEDIA, f"found {found}; send multipart/form-data with files called images, or one image/* body")
    _require_declared_size(request, limits)
    files = ImageFiles(spooled, limits)
    try:
        async with asyncio.timeout(limits.receive_seconds):
            if multipart:
                await _read_multipart(request, files, limits)
            else:
                await _read_one(request, files, limits)
    except TimeoutError as error:
        raise Problem(SLOW, f"the request did not arrive within {limits.receive_seconds} s") from error
    except OSError as error:
        raise no_room(error) from error
    finally:
        files.close()
    if not files.uploads:
        raise Problem(BAD_REQUEST, "there is no image in the request; send files called images")
    return files.uploads


def _require_declared_size(request: Request, limits: Limits) -> None:
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared[:20]) > limits.request_bytes:
        raise _too_large("the body", limits.request_bytes)


async def _read_multipart(request: Request, files: "ImageFiles", limits: Limits) -> None:
    reader = MultipartReader(request.headers["content-type"], files)
    async for chunk in _chunks(request, limits):
        reader.feed(chunk)
    reader.finish()


async def _read_one(request: Request, files: "ImageFiles", limits: Limits) -> None:
    files.begin("")
    async for chunk in _chunks(request, limits):
        files.write(chunk)
    if not files.size:
        raise Problem(BAD_REQUEST, "the body is empty; send the bytes of an image")


async def _chunks(request: Request, limits: Limits) -> AsyncIterator[bytes]:
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limits.request_bytes:
            raise _too_large("the body", limits.request_bytes)
        yield chunk


def _too_large(what: str, limit: int) -> Problem:
    return Problem(LARGE, f"{what} has more than {limit:,} bytes; send less at once")


class ImageFiles:
    """Writes one image after the other into a request's folder."""

    def __init__(self, spooled: SpooledRequest, limits: Limits) -> None:
        self.uploads: list[Upload] = []
        self.size = 0
        self._spooled = spooled
        self._limits = limits
        self._stream: BinaryIO | None = None

    def begin(self, name: str) -> None:
        """Begin the next image.

        Raises:
            Problem: there are too many.
        """
        number = len(self.uploads) + 1
        if number > self._limits.request_images:
            raise Problem(LARGE, f"there are more than {self._limits.request_images} images; send fewer at once")
        self.close()
        shown = escape_control(name.replace("\\", "/").rpartition("/")[2])[:_NAME_CHARACTERS].strip()
        upload = Upload(shown or f"image {number}", self._spooled.folder / str(number))
        self._stream = upload.path.open("xb")
        self.size = 0
        self.uploads.append(upload)

    def write(self, part: bytes) -> None:
        """Write more of the image that was begun.

        Raises:
            Problem: it is too large, or too much lies on the disk.
        """
        self.size += len(part)
        if self.size > self._limits.image_bytes:
            raise _too_large(self.uploads[-1].name, self._limits.image_bytes)
        self._spooled.take(len(part))
        assert self._stream is not None
        self._stream.write(part)

    def close(self) -> None:
        """End the image that was begun."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None
