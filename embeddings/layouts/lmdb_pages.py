"""Read single values of an LMDB file, every offset in it checked, so that a damaged one ends in a sentence.

The library of that name trusts the file: one that was cut ends the process by a bus error, a damaged page by a
segmentation fault. The format: ``lmdb.h`` and ``mdb.c`` of LMDB 0.9 (data version 1): pages of one size, the first two
of them meta pages, a B+ tree of branch and leaf pages below the newer one's root, large values on pages of their own.
"""

import os
import struct
import weakref
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import final

from fewshot.core.errors import InputError
from fewshot.core.regular_files import open_regular

_HEADER = 16  # bytes before a page's content: number, padding, flags, lower and upper bound of the free room
_BRANCH, _LEAF, _META, _OVERFLOW, _LEAF2 = 0x01, 0x02, 0x08, 0x04, 0x20
_BIG, _SUB, _DUPLICATES = 0x01, 0x02, 0x04  # flags of a node
_MAGIC, _VERSION = 0xBEEFC0DE, 1
_NONE = (1 << 64) - 1  # the root of an empty tree
_MAX_DEPTH = 32  # CURSOR_STACK in mdb.c
_PAGES_KEPT = 256
_MAX_PAGE = 1 << 16


@dataclass(frozen=True)
class _Meta:
    """What a meta page says: (bytes of a page), the newest transaction, the main tree's root, the last page."""

    page_size: int
    transaction: int
    flags: int
    root: int
    last_page: int


