"""How many pictures a file holds, counted along its structure; no frame after the first is decoded."""

from PIL import Image

from fewshot.embeddings.inputs.tiff_directory import tiff_pages

_IMAGE, _EXTENSION, _END = 0x2C, 0x21, 0x3B


def frames_of(image: Image.Image, encoded: bytes) -> tuple[int, bool]:
    """Return (number of frames, whether the file is whole up to the last).

    Args:
        image: as Pillow opened it, for containers whose header says the number; encoded: the file.
    """
    if image.format == "GIF":
        return _gif_frames(encoded)
    if image.format == "TIFF":
        return tiff_pages(encoded)
    if image.format == "MPO":  # a photograph with its previews or its second eye, not an animation
        return 1, True
    return int(getattr(image, "n_frames", 1)), True


def _gif_frames(encoded: bytes) -> tuple[int, bool]:
    """Walk the blocks of a GIF89a file (its specification, sections 17 to 27)."""
    position = 13 + _table_bytes(encoded, 10)
    frames = 0
    while position < len(encoded):
        kind = encoded[position]
        if kind == _END:
            return max(1, frames), True
        if kind == _IMAGE:
            frames += 1
            after = position + 10 + _table_bytes(encoded, position + 9) + 1
        elif kind == _EXTENSION:
            after = position + 2
        else:
            return max(1, frames), False
        position = _after_blocks(encoded, after)
    return max(1, frames), False


def _table_bytes(encoded: bytes, at: int) -> int:
    flags = encoded[at] if at < len(encoded) else 0
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _after_blocks(encoded: bytes, position: int) -> int:
    while position < len(encoded) and encoded[position]:
        position += encoded[position] + 1
    return position + 1
