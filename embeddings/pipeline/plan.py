"""What an engine is handed: backbones to load, samples, settings; everything but what is loaded or open."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from fewshot.core.errors import WeightsError
from fewshot.embeddings.backbones.base import Backbone
from fewshot.embeddings.backbones.creation import recreate
from fewshot.embeddings.card import Weights
from fewshot.embeddings.layouts.collection import Collection
from fewshot.embeddings.pipeline.settings import ComputeSettings, PixelSettings
from fewshot.embeddings.pipeline.units import Known
from fewshot.embeddings.reference import BackboneReference


@dataclass(frozen=True)
class PlannedBackbone:
    """One backbone of a plan: which network, and where its files lie on this machine."""

    reference: BackboneReference
    weights: Weights = field(hash=False)

    def load(self, device: str) -> Backbone:
        """Return the backbone, filled and frozen on ``device``.

        Raises:
            WeightsError: a file is missing, does not fit, or is not the one that was planned.
        """
        backbone = recreate(self.reference, weights=self.weights).load(device=device, weights=self.weights)
        if dict(backbone.weights_sha256) != dict(self.reference.weights):
            raise WeightsError(
                f"the weights of {self.reference.name!r} changed while this run was under way (planned "
                f"{dict(self.reference.weights)}, now {backbone.weights_sha256}); keep the file as it is and run again"
            )
        return backbone


@dataclass(frozen=True)
class Plan:
    """Everything an engine needs to know beside its units; frozen, and it can be pickled to another process.

    Nothing that is loaded, open, locked or counting is in it: the caller keeps ledger, progress and strictness.

    Args:
        backbones: what computes, by card name.
        samples: the images, and how they are read.
        keys: the sample list of the store, which the units' positions refer to.
        known: key -> what the store that is added to knows of the image.
        pixels: what is done to every image first; compute: where and how networks run.
        dtype: of stored features; folder: where the files of finished units go.
    """

    backbones: tuple[PlannedBackbone, ...]
    samples: Collection = field(hash=False)
    keys: tuple[str, ...] = field(hash=False, repr=False)
    known: Mapping[str, Known] = field(hash=False, repr=False)
    pixels: PixelSettings
    compute: ComputeSettings
    dtype: str
    folder: Path

    @cached_property
    def index(self) -> Mapping[str, int]:
        """Key -> its number among the samples; keys of images that are gone since are not in it."""
        return {key: number for number, key in enumerate(self.samples.keys)}
