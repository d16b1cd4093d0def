"""The groups, datasets and attributes of an HDF5 file, described without reading a value of a dataset.

Nothing outside the file is ever opened: links that are not hard links, external storage and virtual datasets are
refused before the dataset behind them is asked for anything.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from h5py import h5a, h5d, h5g, h5l, h5o, h5t

from fewshot.core.errors import StoreError
from fewshot.embeddings.store.heap_texts import HeapTexts
from fewshot.embeddings.store.read_errors import NO_LOCKS, error_number

Attribute = str | bool | int

FLETCHER32, DEFLATE, SHUFFLE = 3, 1, 2  # H5Z_FILTER_*
FILTERS = {DEFLATE: "deflate", SHUFFLE: "shuffle", FLETCHER32: "fletcher32"}
_MOST_LINKS = 100_000
_MOST_ATTRIBUTES = 64


@dataclass(frozen=True)
class StoredDataset:
    """What a dataset is, without its values.

    Args:
        kind: ``bool``, ``int64``, ``uint64``, ``float16``, ``float32``, or ``text``.
        itemsize: bytes of a value; shape: rows first.
        chunks: shape of a chunk, None when it lies in one piece.
        filters: names of its filters, in order.
        attributes: of the dataset.
    """

    kind: str
    itemsize: int
    shape: tuple[int, ...]
    chunks: tuple[int, ...] | None
    filters: tuple[str, ...]
    attributes: Mapping[str, Attribute]


class Objects:
    """The objects of one open HDF5 file, asked for by their paths.

    Args:
        file: the open h5py file; path: of it, for messages.

    Raises:
        StoreError: from every method, where the file holds what no store holds.
    """

    def __init__(self, file: Any, path: Path) -> None:
        self.path = path
        self.root: Any = file.id
        self._seen: set[int] = set()
        self._texts = HeapTexts(path)

    def close(self) -> None:
        """Close what was opened beside the h5py file."""
        self._texts.close()

    def links(self, group: Any, name: str) -> list[str]:
        """Return the names in a group, every one a hard link to an object that no other link leads to."""
        found: list[bytes] = []

        def note(link: bytes) -> bool | None:
            found.append(link)
            return True if len(found) > _MOST_LINKS else None

        group.links.iterate(note)
        if len(found) > _MOST_LINKS:
            raise self.refused(f"{name} holds more than {_MOST_LINKS:,} objects")
        return [self._hard_link(group, link, name) for link in found]

    def _hard_link(self, group: Any, link: bytes, parent: str) -> str:
        try:
            name = link.decode("utf-8")
        except UnicodeDecodeError:
            raise self.refused(f"{parent} holds a name that is not UTF-8: {link!r}") from None
        info = group.links.get_info(link)
        if info.type != h5l.TYPE_HARD:
            kind = {h5l.TYPE_SOFT: "a soft link", h5l.TYPE_EXTERNAL: "a link to another file"}.get(info.type)
            raise self.refused(f"{parent.rstrip('/')}/{name} is {kind or 'a link of an unknown kind'}")
        if info.u in self._seen:
            raise self.refused(f"{parent.rstrip('/')}/{name} leads to an object that has another name too")
        self._seen.add(info.u)
        return name

    def group(self, parent: Any, name: str, where: str) -> Any:
        """Return a group of ``parent``."""
        found = h5o.open(parent, name.encode("utf-8"))
        if not isinstance(found, h5g.GroupID):
            raise self.refused(f"{where} is not a group")
        return found

    def dataset(self, parent: Any, name: str, where: str) -> StoredDataset:
        """Describe a dataset of ``parent``, whose values lie in this file alone."""
        found = h5o.open(parent, name.encode("utf-8"))
        if not isinstance(found, h5d.DatasetID):
            raise self.refused(f"{where} is not a dataset")
        created = found.get_create_plist()
        layout = created.get_layout()
        if layout == h5d.VIRTUAL:
            raise self.refused(f"{where} is a virtual dataset, whose values lie elsewhere")
        if layout not in (h5d.CHUNKED, h5d.CONTIGUOUS):
            raise self.refused(f"{where} is stored in an unknown way")
        if layout == h5d.CONTIGUOUS and created.get_external_count():
            raise self.refused(f"{where} keeps its values in another file")
        filters = tuple(self._filter(created, number, where) for number in range(created.get_nfilters()))
        kind, itemsize = self._kind(found.get_type(), where)
        chunks = created.get_chunk() if layout == h5d.CHUNKED else None
        return StoredDataset(kind, itemsize, found.shape, chunks, filters, self.attributes(found, where))

    def _filter(self, created: Any, number: int, where: str) -> str:
        identifier = created.get_filter(number)[0]
        if identifier not in FILTERS:
            raise self.refused(f"{where} is written through the filter number {identifier}, which is not known here")
        return FILTERS[identifier]

    def _kind(self, stored: Any, where: str) -> tuple[str, int]:
        if stored.committed():
            raise self.refused(f"{where} has a type that is stored apart")
        size, stored_class = int(stored.get_size()), stored.get_class()
        if stored_class == h5t.STRING:
            plain = not stored.is_variable_str() and stored.get_cset() == h5t.CSET_ASCII
            if plain and stored.get_strpad() == h5t.STR_NULLPAD:
                return "text", size
        for kind, known_class, known in _kinds():
            if stored_class == known_class and stored == known:
                return kind, size
        raise self.refused(f"{where} has a type that no store has")

    def attributes(self, owner: Any, where: str) -> dict[str, Attribute]:
        """Return all attributes of an object; each is one text, boolean or whole number."""
        count = h5a.get_num_attrs(owner)
        if count > _MOST_ATTRIBUTES:
            raise self.refused(f"{where} has {count:,} attributes")
        texts = self._texts.of(h5o.get_info(owner).addr) if count else {}
        found: dict[str, Attribute] = {}
        for number in range(count):
            attribute = h5a.open(owner, index=number)
            name = attribute.name.decode("utf-8", "backslashreplace")
            found[name] = self._value(attribute, texts.get(name), f"the attribute {name!r} of {where}")
        return found

    def says(self, owner: Any, name: str, text: str) -> bool:
        """Return whether an attribute is this text; one that is no text at all is another."""
        try:
            return self.value(owner, name) == text
        except StoreError:
            return False

    def value(self, owner: Any, name: str) -> Attribute | None:
        """Return one attribute, None when there is none of that name."""
        if not h5a.exists(owner, name.encode()):
            return None
        text = self._texts.of(h5o.get_info(owner).addr).get(name)
        return self._value(h5a.open(owner, name.encode()), text, f"the attribute {name!r}")

    def _value(self, attribute: Any, text: bytes | None, where: str) -> Attribute:
        """Return an attribute's value; ``text`` is what the heap holds for it."""
        stored = attribute.get_type()
        if attribute.shape != () or stored.committed():
            raise self.refused(f"{where} is not one value")
        stored_class = stored.get_class()
        kind = next(
            (kind for kind, known, type_ in _attribute_kinds() if stored_class == known and stored == type_), ""
        )
        if kind == "text" and text is not None:
            return self._decoded(text, where)
        if kind not in ("bool", "int64"):
            raise self.refused(f"{where} has a type that no store has")
        value = np.zeros((), kind)
        attribute.read(value)
        return bool(value) if kind == "bool" else int(value)

    def _decoded(self, text: bytes, where: str) -> str:
        try:
            return text.decode("utf-8")
        except UnicodeDecodeError:
            raise self.refused(f"{where} is not UTF-8") from None

    def refused(self, what: str) -> StoreError:
        """Return the error for a file that holds what no store holds."""
        return StoreError(
            f"{self.path} was refused unread: {what}; no fewshot writes such a store. Restore it from a copy, or embed "
            f"again"
        )


def open_hdf5(path: Path, mode: str) -> Any:
    """Open a file with h5py; without a lock where the file system knows none.

    That is safe: sealed stores never change in place, and a new one has a name that nobody else knows.

    Raises:
        OSError: the system or HDF5 refuses it.
    """
    try:
        return h5py.File(os.fspath(path), mode)
    except OSError as error:
        if error_number(error) not in NO_LOCKS:
            raise
        return h5py.File(os.fspath(path), mode, locking=False)


_Kinds = tuple[tuple[str, int, Any], ...]  # (name, class, type)


@cache
def _kinds() -> _Kinds:
    known = {
        "int64": h5t.STD_I64LE,
        "float32": h5t.IEEE_F32LE,
        "float16": h5t.IEEE_F16LE,
        "uint64": h5t.STD_U64LE,
        "bool": h5t.py_create(np.dtype(bool), logical=True),
    }
    return tuple((name, each.get_class(), each) for name, each in known.items())


@cache
def _attribute_kinds() -> _Kinds:
    text = h5t.py_create(h5py.string_dtype(), logical=True)
    others = tuple(kind for kind in _kinds() if kind[0] in ("bool", "int64"))
    return (("text", text.get_class(), text), *others)
