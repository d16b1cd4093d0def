"""One layer on its way into a store: its header, and its values where they lie in memory."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from fewshot.core.arrays import BoolArray, FloatArray
from fewshot.core.errors import StoreError
from fewshot.embeddings.layer_key import CLEAN, LayerKey
from fewshot.embeddings.store.schema import FEATURE_KINDS


@dataclass(frozen=True)
class LayerHeader:
    """One layer before its values: what it is called, how large it is and how it was made.

    Args:
        key: which layer; dimension: of a row; dtype: float32 or float16.
        present: (N,) bool, which samples have a row; None when every one has.
        normalised: whether the rows are already of unit length (imported archives); ours are raw.
        default: whether this is the backbone's default layer.
        provenance: JSON values: card, weights SHA-256, fingerprint of preprocessing and decoder, precision.
    """

    key: LayerKey
    dimension: int
    dtype: DTypeLike = np.float32
    present: BoolArray | None = None
    normalised: bool = False
    default: bool = False
    provenance: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class LayerData:
    """One layer of one backbone under one view, in memory.

    Args:
        features: (N, D) float32 or float16, one row per sample.
        present, normalised, default, provenance: as in ``LayerHeader``.
    """

    backbone: str
    layer: str
    features: FloatArray
    view: str = CLEAN
    present: BoolArray | None = None
    normalised: bool = False
    default: bool = False
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @property
    def header(self) -> LayerHeader:
        """The same without the values.

        Raises:
            StoreError: the values are of a type that no store keeps.
        """
        if self.features.dtype not in FEATURE_KINDS:
            raise StoreError(
                f"the features of {self.backbone!r}, layer {self.layer!r}, are {self.features.dtype}, and a store "
                f"keeps {' or '.join(FEATURE_KINDS)}; convert them first"
            )
        return LayerHeader(
            LayerKey(self.backbone, self.layer, self.view),
            self.features.shape[1],
            self.features.dtype,
            self.present,
            self.normalised,
            self.default,
            self.provenance,
        )
