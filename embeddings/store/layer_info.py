"""What a store says of each of its layers."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from fewshot.embeddings.layer_key import LayerKey
from fewshot.embeddings.store.schema import split_name, unescape


@dataclass(frozen=True)
class LayerInfo:
    """What a store says of one layer: which one it is, its size and how it was made."""

    backbone: str
    layer: str
    view: str
    dimension: int
    dtype: str
    digest: str
    normalised: bool
    default: bool
    provenance: Mapping[str, Any]

    @property
    def key(self) -> LayerKey:
        """Which layer it is."""
        return LayerKey(self.backbone, self.layer, self.view)


def layer_infos(file: Any) -> Iterator[LayerInfo]:
    """Yield every layer of every backbone and view of an open HDF5 store, in a fixed order."""
    group = file["/features"] if "features" in file else {}
    for backbone in sorted(group):
        for name in sorted(group[backbone]):
            dataset = group[backbone][name]
            layer, view = split_name(name)
            yield LayerInfo(
                backbone=unescape(backbone),
                layer=layer,
                view=view,
                dimension=int(dataset.shape[1]),
                dtype=str(dataset.dtype),
                digest=str(dataset.attrs["digest"]),
                normalised=bool(dataset.attrs["normalised"]),
                default=bool(dataset.attrs["default"]),
                provenance=json.loads(dataset.attrs["facts"]),  # the attribute's name since version 1
            )
