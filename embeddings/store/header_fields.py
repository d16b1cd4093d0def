"""What the messages of an object header say: shape, type, chunks, filters and attributes of a dataset.

HDF5 File Format Specification 3.0, IV.A.2. Only the forms that h5py gives our files are known here; of anything else a
function returns None, and HDF5 itself is asked.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

import h5py
import numpy as np
from h5py import h5t

from fewshot.embeddings.store.object_headers import Message

DATASPACE, DATATYPE, EXTERNAL_FILES, LAYOUT, FILTERS = 0x01, 0x03, 0x07, 0x08, 0x0B
SHARED = 0x02  # flag: the content lies elsewhere
_ATTRIBUTE, _ATTRIBUTE_INFO = 0x0C, 0x15
_CHUNKED = 2
_FIXED_TEXT = b"\x13\x01\x00\x00"  # a string of version 1: padded by zero bytes, ASCII

Kind = Literal["text", "bool", "int64", "uint64", "float32", "float16"]


@dataclass(frozen=True)
class StoredAttribute:
    """One attribute as its message has it; ``kind`` is ``text`` where the value refers to a text in the heap."""

    name: str
    kind: Kind
    value: bytes


def shape_of(dataspace: bytes) -> tuple[int, ...] | None:
    """Return the shape that a dataspace message gives; () is one value."""
    version, rank, _, kind = struct.unpack_from("<BBBB", dataspace)
    if version not in (1, 2) or (version == 2 and kind != (1 if rank else 0)):
        return None
    return struct.unpack_from(f"<{rank}Q", dataspace, 8 if version == 1 else 4)


def kind_of(datatype: bytes) -> tuple[Kind, int] | None:
    """Return the name and size of the type of a dataset's values."""
    if datatype.startswith(_FIXED_TEXT):
        return "text", int.from_bytes(datatype[4:8], "little")
    for known, kind, size in _known_types():
        if datatype.startswith(known) and not any(datatype[len(known) :]):
            return kind, size
    return None


def chunks_of(layout: bytes, *, itemsize: int) -> tuple[int, ...] | None:
    """Return the shape of a chunk."""
    version, kind, rank = struct.unpack_from("<BBB", layout)
    if (version, kind) != (3, _CHUNKED) or rank < 2:
        return None
    *chunk, size = struct.unpack_from(f"<{rank}I", layout, 11)
    return tuple(chunk) if size == itemsize else None


def filters_of(pipeline: bytes) -> tuple[int, ...] | None:
    """Return the numbers of the filters."""
    version, count = struct.unpack_from("<BB", pipeline)
    if version != 1:
        return None
    found, place = [], 8
    for _ in range(count):
        number, name_length, _, values = struct.unpack_from("<HHHH", pipeline, place)
        place += 8 + name_length + 4 * (values + values % 2)
        found.append(number)
    return tuple(found) if place <= len(pipeline) else None


def attributes_of(messages: Sequence[Message]) -> list[StoredAttribute] | None:
    """Return every attribute."""
    found = []
    for message in messages:
        if message.kind == _ATTRIBUTE_INFO and message.content[-16:-8] != b"\xff" * 8:
            raise ValueError("attributes that are stored apart")
        if message.kind == _ATTRIBUTE:
            attribute = None if message.flags & SHARED else _attribute(message.content)
            if attribute is None:
                return None
            found.append(attribute)
    return found


def _attribute(content: bytes) -> StoredAttribute | None:
    version, flags, *lengths = struct.unpack_from("<BBHHH", content)
    if version not in (1, 2, 3) or (version > 1 and flags):
        return None
    place, parts = 9 if version == 3 else 8, []
    for length in lengths:
        parts.append(content[place : place + length])
        place += -(-length // 8) * 8 if version == 1 else length
    name, datatype, dataspace = parts
    known = _attribute_kind(datatype)
    if known is None or shape_of(dataspace) != ():
        return None
    value = content[place : place + known[1]]
    return StoredAttribute(name.rstrip(b"\0").decode("utf-8", "backslashreplace"), known[0], value)


def _attribute_kind(datatype: bytes) -> tuple[Kind, int] | None:
    if (datatype[:4], datatype[8:].rstrip(b"\0")) == _heap_text():
        return "text", int.from_bytes(datatype[4:8], "little")
    known = kind_of(datatype)
    return known if known and known[0] in ("bool", "int64") else None


@cache
def _known_types() -> tuple[tuple[bytes, Kind, int], ...]:
    known: dict[Kind, h5t.TypeID] = {
        "int64": h5t.STD_I64LE,
        "float32": h5t.IEEE_F32LE,
        "float16": h5t.IEEE_F16LE,
        "uint64": h5t.STD_U64LE,
        "bool": h5t.py_create(np.dtype(bool), logical=True),
    }
    return tuple((_message_of(each), kind, each.get_size()) for kind, each in known.items())


@cache
def _heap_text() -> tuple[bytes, bytes]:
    """The message of a text of any length, without its size, which is another one in memory."""
    message = _message_of(h5t.py_create(h5py.string_dtype(), logical=True))
    return message[:4], message[8:]


def _message_of(kind: h5t.TypeID) -> bytes:
    """Return the datatype message of a type; HDF5 puts two bytes before it."""
    encoded: bytes = kind.encode()
    return encoded[2:].rstrip(b"\0")
