"""Texts of attributes, read from where HDF5 keeps them: libhdf5 never ends on a damaged heap of them.

An attribute of a text holds its length and where it lies: the address of a global heap collection and a number in it
(HDF5 File Format Specification 3.0, III.E "Global Heap").
"""

import struct
from collections.abc import Iterator

from fewshot.embeddings.store.object_headers import ObjectHeaders

_REFERENCE = struct.Struct("<IQI")  # length of the text, address of the collection, number in it
_HEAP_OBJECT = struct.Struct("<HHIQ")  # number, references, reserved, size
_COLLECTION = struct.Struct("<4sB3xQ")  # signature, version, size


class HeapTexts:
    """The global heap of one HDF5 file.

    Args:
        file: where its bytes are read from.
    """

    def __init__(self, file: ObjectHeaders) -> None:
        self._file = file
        self._collections: dict[int, dict[int, bytes]] = {}

    def text(self, reference: bytes) -> bytes:
        """Return the text that an attribute's value refers to.

        Raises:
            ValueError: there is none, or its heap is not as the specification says.
        """
        if len(reference) < _REFERENCE.size:
            raise ValueError("an attribute without its value")
        length, address, number = _REFERENCE.unpack_from(reference)
        if length == 0:
            return b""
        if address not in self._collections:
            self._collections[address] = dict(self._collection(address))
        text = self._collections[address].get(number)
        if text is None or len(text) < length:
            raise ValueError("a text that is not in its heap")
        return text[:length]

    def _collection(self, address: int) -> Iterator[tuple[int, bytes]]:
        signature, version, size = _COLLECTION.unpack(self._file.bytes_at(address, _COLLECTION.size))
        if signature != b"GCOL" or version != 1:
            raise ValueError("a heap without its signature")
        content = self._file.bytes_at(address, size)
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
