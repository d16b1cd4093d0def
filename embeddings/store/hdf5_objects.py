"""The groups, datasets and attributes of an HDF5 file, described without reading a value of a dataset.

Nothing outside the file is ever opened: links that are not hard links, external storage and virtual datasets are
refused before the dataset behind them is asked for anything.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import h5py
from h5py import h5d, h5g, h5l, h5o

from fewshot.core.errors import StoreError
from fewshot.embeddings.store.header_fields import (
    DATASPACE,
    DATATYPE,
    EXTERNAL_FILES,
    FILTERS,
    LAYOUT,
    SHARED,
    StoredAttribute,
    attributes_of,
    chunks_of,
    filters_of,
    kind_of,
    shape_of,
)
from fewshot.embeddings.store.heap_texts import HeapTexts
from fewshot.embeddings.store.object_headers import Message, ObjectHeaders
from fewshot.embeddings.store.read_errors import NO_LOCKS, error_number

Attribute = str | bool | int

FLETCHER32 = 3  # H5Z_FILTER_FLETCHER32
FILTER_NAMES = {1: "deflate", 2: "shuffle", FLETCHER32: "fletcher32"}
_MOST_LINKS = 100_000


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
    attributes: Mapping[str, Attribute] = field(default_factory=dict)


class Objects:
    """The objects of one open HDF5 file, asked for by their paths.

    An object is described from its header's bytes where these have a form that is known here, which takes a fraction of
    the time, and by HDF5 where not.

    Args:
        file: the open h5py file; path: of it.

    Raises:
        StoreError: from every method, where the file holds what no store holds.
    """

    def __init__(self, file: Any, path: Path) -> None:
        self.path = path
        self.root: Any = file.id
        self._addresses: dict[str, int] = {"/": h5o.get_info(file.id).addr}
        self._seen: set[int] = set()
        self._headers = ObjectHeaders(path)
        self._heap = HeapTexts(self._headers)

    def close(self) -> None:
        """Close what was opened beside the h5py file."""
        self._headers.close()

    def links(self, group: Any, name: str) -> list[str]:
        """Return the names in a group, every one a hard link to an object that no other link leads to."""
        found: list[bytes] = []

        def note(link: bytes) -> bool | None:
            found.append(link)
            return True if len(found) > _MOST_LINKS else None

        group.links.iterate(note)
        if len(found) > _MOST_LINKS:
            raise self.refused(f"{name} holds more than {_MOST_LINKS:,} objects")
        return [self._hard_link(group, link, name.rstrip("/")) for link in found]

    def _hard_link(self, group: Any, link: bytes, parent: str) -> str:
        try:
            name = link.decode("utf-8")
        except UnicodeDecodeError:
            raise self.refused(f"{parent} holds a name that is not UTF-8: {link!r}") from None
        info = group.links.get_info(link)
        if info.type != h5l.TYPE_HARD:
            kind = {h5l.TYPE_SOFT: "a soft link", h5l.TYPE_EXTERNAL: "a link to another file"}.get(info.type)
            raise self.refused(f"{parent}/{name} is {kind or 'a link of an unknown kind'}")
        if info.u in self._seen:
            raise self.refused(f"{parent}/{name} leads to an object that has another name too")
        self._seen.add(info.u)
        self._addresses[f"{parent}/{name}"] = info.u
        return name

    def group(self, path: str) -> Any:
        """Return a group."""
        found = h5o.open(self.root, path.encode("utf-8"))
        if not isinstance(found, h5g.GroupID):
            raise self.refused(f"{path} is not a group")
        return found

    def dataset(self, path: str) -> StoredDataset:
        """Describe a dataset, whose values lie in this file alone."""
        messages = self._headers.messages(self._addresses[path])
        described = _described(messages)
        attributes = self._attributes(messages)
        if described is not None and attributes is not None:
            return replace(described, attributes=attributes)
        found = h5o.open(self.root, path.encode("utf-8"))
        if not isinstance(found, h5d.DatasetID):
            raise self.refused(f"{path} is not a dataset")
        return replace(described_by_hdf5(found, self.path, path), attributes=self.attributes(path))

    # -- attributes ----------------------------------------------------------------------------------------------------

    def attributes(self, path: str) -> dict[str, Attribute]:
        """Return all attributes of an object; each is one text, boolean or whole number."""
        found = self._attributes(self._headers.messages(self._addresses[path]))
        if found is None:
            raise self.refused(f"{path} has an attribute that is not one text, boolean or whole number")
        return found

    def value(self, path: str, name: str) -> Attribute | None:
        """Return one attribute; None where there is none of that name, or it is of another kind."""
        for message in self._headers.messages(self._addresses[path]):
            found = attributes_of([message])
            if found and found[0].name == name:
                return self._value(found[0])
        return None

    def _attributes(self, messages: Sequence[Message]) -> dict[str, Attribute] | None:
        found = attributes_of(messages)
        return None if found is None else {each.name: self._value(each) for each in found}

    def _value(self, stored: StoredAttribute) -> Attribute:
        if stored.kind == "text":
            try:
                return self._heap.text(stored.value).decode("utf-8")
            except UnicodeDecodeError:
                raise self.refused(f"the attribute {stored.name!r} is not UTF-8") from None
        number = int.from_bytes(stored.value, "little", signed=True)
        return number if stored.kind == "int64" else bool(number)

    def refused(self, what: str) -> StoreError:
        """Return the error for a file that holds what no store holds."""
        return refused(self.path, what)


def refused(file: Path, what: str) -> StoreError:
    """Return the error for a file that holds what no store holds."""
    return StoreError(
        f"{file} was refused unread: {what}; no fewshot writes such a store. Restore it from a copy, or embed again"
    )


def described_by_hdf5(found: Any, file: Path, path: str) -> StoredDataset:
    """Describe a dataset, without its attributes, as HDF5 sees it.

    Args:
        found: its low-level h5py object; file: it lies in; path: of the dataset.

    Raises:
        StoreError: its values lie elsewhere, or it has a type or a filter that no store has.
    """
    created = found.get_create_plist()
    layout = created.get_layout()
    if layout == h5d.VIRTUAL:
        raise refused(file, f"{path} is a virtual dataset, whose values lie elsewhere")
    if layout not in (h5d.CHUNKED, h5d.CONTIGUOUS):
        raise refused(file, f"{path} is stored in an unknown way")
    if created.get_external_count():
        raise refused(file, f"{path} keeps its values in another file")
    numbers = [created.get_filter(each)[0] for each in range(created.get_nfilters())]
    for number in numbers:
        if number not in FILTER_NAMES:
            raise refused(file, f"{path} is written through the filter number {number}, which is not known here")
    stored = found.get_type()
    known = None if stored.committed() else kind_of(stored.encode()[2:])
    if known is None:
        raise refused(file, f"{path} has a type that no store has")
    chunks = created.get_chunk() if layout == h5d.CHUNKED else None
    return StoredDataset(*known, found.shape, chunks, tuple(FILTER_NAMES[number] for number in numbers))


def _described(messages: Sequence[Message]) -> StoredDataset | None:
    """Return what a header says of a dataset, without its attributes; None where its form is not known."""
    of_kind: dict[int, bytes] = {}
    for message in messages:
        if message.kind in (DATASPACE, DATATYPE, LAYOUT, FILTERS, EXTERNAL_FILES):
            if message.kind in of_kind or message.flags & SHARED:
                return None
            of_kind[message.kind] = message.content
    if set(of_kind) != {DATASPACE, DATATYPE, LAYOUT, FILTERS}:
        return None
    known, shape = kind_of(of_kind[DATATYPE]), shape_of(of_kind[DATASPACE])
    if known is None or shape is None:
        return None
    chunks, filters = chunks_of(of_kind[LAYOUT], itemsize=known[1]), filters_of(of_kind[FILTERS])
    if chunks is None or filters is None or not set(filters) <= set(FILTER_NAMES):
        return None
    return StoredDataset(*known, shape, chunks, tuple(FILTER_NAMES[number] for number in filters))


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
