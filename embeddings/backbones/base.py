"""What every frozen backbone is: a card of facts, weights loaded strictly, and features of a batch."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from fewshot.core.errors import unknown_name
from fewshot.core.registry import Registry
from fewshot.embeddings.transforms import InputRule
from fewshot.embeddings.weights import WeightFile

Equality = Literal["golden", "code-equivalent", "unverified"]
LOGIT = "logit"

BACKBONES = Registry(group="fewshot.backbones", kind="backbone")


@dataclass(frozen=True)
class BackboneCard:
    """Facts of a backbone known without its weights.

    Args:
        name: id as users type it, with the variant where one is chosen, for example ``"npr:crop224"``.
        layers: feature layer -> dimension, without the reserved ``logit``.
        layer: the default layer, used when selection is ``fixed``.
        input: the input rule.
        weights: the files it needs, each with where it comes from; empty when it has none to load.
        has_logit: whether a checkpoint's own head gives the reserved layer ``logit`` (N, 1), larger = synthetic.
        equality: how its equality with the authors' code is known.
        batch: the largest batch for which a row depends on its own image only (None: any); 1 for LGrad.
        parameters: number of parameters; gflops: 2 x multiply-adds of one image, forward.
        paper, reference, licence: citation; repository @ commit; licence of code and weights.
        note: what a user must know, in one sentence.
    """

    name: str
    layers: Mapping[str, int]
    layer: str
    input: InputRule
    weights: tuple[WeightFile, ...] = ()
    has_logit: bool = False
    equality: Equality = "unverified"
    batch: int | None = None
    parameters: int | None = None
    gflops: float | None = None
    paper: str = ""
    reference: str = ""
    licence: str = ""
    note: str = ""


@dataclass(frozen=True)
class RandomWeights:
    """Seeded random weights in place of a file, for tests and benchmarks; written into the provenance.

    Each tensor is drawn from its own generator, seeded with crc32(prefix + key), so the values depend on no
    construction order (specs/backbones.md section 6).
    """

    prefix: str = ""
    weight_gain: float = 1.0
    bias_gain: float = 1.0


Weights = Mapping[str, Path] | RandomWeights


class Backbone(ABC):
    """One frozen detector. A member states ``name``, ``variants``, ``card``, ``build`` and ``features``.

    Args:
        variant: one of ``variants``; the first when None. Generic adapters take a model name here.
        layers: the layers wanted; all of the card when None.
    """

    name: ClassVar[str]
    variants: ClassVar[tuple[str, ...]] = ()
    card: BackboneCard

    def __init__(self, variant: str | None = None, *, layers: tuple[str, ...] | None = None) -> None:
        if variant is not None and variant not in self.variants:
            raise unknown_name(f"variant of {self.name}", variant, self.variants)
        self.variant = variant or (self.variants[0] if self.variants else None)
        self.card = self.make_card()
        self.layers = self._chosen(layers)
        self.network: nn.Module = nn.Identity()
        self.device = torch.device("cpu")
        self.weights_sha256: dict[str, str] = {}

    def _chosen(self, layers: tuple[str, ...] | None) -> tuple[str, ...]:
        known = (*self.card.layers, *((LOGIT,) if self.card.has_logit else ()))
        for layer in layers or ():
            if layer not in known:
                raise unknown_name(f"layer of {self.card.name}", layer, known)
        return layers or known

    @abstractmethod
    def make_card(self) -> BackboneCard:
        """Return the card of ``self.variant``."""

    @abstractmethod
    def build(self) -> nn.Module:
        """Return the network with unset weights, in the parts' own names."""

    @abstractmethod
    def features(self, batch: Tensor) -> dict[str, Tensor]:
        """Return every layer of a normalised batch: {layer: (N, D)}, and ``logit`` (N, 1) where a head is loaded."""

    def load(self, *, device: str | torch.device, weights: Weights) -> Self:
        """Build the network, fill it strictly and put it in eval mode on ``device``.

        Args:
            device: where to run.
            weights: {part: file} for the card's weight files, or explicit random weights.

        Raises:
            WeightsError: a part without a file, or a file that does not fit the network key by key.
        """
        raise NotImplementedError

    def preprocess(self, image: Image.Image) -> NDArray[Any]:
        """Return the geometry's result for one RGB image, (C, H, W) uint8 for most; see ``InputRule``."""
        return self.card.input(image)

    def normalise(self, batch: Tensor) -> Tensor:
        """Return (N, C, H, W) float32 on the device: bytes scaled, then mean and std of the input rule.

        The operations and their order are torchvision's ``ToTensor`` and ``Normalize``, so CPU results equal theirs
        bit by bit.
        """
        rule = self.card.input
        batch = batch.to(self.device, non_blocking=True)
        if batch.dtype == torch.uint8:
            batch = batch.to(torch.float32)
            if rule.divisor != 1.0:
                batch = batch.div(rule.divisor)
        if rule.mean is not None and rule.std is not None:
            mean = torch.tensor(rule.mean, device=self.device).view(-1, 1, 1)
            std = torch.tensor(rule.std, device=self.device).view(-1, 1, 1)
            batch = batch.sub(mean).div(std)
        return batch

    def embed(self, batch: Tensor) -> dict[str, Tensor]:
        """Return the wanted layers of a batch of preprocessed images: {layer: (N, D) float}, without gradients."""
        with torch.inference_mode():
            found = self.features(self.normalise(batch))
            return {layer: found[layer].flatten(1) for layer in self.layers if layer in found}


def create(spec: str, *, layers: tuple[str, ...] | None = None) -> Backbone:
    """Return the unloaded backbone of ``NAME`` or ``NAME:VARIANT``.

    Raises:
        UnknownNameError: no such backbone or variant.
    """
    name, _, variant = spec.partition(":")
    member: type[Backbone] = BACKBONES.load(name)
    return member(variant or None, layers=layers)
