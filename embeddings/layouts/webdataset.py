"""WebDataset: tar shards whose members share a stem, ``KEY.{jpg,png,...}`` with ``KEY.json`` or ``KEY.cls``."""

import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, final

from fewshot.core.errors import InputError
from fewshot.embeddings.layouts.base import Layout, Sample, label
from fewshot.embeddings.layouts.tree import has_image_suffix

_LABEL_BYTES = 1 << 20


@final
class Webdataset(Layout):
    """Class from the JSON's ``synthetic`` or ``label``, or the ``cls`` file; source from the JSON, else the shard.

    Members are read where they lie in the tar; nothing is unpacked, so no member can write anywhere.
    """

    name: ClassVar[str] = "webdataset"

    def __init__(self) -> None:
        super().__init__()
        self._members: dict[Path, dict[str, tuple[int, int]]] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {"ignored": self.ignored, "_members": {}}

    def recognises(self, root: Path) -> bool:
        """A folder with tar files in it, or a tar file."""
        return bool(_shards(root))

    def samples(self, root: Path) -> Iterator[Sample]:
        """Yield the images of all shards, in the shards' order and theirs; one without a label is an error."""
        shards = _shards(root)
        if not shards:
            raise InputError(f"{root} holds no tar file; name the folder of the shards")
        for shard in shards:
            yield from self._samples_of(shard)

    def _samples_of(self, shard: Path) -> Iterator[Sample]:
        members = self._members_of(shard)
        for member in members:
            if has_image_suffix(member):
                yield self._sample(shard, member)
            elif member.rpartition(".")[2] not in ("json", "cls"):
                self.ignored[f".{member.rpartition('.')[2]}: not an image or label of a tar"] += 1

    def _sample(self, shard: Path, member: str) -> Sample:
        stem = member.rpartition(".")[0]
        found = self._label_fields(shard, stem)
        value = found.get("synthetic", found.get("label"))
        synthetic = label(value)
        if synthetic is None:
            raise InputError(
                f"{shard}: {member!r} has the label {value!r}; wanted {stem}.json with synthetic (or label) 0 or 1, "
                f"or {stem}.cls with 0 or 1"
            )
        extra = {name: str(found[name]) for name in found if name not in ("synthetic", "label", *_FIELDS)}
        fields = {name: str(found[name]) for name in _FIELDS if found.get(name) is not None}
        source = fields.pop("source", shard.stem)
        return Sample(path=shard.name, member=member, source=source, synthetic=synthetic, extra=extra, **fields)

    def _label_fields(self, shard: Path, stem: str) -> dict[str, Any]:
        members = self._members_of(shard)
        if f"{stem}.json" in members:
            try:
                found = json.loads(self._bytes(shard, f"{stem}.json", limit=_LABEL_BYTES))
            except ValueError as error:
                raise InputError(f"{shard}: {stem}.json is not JSON ({error}); write the shard again") from error
            return found if isinstance(found, dict) else {}
        if f"{stem}.cls" in members:
            return {"label": self._bytes(shard, f"{stem}.cls", limit=_LABEL_BYTES).decode("ascii", "replace").strip()}
        return {}

    def read(self, root: Path, sample: Sample) -> bytes:
        """Return the member's bytes."""
        return self._bytes(self.location(root, sample), sample.member)

    def location(self, root: Path, sample: Sample) -> Path:
        """Return the shard."""
        return root / sample.path if root.is_dir() else root

    def _bytes(self, shard: Path, member: str, *, limit: int | None = None) -> bytes:
        offset, size = self._members_of(shard)[member]
        with shard.open("rb") as stream:
            stream.seek(offset)
            return stream.read(size if limit is None else min(size, limit))

    def _members_of(self, shard: Path) -> dict[str, tuple[int, int]]:
        """Return where each regular member lies in the tar, in its order."""
        if shard not in self._members:
            members: dict[str, tuple[int, int]] = {}
            try:
                with tarfile.open(shard, "r:") as archive:
                    for entry in archive:
                        if not entry.isreg() or entry.issparse():
                            self.ignored["members of a tar that are not plain files"] += not entry.isdir()
                        elif entry.name in members:
                            raise InputError(f"{shard} has two members {entry.name!r}; write the shard again")
                        else:
                            members[entry.name] = (entry.offset_data, entry.size)
            except (OSError, tarfile.TarError) as error:
                raise InputError(f"{shard} is not a readable tar ({error}); fetch it again") from error
            self._members[shard] = members
        return self._members[shard]


_FIELDS = ("source", "split", "dataset", "category", "group")


def _shards(root: Path) -> list[Path]:
    if root.is_file():
        return [root] if root.suffix == ".tar" else []
    return sorted(root.glob("*.tar"))
