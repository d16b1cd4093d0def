"""FiSeR's LMDB: ``num-samples``, images ``i-%09d`` and labels ``l-%09d``, counted from 1. Nothing is ever unpickled."""

import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, final

from fewshot.core.errors import InputError
from fewshot.embeddings.inputs.bounds import MAX_FILE_BYTES
from fewshot.embeddings.inputs.images import UnreadableImage
from fewshot.embeddings.layouts.base import Layout, Sample
from fewshot.embeddings.layouts.lmdb_pages import LmdbFile
from fewshot.embeddings.layouts.names import require_text, source_name
from fewshot.embeddings.layouts.tree import count_beside

NATURE = "nature"
_LABEL_BYTES = 1 << 20
_COUNT_DIGITS = 9  # of a key's number


@final
class Lmdb(Layout):
    """The class follows the source name (``src`` is ``nature``): the stored label has natural = 1 and is ignored."""

    name: ClassVar[str] = "lmdb"

    def __init__(self) -> None:
        super().__init__()
        self._open: dict[Path, LmdbFile] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {"ignored": self.ignored, "skip_unlabelled": self.skip_unlabelled, "_open": {}}

    def recognises(self, root: Path) -> bool:
        """A folder with ``data.mdb``, or that file; whether it can be read, reading it says."""
        return (root / "data.mdb").exists() or (root.name == "data.mdb" and root.exists())

    def samples(self, root: Path) -> Iterator[Sample]:
        """Yield the entries in number order; a missing or damaged label is an error with its number."""
        if root.is_dir():
            count_beside(root, ["data.mdb", "lock.mdb"], ignored=self.ignored)
        file = self._file(root)
        count = file.get(b"num-samples")
        if count is None or not count.isdigit() or len(count) > _COUNT_DIGITS:
            raise InputError(f"{root} has no entry num-samples; wanted an LMDB built by FiSeR's script")
        for number in range(1, int(count) + 1):
            yield _sample(root, number, file.get(b"l-%09d" % number))

    def read(self, root: Path, sample: Sample) -> bytes:
        """Return the encoded file; a legacy value in a pickled list is taken apart without running anything."""
        try:
            value = self._file(root).get(sample.member.encode())
        except InputError as error:  # a damaged page; the other images may still be read
            raise UnreadableImage("damaged", str(error)) from error
        if value is None:
            raise FileNotFoundError(2, f"no entry {sample.member}")
        if len(value) > MAX_FILE_BYTES:
            raise UnreadableImage("damaged", f"an entry of {len(value):,} bytes")
        return unwrapped(value)

    def location(self, root: Path, sample: Sample) -> Path:
        """Return the database file."""
        return root / sample.path if root.is_dir() else root

    def _file(self, root: Path) -> LmdbFile:
        if root not in self._open:
            self._open[root] = LmdbFile(root / "data.mdb" if root.is_dir() else root)
        return self._open[root]


def _sample(root: Path, number: int, value: bytes | None) -> Sample:
    where = f"{root}: the label l-{number:09d}"
    try:
        if value is None:
            raise ValueError("there is none")
        found = json.loads(_inflated(value))
        source, original = found["src"], str(found.get("path", ""))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, zlib.error) as error:
        raise InputError(f"{where} is damaged ({error}); build the LMDB again") from error
    require_text(original, where=f"{where}: the path")
    name = source_name(source, where=where)
    if name.casefold() == NATURE != name:
        raise InputError(f"{where}: the source {name!r} would be synthetic, and {NATURE!r} is natural; write it so")
    return Sample(
        path="data.mdb",
        member=f"i-{number:09d}",
        source=name,
        synthetic=name != NATURE,
        extra={"original": original},
    )


def _inflated(value: bytes) -> bytes:
    """Return the text of a label, refusing one that inflates without end."""
    text = zlib.decompressobj().decompress(value, _LABEL_BYTES)
    if len(text) == _LABEL_BYTES:
        raise ValueError(f"it inflates to more than {_LABEL_BYTES} bytes")
    return text


def unwrapped(value: bytes) -> bytes:
    """Return the image's bytes of a value, which legacy files wrap as a pickled list of one bytes object.

    Only the frozen opcodes of exactly that shape are understood (Python's pickle protocols 3 to 5): PROTO, an optional
    FRAME, EMPTY_LIST, one bytes constant, APPEND, STOP, with memo marks between; anything else with a pickle's head is
    refused, so that no code in a file can run.

    Raises:
        UnreadableImage: a pickle of another shape.
    """
    if value[:1] != b"\x80" or value[1:2] not in (b"\x03", b"\x04", b"\x05"):
        return value
    position, content, seen_list = 2, None, False
    while position < len(value):
        code = value[position : position + 1]
        position += 1
        if code == b"\x95":  # FRAME: 8 bytes of length
            position += 8
        elif code == b"]" and not seen_list:  # EMPTY_LIST
            seen_list = True
        elif code == b"\x94":  # MEMOIZE
            continue
        elif code == b"q":  # BINPUT: 1 byte
            position += 1
        elif code in _BYTES and seen_list and content is None:
            width = _BYTES[code]
            length = int.from_bytes(value[position : position + width], "little")
            content = value[position + width : position + width + length]
            position += width + length
        elif code == b"a" and content is not None and value[position:] == b".":  # APPEND, STOP
            return content
        else:
            break
    raise UnreadableImage("damaged", "a pickle that is not a list of one bytes object; it was not opened")


_BYTES = {b"C": 1, b"B": 4, b"\x8e": 8}  # SHORT_BINBYTES, BINBYTES, BINBYTES8 and the width of their length
