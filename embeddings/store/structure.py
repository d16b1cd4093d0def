"""What a sealed store holds, held to the declared schema before a value is read; everything after may trust it."""

import json
import math
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from fewshot.core.errors import StoreError
from fewshot.embeddings.layer_key import LayerKey
from fewshot.embeddings.store.digests import store_digest
from fewshot.embeddings.store.hdf5_objects import Attribute, Objects, StoredDataset
from fewshot.embeddings.store.layer_info import LayerInfo, Provenance
from fewshot.embeddings.store.manifest import manifest_digest
from fewshot.embeddings.store.read_errors import naming_errors
from fewshot.embeddings.store.root import require_attributes, require_hex, root_attributes, whole_number
from fewshot.embeddings.store.schema import (
    CHECKSUM_BYTES,
    COLUMNS,
    FAILED,
    FEATURE_KINDS,
    LAYER_ATTRIBUTES,
    SEALED_BY_MANIFEST,
    escape,
    features_path,
    present_path,
    split_name,
    unescape,
)

_MOST_DEFLATED = 1032  # no deflate stream grows by more, zlib's technical notes; only layers of other writers have one
_Parsed = TypeVar("_Parsed")


@dataclass(frozen=True)
class StoreStructure:
    """What a store holds, without its values.

    Args:
        version: of its format; rows: number of images.
        digest, samples_digest: 64 hex digits.
        roots: folders that paths are relative to; provenance: how it was made.
        extra: {name of a column that is not built in: path of its dataset}.
        layers: every layer, sorted by its names in the file.
        present: paths of the masks.
        contents: {path: digest of its values, or of its chunks' addresses}; empty in version 1.
        datasets: {path: what it is}.
    """

    version: int
    rows: int
    digest: str
    samples_digest: str
    roots: tuple[str, ...]
    provenance: Mapping[str, Any]
    extra: Mapping[str, str]
    layers: tuple[LayerInfo, ...]
    present: frozenset[str]
    contents: Mapping[str, str]
    datasets: Mapping[str, StoredDataset]

    @property
    def covered(self) -> bool:
        """Whether a manifest covers the attributes."""
        return self.version >= SEALED_BY_MANIFEST


def read_structure(file: Any, path: Path) -> StoreStructure:
    """Return what an open HDF5 file holds.

    Raises:
        StoreError: it is not a sealed store of a known version, or differs from the schema or from its own manifest.
    """
    with naming_errors(path, "its structure"), closing(Objects(file, path)) as objects:
        return _Reading(objects, root_attributes(objects)).structure()


def manifest_of(file: Any, path: Path) -> str:
    """Return the manifest of a store that is being sealed: an open HDF5 file that has everything but the manifest."""
    file.flush()
    with naming_errors(path, "its structure"), closing(Objects(file, path)) as objects:
        reading = _Reading(objects, objects.attributes("/"))
        reading.read_objects()
        return manifest_digest(reading.root, reading.datasets)


