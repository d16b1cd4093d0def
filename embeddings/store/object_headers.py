"""The messages in the object headers of an HDF5 file, read from its bytes.

HDF5 File Format Specification 3.0, IV.A "Object Headers": an object is described by messages, in one header and its
continuations; version 1 headers are those of HDF5's earliest format, version 2 begins with ``OHDR``.
"""

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_CONTINUATION = 0x10
_MOST_BYTES = 64 << 20
_MOST_BLOCKS = 64  # of one object header


@dataclass(frozen=True)
class Message:
    """One message of an object header: its type, flags and content."""

    kind: int
    flags: int
    content: bytes


class ObjectHeaders:
    """The object headers of one HDF5 file.

    Every method raises ValueError where the file is not as the specification says.

    Args:
        path: the file, whose addresses and lengths have 8 bytes and which begins at byte 0.
    """

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._size = os.fstat(self._file).st_size

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)

    def messages(self, address: int) -> list[Message]:
        """Return every message of the object header at ``address``, its continuations included."""
        try:
            return list(self._messages(address))
        except struct.error as error:
            raise ValueError(f"a piece of its metadata is cut short ({error})") from error

    def bytes_at(self, address: int, length: int) -> bytes:
        """Return some bytes of the file."""
        if length > _MOST_BYTES or address + length > self._size:
            raise ValueError("an address outside the file")
        return os.pread(self._file, length, address)

    def _messages(self, address: int) -> Iterator[Message]:
        head = self.bytes_at(address, 16)
        second = head[:4] == b"OHDR"
        blocks = [self._first_block_2(address, head[5]) if second else self._first_block_1(address, head)]
        width = (6 if head[5] & 4 else 4) if second else 8
        for number, block in enumerate(blocks):
            if number >= _MOST_BLOCKS:
                raise ValueError("an object header of too many pieces")
            for message in _split(block, head=width):
                if message.kind == _CONTINUATION:
                    piece = self.bytes_at(*struct.unpack_from("<QQ", message.content))
                    blocks.append(piece[4:-4] if second else piece)
                else:
                    yield message

    def _first_block_1(self, address: int, head: bytes) -> bytes:
        version, length = struct.unpack("<B7xI4x", head)
        if version != 1:
            raise ValueError("an object header of an unknown version")
        return self.bytes_at(address + 16, length)

    def _first_block_2(self, address: int, flags: int) -> bytes:
        start = address + 6 + (16 if flags & 0x20 else 0) + (4 if flags & 0x10 else 0)
        width = 1 << (flags & 3)
        return self.bytes_at(start + width, int.from_bytes(self.bytes_at(start, width), "little"))


def _split(block: bytes, *, head: int) -> Iterator[Message]:
    """Yield the messages in a piece of an object header, each behind ``head`` bytes."""
    place = 0
    while place + head <= len(block):
        kind, length, flags = struct.unpack_from("<HHB" if head == 8 else "<BHB", block, place)
        content = block[place + head : place + head + length]
        if len(content) < length:
            raise ValueError("a message that leaves its object header")
        yield Message(kind, flags, content)
        place += head + length
