"""What a JPEG file's markers and entropy-coded data say of its soundness; Pillow's decoder tells none of it.

libjpeg goes on after damage: it fills what is missing with grey and only warns, and Pillow drops its warnings. Here
the markers are walked (ITU-T T.81, annex B), and the data is decoded once more by a libjpeg-turbo whose warnings are
errors, at an eighth of the size, where the entropy decoding is all that costs.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from fewshot.embeddings.inputs.unreadable import UnreadableImage

MAX_SCANS = 500  # progressive files of encoders in use have 4 to 20; each scan goes over the whole picture again
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")  # the next one that is neither a stuffed byte nor a restart
_NO_LENGTH = frozenset({0x01, *range(0xD0, 0xD9)})  # TEM, RST0-7, SOI
_EOI, _SOS = 0xD9, 0xDA
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # without DHT, JPG, DAC
_PROGRESSIVE = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
_COEFFICIENTS = 64
_STRAY_BYTES = 4  # before the end marker, as some cameras' firmware leaves them
_CORRUPT = re.compile(r"^(Corrupt JPEG data|Premature end|Inconsistent progression|Invalid SOS)", re.IGNORECASE)
_STRAY = re.compile(r"(\d+) extraneous bytes before marker 0xd9")


@dataclass
class JpegStream:
    """The frame and the scans of a JPEG file's first image.

    Args:
        precision: bits per sample; 0 without a frame.
        components: their ids; pixels: width x height.
        scans: how many there are, counted to one more than MAX_SCANS.
        missing_bits: component -> the low bits that no scan brings, of each of its 64 coefficients; None = none came.
    """

    precision: int = 0
    components: tuple[int, ...] = ()
    pixels: int = 0
    progressive: bool = False
    scans: int = 0
    missing_bits: dict[int, list[int | None]] = field(default_factory=dict)

    @property
    def incomplete(self) -> bool:
        """Whether a component's last bits come in no scan of the file."""
        return any(bits != 0 for component in self.components for bits in self.missing_bits[component])


def jpeg_stream(encoded: bytes) -> JpegStream:
    """Return what the markers of the first image say, as far as they can be followed."""
    stream = JpegStream()
    for code, segment in _segments(encoded):
        if code in _FRAMES and not stream.components and len(segment) >= 6:
            stream.precision = segment[0]
            stream.pixels = int.from_bytes(segment[1:3], "big") * int.from_bytes(segment[3:5], "big")
            stream.components = tuple(
                segment[6 + 3 * number] for number in range(segment[5]) if 6 + 3 * number < len(segment)
            )
            stream.progressive = code in _PROGRESSIVE
            stream.missing_bits = {component: [None] * _COEFFICIENTS for component in stream.components}
        elif code == _SOS:
            stream.scans += 1
            if stream.scans > MAX_SCANS:
                break
            _note_scan(stream, segment)
    return stream


def require_sound(encoded: bytes) -> None:
    """Raise where the entropy-coded data of a JPEG file ends early, is damaged, or is not all there.

    Raises:
        UnreadableImage: ``truncated`` or ``damaged``, with the decoder's words.
    """
    if jpeg_stream(encoded).incomplete:
        raise UnreadableImage("truncated", "the file ends before the last scan of its components")
    warning = decoder_warning(encoded)
    if warning is not None:
        cut = "premature end" in warning.lower()
        raise UnreadableImage("truncated" if cut else "damaged", f"libjpeg: {warning}")


def decoder_warning(encoded: bytes) -> str | None:
    """Return what libjpeg says of damaged data, None when it is sound or of a kind that the second decoder lacks."""
    import simplejpeg

    try:
        simplejpeg.decode_jpeg(
            encoded, "GRAY", fastdct=True, fastupsample=True, min_height=1, min_width=1, min_factor=8, strict=True
        )
    except (ValueError, KeyError) as error:
        said = str(error)
        stray = _STRAY.search(said)
        harmless = stray is not None and int(stray[1]) <= _STRAY_BYTES
        return said if _CORRUPT.match(said) and not harmless else None
    return None


def _segments(encoded: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield (code, content) of each marker segment of the first image; entropy-coded data is skipped."""
    position = 2
    while (found := _MARKER.search(encoded, position)) is not None:
        code = encoded[found.start() + 1]
        position = found.end()
        if code == _EOI:
            return
        if code in _NO_LENGTH:
            continue
        length = int.from_bytes(encoded[position : position + 2], "big")
        yield code, encoded[position + 2 : position + length]
        position += max(length, 2)


def _note_scan(stream: JpegStream, segment: bytes) -> None:
    count = segment[0] if segment else 0
    if len(segment) < 1 + 2 * count + 3:
        return
    first, last, bits = segment[1 + 2 * count : 4 + 2 * count]
    if not stream.progressive:
        first, last, bits = 0, _COEFFICIENTS - 1, 0
    for number in range(count):
        seen = stream.missing_bits.get(segment[1 + 2 * number])
        if seen is not None:
            for coefficient in range(first, min(last + 1, _COEFFICIENTS)):
                seen[coefficient] = bits & 0x0F
