"""Texts of attributes, read from where HDF5 keeps them: libhdf5 never ends on a damaged heap of them.

An attribute of a text holds its length and where it lies: the address of a global heap collection and a number in it
(HDF5 File Format Specification 3.0, III.E "Global Heap", IV.A "Object Headers", IV.A.2.m "The Attribute Message").
"""

import os
import struct
from collections.abc import Iterator
from pathlib import Path

_ATTRIBUTE, _CONTINUATION, _DENSE = 0x0C, 0x10, 0x15
_REFERENCE = struct.Struct("<IQI")  # length of the text, address of the collection, number in it
_HEAP_OBJECT = struct.Struct("<HHIQ")  # number, references, reserved, size
_COLLECTION = struct.Struct("<4sB3xQ")  # signature, version, size
_MOST_BYTES = 64 << 20
_MOST_BLOCKS = 64  # of one object header


class HeapTexts:
    """The texts of one HDF5 file's attributes.

    Every method raises ValueError where the file is not as the specification says.

    Args:
        path: the file, whose addresses and lengths have 8 bytes and which begins at byte 0.
    """

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._size = os.fstat(self._file).st_size
        self._collections: dict[int, dict[int, bytes]] = {}

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)

    def of(self, address: int) -> dict[str, bytes]:
        """Return the texts of the attributes of the object whose header lies at ``address``: {attribute: text}.

        Attributes of other types are left out.
        """
        try:
            return self._texts(address)
        except struct.error as error:
            raise ValueError(f"a piece of its metadata is cut short ({error})") from error

    def _texts(self, address: int) -> dict[str, bytes]:
        found = {}
        for kind, content in self._messages(address):
            if kind == _DENSE and content[-16:-8] != b"\xff" * 8:
                raise ValueError("attributes that are stored apart")
            if kind == _ATTRIBUTE:
                name, data = _attribute(content)
                if data is not None:
                    found[name] = self._text(*_REFERENCE.unpack(data))
        return found

    # -- object headers ------------------------------------------------------------------------------------------------

    def _messages(self, address: int) -> Iterator[tuple[int, bytes]]:
        """Yield (type, content) of every message of an object header, its continuations included."""
        second = self._bytes(address, 4) == b"OHDR"
        blocks, order = [self._first_block_2(address) if second else self._first_block_1(address)], 0
        if second:
            order = 2 * bool(self._bytes(address + 5, 1)[0] & 4)
        for number, block in enumerate(blocks):
            if number >= _MOST_BLOCKS:
                raise ValueError("an object header of too many pieces")
            for kind, content in _split(block, head=4 + order if second else 8):
                if kind == _CONTINUATION:
                    start, length = struct.unpack_from("<QQ", content)
                    piece = self._bytes(start, length)
                    blocks.append(piece[4:-4] if second else piece)
                else:
                    yield kind, content

    def _first_block_1(self, address: int) -> bytes:
        version, length = struct.unpack("<B7xI4x", self._bytes(address, 16))
        if version != 1:
            raise ValueError("an object header of an unknown version")
        return self._bytes(address + 16, length)

    def _first_block_2(self, address: int) -> bytes:
        flags = self._bytes(address + 5, 1)[0]
        start = address + 6 + (16 if flags & 0x20 else 0) + (4 if flags & 0x10 else 0)
        width = 1 << (flags & 3)
        return self._bytes(start + width, int.from_bytes(self._bytes(start, width), "little"))

    # -- the global heap -----------------------------------------------------------------------------------------------

    def _text(self, length: int, address: int, number: int) -> bytes:
        if length == 0:
            return b""
        if address not in self._collections:
            self._collections[address] = dict(self._collection(address))
        text = self._collections[address].get(number)
        if text is None or len(text) < length:
            raise ValueError("a text that is not in its heap")
        return text[:length]

    def _collection(self, address: int) -> Iterator[tuple[int, bytes]]:
        signature, version, size = _COLLECTION.unpack(self._bytes(address, _COLLECTION.size))
        if signature != b"GCOL" or version != 1:
            raise ValueError("a heap without its signature")
        content = self._bytes(address, size)
        place = _COLLECTION.size
        while place + _HEAP_OBJECT.size <= size:
            number, _, _, length = _HEAP_OBJECT.unpack_from(content, place)
            if number == 0:  # the free space, which is the last object and counts its own head
                break
            start = place + _HEAP_OBJECT.size
            if start + length > size:
                raise ValueError("a text that leaves its heap")
            yield number, content[start : start + length]
            place = start + -(-length // 8) * 8

    def _bytes(self, address: int, length: int) -> bytes:
        if length > _MOST_BYTES or address + length > self._size:
            raise ValueError("an address outside the file")
        return os.pread(self._file, length, address)


def _split(block: bytes, *, head: int) -> Iterator[tuple[int, bytes]]:
    """Yield (type, content) of the messages in a piece of an object header, each behind ``head`` bytes."""
    place = 0
    while place + head <= len(block):
        kind, length = struct.unpack_from("<HH" if head == 8 else "<BH", block, place)
        content = block[place + head : place + head + length]
        if len(content) < length:
            raise ValueError("a message that leaves its object header")
        yield kind, content
        place += head + length


def _attribute(content: bytes) -> tuple[str, bytes | None]:
    """Return an attribute's name, and its reference to a text, None where it is none."""
    version, _, *lengths = struct.unpack_from("<BBHHH", content)
    if version not in (1, 2, 3):
        raise ValueError("an attribute of an unknown version")
    place, parts = 9 if version == 3 else 8, []
    for length in lengths:
        parts.append(content[place : place + length])
        place += -(-length // 8) * 8 if version == 1 else length
    name, stored, _ = parts
    is_text = len(stored) > 1 and stored[0] & 0x0F == 9 and stored[1] & 0x0F == 1  # of variable length, and a string
    data = content[place : place + _REFERENCE.size]
    if is_text and len(data) < _REFERENCE.size:
        raise ValueError("an attribute without its value")
    return name.rstrip(b"\0").decode("utf-8", "backslashreplace"), data if is_text else None
