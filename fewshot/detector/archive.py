"""A detector file: a stored zip archive of JSON, safetensors and thumbnails, with the SHA-256 of all of it at its end.

Nothing in it is code, and nothing is unpickled. The same content gives the same bytes.
"""

import hashlib
import io
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path

from fewshot.core.errors import InputError, WeightsError
from fewshot.core.files import atomic_write
from fewshot.core.looked_for import why_unread
from fewshot.core.outputs import DETECTOR
from fewshot.core.regular_files import read_regular
from fewshot.detector.description import FORMAT, VERSION

SUFFIX = ".detector"
MOST_BYTES = 8 << 30
_MOST_MEMBERS = 20_000
_START = (1980, 1, 1, 0, 0, 0)
_COMMENT = re.compile(rb"fewshot-detector (\d{1,9}) ([0-9a-f]{64})\Z")
_HEX = 64


def is_detector(path: Path) -> bool:
    """Return whether a file is meant as a detector: by its suffix, or as one that fewshot wrote under another name."""
    try:
        return path.suffix.lower() == SUFFIX or (path.stat().st_size > 0 and DETECTOR.fits(path))
    except OSError:
        return False


def pack(members: Mapping[str, bytes], *, version: int = 1) -> bytes:
    """Return the bytes of a detector file.

    Args:
        members: name -> content; version: the first that can hold them.
    """
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(members):
            archive.writestr(zipfile.ZipInfo(name, _START), members[name])
        archive.comment = f"{FORMAT} {version} {'0' * _HEX}".encode()
    sealed = stream.getvalue()[:-_HEX]
    return sealed + hashlib.sha256(sealed).hexdigest().encode()


def unpack(content: bytes, *, where: str) -> dict[str, bytes]:
    """Return what ``pack`` was given.

    Args:
        where: the file, for messages.

    Raises:
        WeightsError: it is no detector file, of a later version, cut short, or not as it was written.
    """
    if not content.startswith(b"PK\x03\x04"):
        raise WeightsError(f"{where} is not a detector that fewshot wrote; give the NAME.detector of `fewshot fit`")
    found = _COMMENT.search(content[-200:])
    if found is None:
        raise WeightsError(
            f"{where} does not end as a detector does: it was cut short, or is another zip archive; copy it again, or "
            f"give the NAME.detector of `fewshot fit`"
        )
    version = int(found[1])
    if not 1 <= version <= VERSION:
        raise WeightsError(
            f"{where} is a detector of version {version}, and this fewshot reads versions 1 to {VERSION}; install a "
            f"later fewshot, or fit it again"
        )
    if hashlib.sha256(memoryview(content)[:-_HEX]).hexdigest().encode() != found[2]:
        raise WeightsError(f"{where} is damaged: it is not as it was written; copy it again, or fit it again")
    return _members(content, where)


def _members(content: bytes, where: str) -> dict[str, bytes]:
    """Return the members of an archive whose digest is right; a forger can make that of any bytes."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            entries = archive.infolist()
            names = {entry.filename for entry in entries}
            declared = sum(entry.file_size for entry in entries)
            if len(entries) > _MOST_MEMBERS or len(names) < len(entries) or declared > len(content):
                raise ValueError("it lists more than it holds, or a name twice")
            if any(entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1 for entry in entries):
                raise ValueError("it has compressed or encrypted members")
            return {entry.filename: archive.read(entry) for entry in entries}
    except (zipfile.BadZipFile, ValueError, NotImplementedError, RuntimeError, EOFError, OSError) as error:
        raise WeightsError(f"{where} is not a detector that fewshot wrote ({error}); fit it again") from error


def write(content: bytes, path: Path) -> None:
    """Write a detector file, whole or not at all.

    Raises:
        OutputError: it cannot be written, or another kind of file is there.
    """
    with atomic_write(path, kind=DETECTOR) as stream:
        stream.write(content)


def read(path: Path) -> bytes:
    """Return the bytes of a file.

    Raises:
        InputError: it cannot be read, is no regular file, or too large.
    """
    try:
        return read_regular(path, limit=MOST_BYTES)
    except OSError as error:
        raise InputError(
            f"the detector {path} cannot be read ({why_unread(path, error)}); give the NAME.detector of `fewshot fit`"
        ) from error
