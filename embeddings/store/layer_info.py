"""What a store says of each of its layers."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from fewshot.embeddings.layer_key import LayerKey


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


class Provenance(msgspec.Struct):
    """The fields of a layer's provenance that something reads, with their types; others may hold any JSON value."""

    weights: dict[str, str] | None = None
    input: str | None = None
    decoder: str | None = None
    reencode: str | None = None
    precision: str | None = None
    device: str | None = None
    batch_size: int | None = None
    channels_last: bool | None = None
    reference: dict[str, Any] | None = None
