"""What a file says of itself without a signature: EXIF, and traces that generators leave in texts and in XMP."""

import re
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from PIL import Image

from fewshot.core.control_characters import escape_control
from fewshot.detector.digital_source_types import meaning
from fewshot.embeddings.inputs.images import open_header
from fewshot.embeddings.inputs.png_chunks import SIGNATURE, texts, without_text
from fewshot.embeddings.inputs.unreadable import UnreadableImage

TEXT_CHARACTERS = 300
_MOST_TRACES = 20
_XMP_BYTES = 1 << 20
_XMP_KEY = "XML:com.adobe.xmp"
_MAKE, _MODEL, _DESCRIPTION, _SOFTWARE, _DATE = 0x010F, 0x0110, 0x010E, 0x0131, 0x0132  # Exif 3.0, table 4
_EXIF_IFD, _ORIGINAL_DATE, _USER_COMMENT = 0x8769, 0x9003, 0x9286
# Keys under which generators write PNG texts: AUTOMATIC1111 parameters; ComfyUI prompt, workflow; InvokeAI
# sd-metadata, invokeai_metadata, Dream; NovelAI Title, Software, Source, Description, Comment; Chinese labelling
# (GB 45438-2025) AIGC.
_PNG_KEYS = re.compile(
    "parameters|prompt|workflow|sd-metadata|invokeai_metadata|invokeai_graph|dream|title|software|source|description|"
    "comment|generation_data|aigc",
    re.IGNORECASE,
)
_XMP_NAMES = "CreatorTool|DigitalSourceType|digitalSourceType|DigitalSourceFileType|Credit|AIGC"
_XMP = re.compile(rf'\b({_XMP_NAMES})(?:\s*=\s*(?:"([^"<]*)"|\'([^\'<]*)\')|(?:\s[^<>]*)?>([^<]*)<)')
# What AUTOMATIC1111 writes in a JPEG, and Midjourney in a description.
_GENERATOR_TEXT = re.compile(r"Steps: \d+, |Negative prompt:|Job ID: [0-9a-f-]{36}|\s--v \d")


def short_text(value: object, *, limit: int = TEXT_CHARACTERS) -> str:
    r"""Return a text of others on one line, safe to print, and cut.

    >>> short_text("a\x1b[2J\nb" + "c" * 20, limit=12), short_text(None)
    ('a\\x1b[2J\\nb…', '')
    """
    if value is None:
        return ""
    raw = str(value)[: 4 * limit].strip().strip("\0")
    shown = escape_control(raw)
    return shown if len(shown) <= limit and len(str(value)) <= 4 * limit else shown[: limit - 1] + "…"


def file_claims(encoded: bytes) -> dict[str, Any]:
    """Return EXIF and traces of a file's bytes, in the shape of ``Credentials``; what is no image is unreadable."""
    found: dict[str, Any] = {"unreadable": "", "make": "", "model": "", "software": "", "date": "", "traces": []}
    png = encoded.startswith(SIGNATURE)
    written = list(texts(encoded, limit=_XMP_BYTES)) if png else []
    xmp = next((text for key, text in written if key == _XMP_KEY), "")
    traces = [(f"PNG text {short_text(key, limit=80)!r}", text) for key, text in written if _PNG_KEYS.fullmatch(key)]
    try:
        header = open_header(without_text(encoded) if png else encoded)  # texts were read, within bounds
    except UnreadableImage as error:
        found["unreadable"] = f"unreadable: {short_text(error)}"
    else:
        found |= _exif(header)
        traces += _exif_traces(header)
        xmp = xmp or _xmp(header)
    traces += _xmp_traces(xmp)
    found["traces"] = [{"where": where, "says": short_text(says)} for where, says in traces[:_MOST_TRACES]]
    return found


def _exif(image: Image.Image) -> dict[str, str]:
    exif, inner = _tags(image)
    return {
        "make": short_text(exif.get(_MAKE)),
        "model": short_text(exif.get(_MODEL)),
        "software": short_text(exif.get(_SOFTWARE)),
        "date": short_text(inner.get(_ORIGINAL_DATE) or exif.get(_DATE)),
    }


def _exif_traces(image: Image.Image) -> Iterator[tuple[str, str]]:
    exif, inner = _tags(image)
    if software := exif.get(_SOFTWARE):
        yield "EXIF Software", str(software)
    for where, value in (("EXIF UserComment", inner.get(_USER_COMMENT)), ("EXIF description", exif.get(_DESCRIPTION))):
        text = _comment(value)
        if _GENERATOR_TEXT.search(text):
            yield where, text


def _tags(image: Image.Image) -> tuple[dict[int, Any], dict[int, Any]]:
    """Return the tags of the image and those of its camera; none where they cannot be read."""
    with suppress(Exception):  # Pillow's EXIF reader raises SyntaxError, struct.error, OverflowError, TypeError ...
        exif = image.getexif()
        return dict(exif), dict(exif.get_ifd(_EXIF_IFD))
    return {}, {}


def _comment(value: object) -> str:
    """Return a user comment, whose first eight bytes name its encoding (Exif 3.0, section 4.6.6)."""
    if not isinstance(value, bytes):
        return str(value or "")[:_XMP_BYTES]
    code, text = value[:8], value[8:_XMP_BYTES]
    if not code.startswith(b"UNICODE"):
        return text.decode("utf-8", "replace")
    big, little = text.decode("utf-16-be", "replace"), text.decode("utf-16-le", "replace")
    return max(big, little, key=lambda said: sum(one < "\x80" for one in said))  # the order of bytes is not stated


def _xmp(image: Image.Image) -> str:
    packet = image.info.get("xmp", b"")
    return packet[:_XMP_BYTES].decode("utf-8", "replace") if isinstance(packet, bytes) else str(packet)[:_XMP_BYTES]


def _xmp_traces(packet: str) -> Iterator[tuple[str, str]]:
    """Yield what an XMP packet says of its origin; it is searched, not parsed, so that no entity is expanded."""
    for match in _XMP.finditer(packet):
        says = next((part for part in match.groups()[1:] if part and part.strip()), "")
        if says:
            words = meaning(says.strip())
            yield f"XMP {match[1]}", f"{says.strip()} ({words})" if words else says.strip()