@final
class LmdbFile:
    """The main tree of an LMDB file.

    Args:
        file: ``data.mdb``.

    Raises:
        InputError: not an LMDB, cut, or of named or sorted-duplicate databases.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        try:
            stream = open_regular(file)
        except OSError as error:
            raise self._refused(error.strerror or str(error)) from error
        weakref.finalize(self, stream.close)
        self._descriptor = stream.fileno()
        self._size = os.fstat(self._descriptor).st_size
        self._pages: OrderedDict[int, dict[bytes, bytes] | list[tuple[bytes, int]]] = OrderedDict()
        self._meta = self._newest_meta()
        wanted = (self._meta.last_page + 1) * self._meta.page_size
        if self._size < wanted:
            raise self._refused(f"it has {self._size:,} bytes of {wanted:,}: it was cut")
        if self._meta.flags & _DUPLICATES:
            raise self._refused("its keys have several values")

    def get(self, key: bytes) -> bytes | None:
        """Return the value of a key, None when there is none.

        Raises:
            InputError: a page on the way to it is damaged.
        """
        number = self._meta.root
        if number == _NONE:
            return None
        for _ in range(_MAX_DEPTH):
            page = self._page(number)
            if isinstance(page, dict):
                node = page.get(key)
                return None if node is None else self._value(node)
            number = _below(page, key)
        raise self._refused("its tree leads in a circle")

    def _newest_meta(self) -> _Meta:
        first = self._bytes(0, _MAX_PAGE, at_least=_HEADER + 136)
        metas = [_meta(first, 0)]
        if metas[0] is not None:
            second = self._bytes(metas[0].page_size, _HEADER + 136)
            metas.append(_meta(second, 0))
        else:  # the first one was lost in the middle of a write; the page size is one of a few
            metas += [_meta(first, size) for size in (4096, 8192, 16384, 32768) if size + _HEADER + 136 <= len(first)]
        valid = [meta for meta in metas if meta is not None]
        if not valid:
            raise self._refused("it has no meta page")
        return max(valid, key=lambda meta: meta.transaction)

    def _page(self, number: int) -> dict[bytes, bytes] | list[tuple[bytes, int]]:
        """Return a leaf's nodes by key, or a branch's (first key, page) in order."""
        if number not in self._pages:
            size = self._meta.page_size
            content = self._bytes(number * size, size)
            self._pages[number] = self._parsed(content, number)
            while len(self._pages) > _PAGES_KEPT:
                self._pages.popitem(last=False)
        self._pages.move_to_end(number)
        return self._pages[number]

    def _parsed(self, page: bytes, number: int) -> dict[bytes, bytes] | list[tuple[bytes, int]]:
        found, _, flags, lower, _ = struct.unpack_from("<QHHHH", page)
        kind = flags & (_BRANCH | _LEAF | _META | _OVERFLOW | _LEAF2)
        if found != number or kind not in (_BRANCH, _LEAF) or not _HEADER + 2 <= lower <= len(page):
            raise self._refused(f"page {number} is damaged")
        offsets = struct.unpack_from(f"<{(lower - _HEADER) // 2}H", page, _HEADER)
        try:
            if kind == _LEAF:
                return dict(self._leaf_node(page, offset) for offset in offsets)
            return [_branch_node(page, offset) for offset in offsets]
        except (struct.error, ValueError) as error:
            raise self._refused(f"page {number} is damaged: {error}") from error

    def _leaf_node(self, page: bytes, offset: int) -> tuple[bytes, bytes]:
        """Return (key, flag and value or the place of a large one)."""
        low, high, flags, key_size = struct.unpack_from("<HHHH", page, offset)
        size = low | high << 16
        if flags & (_SUB | _DUPLICATES):
            raise ValueError("a database inside it")
        start = offset + 8 + key_size
        length = 8 if flags & _BIG else size
        if start + length > len(page):
            raise ValueError("a value leads out of it")
        big = struct.pack("<Q", size) if flags & _BIG else b""
        return page[offset + 8 : start], bytes([flags & _BIG]) + big + page[start : start + length]

    def _value(self, node: bytes) -> bytes:
        if not node[0]:
            return node[1:]
        size, number = struct.unpack("<QQ", node[1:])
        start = number * self._meta.page_size
        found, _, flags, pages = struct.unpack("<QHHI", self._bytes(start, _HEADER))
        if found != number or not flags & _OVERFLOW or _HEADER + size > pages * self._meta.page_size:
            raise self._refused(f"the value on page {number} is damaged")
        return self._bytes(start + _HEADER, size)

    def _bytes(self, start: int, size: int, *, at_least: int | None = None) -> bytes:
        if start + (size if at_least is None else at_least) > self._size:
            raise self._refused(f"it ends at byte {self._size:,}, and byte {start + size:,} is wanted")
        content = os.pread(self._descriptor, size, start)
        if len(content) < (size if at_least is None else at_least):
            raise self._refused("it was cut while it was read")
        return content

    def _refused(self, reason: str) -> InputError:
        return InputError(f"{self.file} is not a readable LMDB ({reason}); build it again")


def _meta(page: bytes, start: int) -> _Meta | None:
    """Return what a meta page at ``start`` says, None when it is none."""
    flags = struct.unpack_from("<H", page, start + 10)[0]
    magic, version = struct.unpack_from("<II", page, start + _HEADER)
    if not flags & _META or (magic, version) != (_MAGIC, _VERSION):
        return None
    trees = start + _HEADER + 24  # behind magic, version, address and map size
    page_size = struct.unpack_from("<I", page, trees)[0]
    main_flags = struct.unpack_from("<H", page, trees + 48 + 4)[0]
    root = struct.unpack_from("<Q", page, trees + 48 + 40)[0]
    last_page, transaction = struct.unpack_from("<QQ", page, trees + 96)
    if page_size < 256 or page_size > _MAX_PAGE or page_size & (page_size - 1):
        return None
    return _Meta(page_size, transaction, main_flags, root, last_page)


def _branch_node(page: bytes, offset: int) -> tuple[bytes, int]:
    low, high, flags, key_size = struct.unpack_from("<HHHH", page, offset)
    if offset + 8 + key_size > len(page):
        raise ValueError("a key leads out of it")
    return page[offset + 8 : offset + 8 + key_size], low | high << 16 | flags << 32


def _below(branch: list[tuple[bytes, int]], key: bytes) -> int:
    """Return the page below a branch that would hold ``key``; the first node's key stands for the least of all."""
    first, last = 0, len(branch) - 1
    while first < last:
        middle = (first + last + 1) // 2
        if branch[middle][0] <= key:
            first = middle
        else:
            last = middle - 1
    return branch[first][1]
