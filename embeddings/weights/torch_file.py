"""Read a file of ``torch.save`` that nobody vouches for: kind, checksums and sizes are checked first, no code is run.

``torch.load`` compares no checksum and takes compressed members; both are done or refused here, in one pass over the
file before anything is built from it (about a second for 1.2 GB on one core).
"""

import re
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Literal

import torch
from torch import Tensor

from fewshot.core.memory import free_bytes
from fewshot.core.regular_files import open_regular

Reason = Literal["unreadable", "foreign", "damaged", "code", "memory"]

_ZIP = b"PK\x03\x04"
_SCRIPT_RATIO = 4  # TorchScript compresses the text of its code
_PICKLE = b"\x80"
_MAGIC = b"\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."  # torch's magic number, pickled: files before version 1.6 begin so
_NEEDS_CODE = ("GLOBAL", "reduce", "create new object", "Can only build", "allowed")


class TorchFileError(Exception):
    """Why a file was not read: the caller makes the sentence.

    Args:
        reason: ``unreadable`` by the system, ``foreign`` (torch.save did not write it), ``damaged``, ``code`` (it would
            have to be unpickled, which can run any code), or more than the free ``memory``.
        detail: what was found.
    """

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


def load_plain(path: Path, *, harmless: Sequence[type] = ()) -> Any:
    """Return what a file of ``torch.save`` holds, on the CPU, built of tensors and plain values only.

    Args:
        path: a regular file; of the zip form its checksums are compared, of the older form its length.
        harmless: further types that may be made.

    Raises:
        TorchFileError: it cannot be read, torch.save did not write it, it is damaged, needs code, or is too large.
    """
    try:
        with open_regular(path) as stream:
            size = check_container(stream)
            return _loaded(stream, size, harmless)
    except OSError as error:
        raise TorchFileError("unreadable", error.strerror or str(error)) from error


def check_container(stream: BinaryIO) -> int:
    """Check what can be checked without unpickling, and return the file's size in bytes.

    Raises:
        TorchFileError: not a file of torch.save, damaged, or larger than the free memory.
        OSError: the system cannot read it.
    """
    size = stream.seek(0, 2)
    stream.seek(0)
    start = stream.read(64)
    if start.startswith(_ZIP):
        _require_memory(size)
        _check_zip(stream, size)
    elif start.startswith(_PICKLE) and _MAGIC in start:
        _require_memory(size)
    else:
        raise TorchFileError("foreign", _kind_of(start))
    stream.seek(0)
    return size


def _kind_of(start: bytes) -> str:
    if not start:
        return "it is empty"
    if not start.strip(b"\0"):
        return "it begins with zeros"
    if start.lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml")):
        return "it is a web page"
    if start[8:9] == b"{":
        return "it looks like a safetensors file, whose name must end in .safetensors"
    if start.startswith(_PICKLE):
        return "it is a pickle that torch.save did not write"
    return f"it begins with {start[:8]!r}"


def _require_memory(size: int) -> None:
    free = free_bytes()
    if size > free:
        raise TorchFileError("memory", f"it has {size / 1e9:.1f} GB, and {free / 1e9:.1f} GB of memory are free")


def _check_zip(stream: BinaryIO, size: int) -> None:
    try:
        with zipfile.ZipFile(stream) as archive:
            members = archive.infolist()
            script = any(member.filename.endswith("/constants.pkl") for member in members)
            _check_members(members, size * _SCRIPT_RATIO if script else size, stored=not script)
            damaged = archive.testzip()
    except TorchFileError:
        raise
    except Exception as error:  # zipfile raises a dozen kinds on forged directories
        raise TorchFileError("damaged", f"its zip directory cannot be read: {_first_line(error)}") from error
    if damaged is not None:
        raise TorchFileError("damaged", f"its member {damaged!r} does not have the checksum written with it")
    if script:
        raise TorchFileError("code", "it is a TorchScript archive")


def _check_members(members: Sequence[zipfile.ZipInfo], most_bytes: int, *, stored: bool) -> None:
    """Raise unless the members are those of one ``torch.save``: stored as they are, each once, within the file."""
    names = [member.filename for member in members]
    if not any(name.endswith("/data.pkl") for name in names):
        raise TorchFileError("foreign", "it is a zip archive that torch.save did not write")
    if stored and any(member.compress_type != zipfile.ZIP_STORED or member.flag_bits & 1 for member in members):
        raise TorchFileError("foreign", "its members are compressed or encrypted, which torch.save never does")
    if len({name.casefold() for name in names}) < len(names):
        raise TorchFileError("damaged", "two of its members have one name")
    if sum(member.file_size for member in members) > most_bytes:
        raise TorchFileError("damaged", "its members are larger than the file")
    if not any(member.CRC for member in members):
        raise TorchFileError("foreign", "it was saved without checksums; save it with them, as torch.save does")


def _loaded(stream: BinaryIO, size: int, harmless: Sequence[type]) -> Any:
    start = stream.read(4)
    legacy = not start.startswith(_ZIP)
    stream.seek(0)
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals(list(harmless)):
            warnings.simplefilter("ignore")  # torch's remarks on nested and quantised tensors, which callers refuse
            content = torch.load(stream, map_location="cpu", weights_only=True)
    except Exception as error:  # foreign bytes make an unpickler raise anything
        # checksums were compared, or the protocol is one that the reader of plain values does not know
        raise _refusal(error, sound=not legacy or start[1] > 2) from error
    if legacy and stream.tell() != size:
        raise TorchFileError("damaged", f"its tensors end after {stream.tell()} of {size} bytes")
    if (declared := _declared_bytes(content)) > size:
        raise TorchFileError("damaged", f"its tensors need {declared} bytes, and it has {size}")
    return content


def _refusal(error: Exception, *, sound: bool) -> TorchFileError:
    from pickle import UnpicklingError  # noqa: TID251  # only the exception: nothing is unpickled here

    text = str(error)
    if isinstance(error, UnpicklingError) and (sound or any(word in text for word in _NEEDS_CODE)):
        named = re.search(r"GLOBAL (\S{1,100})", text)
        return TorchFileError("code", f"it calls for {named[1]}" if named else "it holds more than tensors and values")
    return TorchFileError("damaged", _first_line(error))


def _first_line(error: Exception) -> str:
    """Return what an error says of the file, without the advice on its own internals that torch adds."""
    text = (str(error) or type(error).__name__).splitlines()[0].partition(". ")[0]
    return text[:200]


def _declared_bytes(content: Any) -> int:
    """Return the bytes of all distinct storages of the dense tensors in nested containers."""
    storages: dict[int, int] = {}
    seen: set[int] = set()
    left = [content]
    while left:
        value = left.pop()
        if isinstance(value, Tensor):
            if value.layout == torch.strided and not value.is_nested and value.device.type == "cpu":
                storage = value.untyped_storage()
                storages[storage.data_ptr()] = storage.nbytes()
        elif isinstance(value, (Mapping, list, tuple, set)) and id(value) not in seen:
            seen.add(id(value))
            left.extend(value.values() if isinstance(value, Mapping) else value)
    return sum(storages.values())
