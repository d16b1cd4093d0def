"""Read a ``.npz`` file of any origin: no pickle, and no more memory than its own checked declarations say."""

import ast
import math
import os
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from fewshot.core.regular_files import open_regular

MOST_BYTES = 8 << 30  # of all arrays together; a thousand draws of 100,000 images have 500 MB a head
_KINDS = "biufU"
_LARGEST_CHARACTER = 0x10FFFF
_SURROGATES = (0xD800, 0xDFFF)
_END_BYTES = 22  # of a ZIP archive's end record without a comment
_MANY = 0xFFFF  # in the end record: as many arrays or more, counted elsewhere
_MOST_HEADER_BYTES = 10_000


def read_npz(path: Path | str, *, limit: int = MOST_BYTES) -> dict[str, NDArray[Any]]:
    """Return the arrays of a ``.npz`` file by name; their checksums are verified.

    Args:
        path: a regular file.
        limit: most bytes that all arrays may have together.

    Raises:
        OSError: it cannot be opened, or is no regular file.
        ValueError: it is damaged, declares more than it holds or than ``limit``, or holds anything but plain arrays of
            numbers, truth values and texts.
    """
    with open_regular(path) as stream:
        try:
            with zipfile.ZipFile(stream) as archive:
                members = archive.infolist()
                _require_all(stream, members)
                declared = sum(member.file_size for member in members)
                if declared > limit:
                    raise ValueError(f"it declares {declared:,} bytes, and at most {limit:,} are read")
                return {member.filename.removesuffix(".npy"): _array(archive, member) for member in members}
        except (
            zipfile.BadZipFile,
            zlib.error,
            EOFError,
            OSError,
            KeyError,
            TypeError,
            OverflowError,
            NotImplementedError,  # a compression or encryption that zipfile does not know
            RuntimeError,  # encrypted; RecursionError of a nested header is one
            SyntaxError,  # of a header
            MemoryError,
            UnicodeDecodeError,
        ) as error:
            raise ValueError(str(error) or type(error).__name__) from error


def _require_all(stream: IO[bytes], members: Sequence[zipfile.ZipInfo]) -> None:
    """Raise unless the members are as many as the archive's end says: a wrong length in its directory hides some."""
    stream.seek(-_END_BYTES, os.SEEK_END)
    end = stream.read(_END_BYTES)
    count = int.from_bytes(end[10:12], "little")
    if end[:4] != b"PK\x05\x06" or count not in (len(members), _MANY):
        raise ValueError(f"its directory lists {len(members)} arrays, and {count} were written")
    if len({member.filename for member in members}) < len(members):
        raise ValueError("an array is there twice")


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> NDArray[Any]:
    """Return one array, whose header must declare just the bytes that the archive declares."""
    with archive.open(member) as stream:
        shape, column_major, dtype = _header(stream, member.filename)
        size = math.prod(shape) * dtype.itemsize
        if stream.tell() + size != member.file_size:
            raise ValueError(
                f"{member.filename!r} declares shape {shape} of {dtype} and has {member.file_size:,} bytes with its "
                f"header"
            )
        content = stream.read(size)
        if len(content) != size or stream.read(1):  # reading to the end verifies the checksum
            raise ValueError(f"{member.filename!r} ends early")
    if dtype.itemsize == 0:
        return np.zeros(shape, dtype)
    array = np.frombuffer(bytearray(content), dtype).reshape(shape, order="F" if column_major else "C")
    _require_text(array, member.filename)
    return array


def _header(stream: IO[bytes], name: str) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Return shape, order and type that a ``.npy`` file declares (numpy.lib.format, versions 1.0 and 2.0)."""
    magic = stream.read(8)
    if magic[:6] != b"\x93NUMPY" or magic[6:] not in (b"\x01\x00", b"\x02\x00"):
        raise ValueError(f"{name!r} is not an array of numpy's format 1.0 or 2.0")
    length = int.from_bytes(stream.read(2 if magic[6] == 1 else 4), "little")
    if length > _MOST_HEADER_BYTES:
        raise ValueError(f"{name!r} has a header of {length:,} bytes")
    declared = ast.literal_eval(stream.read(length).decode("latin-1").strip())
    if not isinstance(declared, dict) or set(declared) != {"descr", "fortran_order", "shape"}:
        raise ValueError(f"{name!r} does not declare type, order and shape")
    shape, column_major, kind = declared["shape"], declared["fortran_order"], declared["descr"]
    if not isinstance(shape, tuple) or not all(type(size) is int and size >= 0 for size in shape):
        raise ValueError(f"{name!r} declares the shape {shape}")
    dtype = np.dtype(kind) if isinstance(kind, str) else None
    if dtype is None or dtype.kind not in _KINDS or dtype.subdtype is not None or type(column_major) is not bool:
        raise ValueError(f"{name!r} declares the type {kind}; numbers, truth values and texts are read")
    return shape, column_major, dtype


def _require_text(array: NDArray[Any], name: str) -> None:
    if array.dtype.kind != "U" or array.size == 0:
        return
    characters = np.ascontiguousarray(array).reshape(-1).view(np.dtype("u4").newbyteorder(array.dtype.byteorder))
    low, high = _SURROGATES
    if ((characters > _LARGEST_CHARACTER) | ((characters >= low) & (characters <= high))).any():
        raise ValueError(f"{name!r} holds texts that are not Unicode")
