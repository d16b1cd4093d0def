"""What one request, one image and the whole service may take: bytes, images, seconds."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

from fewshot.core.errors import OptionError, unknown_name
from fewshot.embeddings.inputs.unreadable import MAX_PIXELS


@dataclass(frozen=True)
class Limits:
    """The limits of a service, each of at least 1.

    Args:
        image_bytes, request_bytes: of one image, and of one request's whole body.
        request_images: images, and so parts, of one request.
        requests: that may be received and judged at once; further ones are told to come back.
        queue_images: that may wait to be judged; a request that does not fit is told to come back.
        batch_images: that go through the networks together, at most.
        spool_bytes: of all uploads that lie on the disk at once.
        header_bytes: of a request's line and headers; connections: that may be open at once.
        receive_seconds: in which a request has to arrive, and a client has to take what is sent to it.
        answer_seconds: in which an answer is given once the request is there.
        decode_seconds: in which one image has to be decoded.
        stop_seconds: in which running requests have to end once the service is told to stop.
    """

    image_bytes: int = 32 << 20
    request_bytes: int = 128 << 20
    request_images: int = 64
    requests: int = 256
    queue_images: int = 512
    batch_images: int = 64
    spool_bytes: int = 2 << 30
    header_bytes: int = 16 << 10
    connections: int = 512
    receive_seconds: int = 60
    answer_seconds: int = 120
    decode_seconds: int = 20
    stop_seconds: int = 30

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if value < 1:
                raise OptionError(f"the limit {each.name} is {value}; give at least 1")

    @classmethod
    def of(cls, requests: Sequence[str]) -> Self:
        """Return the limits that ``NAME=NUMBER`` texts ask for, the others as they are by default.

        Raises:
            OptionError: no such limit, or no number.
        """
        names = [each.name for each in fields(cls)]
        chosen: dict[str, int] = {}
        for request in requests:
            name, _, value = request.partition("=")
            if name not in names:
                raise unknown_name("limit", name, names)
            if not value.isdecimal() or len(value) > 15:
                raise OptionError(f"--limit {request}: give a whole number, for example {name}={getattr(cls, name)}")
            chosen[name] = int(value)
        return cls(**chosen)

    def to_json(self) -> dict[str, Any]:
        """Return the limits by name, with the decoder's own limit of pixels, as JSON values."""
        return {**vars(self), "image_pixels": MAX_PIXELS}