class _Reading:
    """The reading of one file's structure."""

    def __init__(self, objects: Objects, root: Mapping[str, Attribute]) -> None:
        self.path = objects.path
        self.objects = objects
        self.root = root
        self.datasets: dict[str, StoredDataset] = {}
        self.size = objects.path.stat().st_size

    def structure(self) -> StoreStructure:
        self.read_objects()
        root = self.root
        rows = self.datasets["/samples/key"].shape[0] if self.datasets["/samples/key"].shape else 0
        self._require_shapes(rows)
        self._require_sizes()
        covered = whole_number(root["version"]) >= SEALED_BY_MANIFEST
        if covered and manifest_digest(root, self.datasets) != root["manifest"]:
            raise StoreError(
                f"{self.path} is damaged: its attributes, names or types are not those that were sealed; restore it "
                f"from a copy, or embed again"
            )
        layers = tuple(self._layer(path) for path in self.datasets if path.startswith("/features/"))
        if store_digest({features_path(info.key): info.digest for info in layers}) != root["digest"]:
            raise StoreError(
                f"{self.path} is damaged: the digest of the store does not follow from those of its layers; restore it "
                f"from a copy, or embed again"
            )
        present = frozenset(path for path in self.datasets if path.startswith("/present/"))
        if {present_path(info.key) for info in layers} != present:
            raise self.objects.refused("the masks in /present are not those of the layers in /features")
        contents = self._parsed("contents", root["contents"], dict[str, str]) if covered else {}
        if covered and set(contents) != set(self.datasets):
            raise self.objects.refused("the attribute 'contents' names other datasets than there are")
        return StoreStructure(
            version=whole_number(root["version"]),
            rows=rows,
            digest=str(root["digest"]),
            samples_digest=str(root["samples_digest"]),
            roots=tuple(self._parsed("roots", root["roots"], list[str])),
            provenance=self._parsed("provenance", root["provenance"], dict[str, Any]),
            extra=self._extra_columns(),
            layers=layers,
            present=present,
            contents=contents,
            datasets=self.datasets,
        )

    # -- what there is -------------------------------------------------------------------------------------------------

    def read_objects(self) -> None:
        names = self.objects.links(self.objects.root, "/")
        self._require_names("/", names, required=("samples", "failed"), optional=("features", "present"))
        self._samples(self._group("/samples"))
        failed = self._group("/failed")
        self._require_names("/failed", self.objects.links(failed, "/failed"), required=FAILED)
        for name in FAILED:
            self._dataset(f"/failed/{name}", kinds=("text",))
        if "present" in names:
            self._present(self._group("/present"))
        if "features" in names:
            self._features(self._group("/features"))

    def _group(self, where: str) -> Any:
        group = self.objects.group(where)
        self._require_no_attributes(where)
        return group

    def _samples(self, group: Any) -> None:
        names = self.objects.links(group, "/samples")
        self._require_names("/samples", names, required=tuple(COLUMNS), optional=("extra",))
        for name, column in COLUMNS.items():
            self._dataset(f"/samples/{name}", kinds=(column.kind,))
        if "extra" in names:
            extra = self._group("/samples/extra")
            for name in sorted(self.objects.links(extra, "/samples/extra")):
                self._require_escaped("/samples/extra", name)
                self._dataset(f"/samples/extra/{name}", kinds=("text",))

    def _present(self, group: Any) -> None:
        for name in sorted(self.objects.links(group, "/present")):
            self._dataset(f"/present/{name}", kinds=("bool",))

    def _features(self, group: Any) -> None:
        for backbone in sorted(self.objects.links(group, "/features")):
            self._require_escaped("/features", backbone)
            where = f"/features/{backbone}"
            layers = self._group(where)
            for name in sorted(self.objects.links(layers, where)):
                path = f"{where}/{name}"
                if features_path(_key(path)) != path:
                    raise self.objects.refused(f"{path} has a name that no layer has")
                self._dataset(path, kinds=FEATURE_KINDS)

    def _dataset(self, path: str, *, kinds: Sequence[str]) -> None:
        found = self.objects.dataset(path)
        if found.kind not in kinds:
            raise self.objects.refused(f"{path} is of type {found.kind}, and must be {' or '.join(kinds)}")
        wanted = LAYER_ATTRIBUTES if path.startswith("/features/") else {}
        require_attributes(self.path, path, found.attributes, wanted)
        self.datasets[path] = found

    def _require_names(
        self, where: str, found: Sequence[str], *, required: Sequence[str], optional: Sequence[str] = ()
    ) -> None:
        missing = [name for name in required if name not in found]
        if missing:
            raise self.objects.refused(f"{where} has no {missing[0]!r}")
        unknown = sorted(set(found).difference(required, optional))
        if unknown:
            raise self.objects.refused(f"{where} holds {unknown[0]!r}")

    def _require_escaped(self, where: str, name: str) -> None:
        if not name or escape(unescape(name)) != name:
            raise self.objects.refused(f"{where} holds the name {name!r}, which is not escaped")

    def _require_no_attributes(self, where: str) -> None:
        require_attributes(self.path, where, self.objects.attributes(where), {})

    # -- whether it fits together --------------------------------------------------------------------------------------

    def _require_shapes(self, rows: int) -> None:
        failures = self.datasets["/failed/key"].shape
        for path, dataset in self.datasets.items():
            if path.startswith("/features/"):
                fits = len(dataset.shape) == 2 and dataset.shape[0] == rows and dataset.shape[1] > 0
            elif path.startswith("/failed/"):
                fits = len(dataset.shape) == 1 and dataset.shape == failures
            else:
                fits = dataset.shape == (rows,)
            if not fits:
                raise self.objects.refused(f"{path} has the shape {dataset.shape} in a store of {rows} images")

    def _require_sizes(self) -> None:
        """Refuse shapes that need more bytes than the file has, before anything of their size is made."""
        needed = 0
        for path, dataset in self.datasets.items():
            if dataset.chunks is not None and (len(dataset.chunks) != len(dataset.shape) or min(dataset.chunks) < 1):
                raise self.objects.refused(f"{path} has the shape {dataset.shape} in chunks of {dataset.chunks}")
            if dataset.shape[0] == 0:
                continue
            # a layer of version 1 may come from another writer
            foreign = self.root["version"] == 1 and path.startswith("/features/")
            if dataset.chunks is None or (dataset.filters != ("fletcher32",) and not foreign):
                raise self.objects.refused(f"{path} is not written in chunks with a checksum and nothing else")
            count = math.prod(-(-length // chunk) for length, chunk in zip(dataset.shape, dataset.chunks, strict=True))
            stored = math.prod(dataset.chunks) * dataset.itemsize
            needed += count * (stored // _MOST_DEFLATED if "deflate" in dataset.filters else stored + CHECKSUM_BYTES)
        if needed > self.size:
            raise self.objects.refused(f"its datasets need {needed:,} bytes, and it has {self.size:,}")

    # -- what its attributes say ---------------------------------------------------------------------------------------

    def _layer(self, path: str) -> LayerInfo:
        dataset, key = self.datasets[path], _key(path)
        attributes = dataset.attributes
        require_hex(self.path, f"the attribute 'digest' of {path}", attributes["digest"])
        facts = self._parsed(f"facts' of '{path}", attributes["facts"], dict[str, Any])
        self._converted(f"facts' of '{path}", facts, Provenance)
        return LayerInfo(
            backbone=key.backbone,
            layer=key.layer,
            view=key.view,
            dimension=dataset.shape[1],
            dtype=dataset.kind,
            digest=str(attributes["digest"]),
            normalised=bool(attributes["normalised"]),
            default=bool(attributes["default"]),
            provenance=facts,
        )

    def _extra_columns(self) -> dict[str, str]:
        paths = [path for path in self.datasets if path.startswith("/samples/extra/")]
        names = {unescape(path.removeprefix("/samples/extra/")): path for path in paths}
        return {f"extra.{name}" if name in COLUMNS else name: path for name, path in names.items()}

    def _parsed(self, name: str, text: Attribute, kind: type[_Parsed]) -> _Parsed:
        try:
            value = json.loads(str(text))
        except (ValueError, RecursionError) as error:
            raise self.objects.refused(f"the attribute '{name}' is not JSON ({error})") from error
        return self._converted(name, value, kind)

    def _converted(self, name: str, value: Any, kind: type[_Parsed]) -> _Parsed:
        try:
            return msgspec.convert(value, kind)
        except (msgspec.ValidationError, ValueError, RecursionError) as error:
            raise self.objects.refused(f"the attribute '{name}' says something else than it must ({error})") from error


def _key(path: str) -> LayerKey:
    _, _, backbone, name = path.split("/")
    layer, view = split_name(name)
    return LayerKey(unescape(backbone), layer, view)
