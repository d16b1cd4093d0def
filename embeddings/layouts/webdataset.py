"""WebDataset: tar shards whose members share a stem, ``KEY.{jpg,png,...}`` with ``KEY.json`` or ``KEY.cls``."""

import errno
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, final

from fewshot.core.errors import InputError
from fewshot.core.regular_files import open_regular
from fewshot.embeddings.inputs.bounds import MAX_FILE_BYTES
from fewshot.embeddings.layouts.base import Layout, Sample
from fewshot.embeddings.layouts.labels import LabelReader, label
from fewshot.embeddings.layouts.names import require_text, source_name
from fewshot.embeddings.layouts.splits import split_of_file, without_splits
from fewshot.embeddings.layouts.system_files import system_file
from fewshot.embeddings.layouts.tar_members import Member, tar_members
from fewshot.embeddings.layouts.tree import count_beside, has_image_suffix, left_out, not_an_image

_LABEL_BYTES = 1 << 20
_FIELDS = ("source", "split", "dataset", "category", "group")
_LABELS = ("synthetic", "label")


@final
class Webdataset(Layout):
    """Class from the JSON's ``synthetic`` or ``label``, or the ``cls`` file; source from the JSON, else the shard.

    Members are read where they lie in the tar; nothing is unpacked, so no member can write anywhere.
    """

    name: ClassVar[str] = "webdataset"

    def __init__(self) -> None:
        super().__init__()
        self._members: dict[Path, dict[str, Member]] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {"ignored": self.ignored, "skip_unlabelled": self.skip_unlabelled, "_members": {}}

    def recognises(self, root: Path) -> bool:
        """A folder with tar files in it, or a tar file."""
        return bool(_shards(root))

    def samples(self, root: Path) -> Iterator[Sample]:
        """Yield the images of all shards, in the shards' order and theirs; one without a label is an error."""
        shards = _shards(root)
        if not shards:
            raise InputError(f"{root} holds no tar file; name the folder of the shards")
        if root.is_dir():
            count_beside(root, [shard.name for shard in shards], ignored=self.ignored)
        found = False
        for shard in shards:
            for sample in self._samples_of(shard):
                found = True
                yield sample
        if not found:
            raise InputError(f"no image was found in the shards of {root}{left_out(self.ignored)}")

    def _samples_of(self, shard: Path) -> Iterator[Sample]:
        members = self._members_of(shard)
        labels = LabelReader(
            wanted="wanted a JSON with synthetic (or label) 0 or 1 beside the image, or .cls with 0 or 1"
        )
        images = []
        for member in members:
            if has_image_suffix(member):
                images.append(member)
            elif member.rpartition(".")[2] not in ("json", "cls"):
                self.ignored[_not_read(member)] += 1
        yield from self.labelled(self._sample, ((shard, member, labels) for member in images))

    def _sample(self, shard: Path, member: str, labels: LabelReader) -> Sample:
        where = f"{shard}: {member!r}"
        stem = member.rpartition(".")[0]
        beside = self._beside(shard, stem)
        synthetic = labels.read(beside.label, where=f"{where} has the label")
        found = beside.fields
        extra = {name: str(found[name]) for name in found if name not in (*_LABELS, *_FIELDS)}
        fields = {name: str(found[name]) for name in _FIELDS if found.get(name) is not None}
        for name, text in (*extra.items(), *fields.items()):
            require_text(text, where=f"{where}: the value of {name!r}")
        fields["source"] = (
            source_name(found["source"], where=where) if "source" in fields else _source_of(shard, synthetic)
        )
        fields.setdefault("split", without_splits(member.split("/")[:-1]).split or split_of_file(shard.name))
        return Sample(path=shard.name, member=member, synthetic=synthetic, extra=extra, **fields)

    def _beside(self, shard: Path, stem: str) -> "_Beside":
        """Return what the members of the image's stem say of it.

        Raises:
            InputError: a member that cannot be read, or two that name different classes.
        """
        members = self._members_of(shard)
        fields = self._json(shard, f"{stem}.json") if f"{stem}.json" in members else {}
        values = [fields[name] for name in _LABELS if fields.get(name) is not None]
        if f"{stem}.cls" in members:
            values.append(
                self._bytes(shard, f"{stem}.cls", limit=MAX_FILE_BYTES)[:80].decode("ascii", "replace").strip()
            )
        if len({label(value) for value in values} - {None}) > 1:
            raise InputError(f"{shard}: the labels beside {stem!r} name different classes ({values}); keep one of them")
        return _Beside(values[0] if values else None, fields)

    def _json(self, shard: Path, member: str) -> Mapping[str, Any]:
        try:
            found = json.loads(self._bytes(shard, member, limit=_LABEL_BYTES), object_pairs_hook=_once)
        except (OSError, ValueError, RecursionError) as error:
            raise InputError(f"{shard}: {member} is not JSON ({error}); write the shard again") from error
        if not isinstance(found, dict):
            return {}
        for name in found:
            require_text(name, where=f"{shard}: {member}: the name")
        return {name: value for name, value in found.items() if name.strip()}

    def read(self, root: Path, sample: Sample) -> bytes:
        """Return the member's bytes."""
        return self._bytes(self.location(root, sample), sample.member, limit=MAX_FILE_BYTES)

    def location(self, root: Path, sample: Sample) -> Path:
        """Return the shard."""
        return root / sample.path if root.is_dir() else root

    def _bytes(self, shard: Path, member: str, *, limit: int) -> bytes:
        found = self._members_of(shard).get(member)
        if found is None:
            raise FileNotFoundError(2, f"no member {member}")
        if found.size > limit:
            raise OSError(errno.EFBIG, f"the member {member} has {found.size:,} bytes, and at most {limit:,} are read")
        with open_regular(shard) as stream:
            stream.seek(found.offset)
            content = stream.read(found.size)
        if len(content) < found.size:
            raise OSError(errno.EIO, f"the tar was cut in {member} since it was listed")
        return content

    def _members_of(self, shard: Path) -> dict[str, Member]:
        """Return where each regular member lies in the tar, in its order."""
        if shard not in self._members:
            self._members[shard] = tar_members(shard, ignored=self.ignored)
        return self._members[shard]


@dataclass(frozen=True)
class _Beside:
    """What lies beside an image in a tar: the label as it stands there, and the fields of the JSON."""

    label: Any
    fields: Mapping[str, Any]


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name stands twice in one object")
    return found


def _not_read(member: str) -> str:
    name = member.rpartition("/")[2]
    told = not_an_image(name)
    suffix = f".{name.rpartition('.')[2]}"
    return f"{suffix}: not an image or label of a tar" if told.endswith("not the suffix of an image") else told


def _source_of(shard: Path, synthetic: bool) -> str:
    """Return the shard's name, unless it only says which split it is of."""
    if split_of_file(shard.name):
        return "synthetic" if synthetic else "natural"
    return shard.stem


def _shards(root: Path) -> list[Path]:
    if root.is_dir():
        return sorted(path for path in root.glob("*.tar") if not system_file(path.name))
    return [root] if root.suffix == ".tar" and root.exists() else []
