"""How much work one file can ask for, told before it is decoded."""

from fewshot.embeddings.inputs.jpeg_stream import MAX_SCANS, jpeg_stream
from fewshot.embeddings.inputs.signatures import container_of
from fewshot.embeddings.inputs.unreadable import UnreadableImage

MAX_FILE_BYTES = 2 << 30  # 16-bit RGBA of MAX_PIXELS, raw, has 1.4 GB


def require_bounded(encoded: bytes) -> None:
    """Raise where a file asks its decoder to go over the picture more often than any sound file does.

    Raises:
        UnreadableImage: ``bomb``, with the number of scans.
    """
    if container_of(encoded) == "JPEG":
        scans = jpeg_stream(encoded).scans
        if scans > MAX_SCANS:
            raise UnreadableImage("bomb", f"{scans} scans, and the limit is {MAX_SCANS}")
