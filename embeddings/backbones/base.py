"""What every frozen backbone is: a card of facts, weights loaded strictly, and features of a batch."""

from abc import ABC, abstractmethod
from collections.abc import Container, Mapping
from dataclasses import replace
from typing import Any, ClassVar, Self

import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from fewshot.core.errors import OptionError, WeightsError, unknown_name
from fewshot.core.registry import Registry
from fewshot.embeddings.card import BackboneCard, PartWeights, RandomWeights, WeightFile, Weights
from fewshot.embeddings.inputs.transforms import AtLeast, CenterCrop, TileTo
from fewshot.embeddings.layer_key import LOGIT
from fewshot.embeddings.reference import BackboneReference
from fewshot.embeddings.weights.checkpoint import State, fill_seeded, fill_strictly, read_checkpoint
from fewshot.embeddings.weights.locate import missing, sha256_of
from fewshot.embeddings.weights.unset import UnsetParameters

CLASSES = "classes"  # both outputs of a two-class head, for comparison only; ``logit`` is their difference
SMALL = "+"
SMALL_RULES = ("pad", "tile", "resize")
HEAD = "head"  # the part whose absence means that there is no logit

BACKBONES = Registry(group="fewshot.backbones", kind="backbone")


class Backbone(ABC):
    """One frozen detector. A member states ``name``, ``variants``, ``make_card``, ``build`` and ``features``.

    Args:
        variant: one of ``variants``; the first when None. Generic adapters take a model name here.
        layers: the layers wanted; those of ``default_layers`` when None.
    """

    name: ClassVar[str]
    # The variants, the default first; empty where there is only one. A generic adapter takes any model name instead.
    variants: ClassVar[tuple[str, ...]] = ()
    generic: ClassVar[bool] = False
    # Regular expressions of keys: those that a checkpoint may hold unused, and those that random weights leave alone.
    ignorable: ClassVar[tuple[str, ...]] = ()
    kept: ClassVar[tuple[str, ...]] = ()
    # Part -> the entry of its file that holds it, where one file holds several parts.
    entries: ClassVar[Mapping[str, str]] = {}

    def __init__(self, variant: str | None = None, *, layers: tuple[str, ...] | None = None) -> None:
        chosen, _, small = (variant or "").partition(SMALL)
        self.variant = self.chosen_variant(chosen or None)
        self.card = _with_small_rule(self.make_card(), small) if small else self.make_card()
        self.layers = self._chosen_layers(layers)
        self.network: nn.Module = nn.Identity()
        self.device = torch.device("cpu")
        self.weights_sha256: dict[str, str] = {}
        self._logit_wanted = LOGIT in (layers or ())

    @property
    def full_name(self) -> str:
        """``NAME`` for the default variant, else ``NAME:VARIANT``."""
        default = not self.generic and self.variant in (None, *self.variants[:1])
        return self.name if default else f"{self.name}:{self.variant}"

    def chosen_variant(self, variant: str | None) -> str | None:
        """Return the variant meant; generic adapters override this."""
        if variant is not None and variant not in self.variants:
            raise unknown_name(f"variant of {self.name}", variant, self.variants)
        return variant or (self.variants[0] if self.variants else None)

    def dimension(self, layer: str) -> int | None:
        """Return the dimension of a layer, None when there is none such; generic adapters know more than the card."""
        return 1 if layer == LOGIT and self.card.has_logit else self.card.layers.get(layer)

    def default_layers(self) -> tuple[str, ...]:
        """Return the layers computed when none is named: all of the card; generic adapters override this."""
        return (*self.card.layers, *((LOGIT,) if self.card.has_logit else ()))

    def _chosen_layers(self, layers: tuple[str, ...] | None) -> tuple[str, ...]:
        for layer in layers or ():
            if self.dimension(layer) is None:
                logit = (LOGIT,) if self.card.has_logit else ()
                raise unknown_name(f"layer of {self.card.name}", layer, (*self.card.layers, *logit))
        return layers or self.default_layers()

    @abstractmethod
    def make_card(self) -> BackboneCard:
        """Return the card of ``self.variant``."""

    @abstractmethod
    def build(self) -> nn.Module:
        """Return the network with unset weights.

        With one weight file it has the checkpoint's key names; with several it is an ``nn.ModuleDict`` of the parts,
        each with the key names of its own file.
        """

    @abstractmethod
    def features(self, batch: Tensor) -> dict[str, Tensor]:
        """Return every layer of a normalised batch: {layer: (N, D)}, and ``logit`` (N, 1) where a head is loaded."""

    def reference(self, part: nn.Module) -> State:
        """Return tensors by the key names of the authors' checkpoint, for random weights to fill.

        The part's own, unless ``adapt`` changes names or merges tensors.
        """
        return part.state_dict()

    def adapt(self, state: State, *, part: str) -> State:
        """Return an unwrapped checkpoint in the key names of ``build``; most need no change."""
        return state

    def load(self, *, device: str | torch.device, weights: Weights) -> Self:
        """Fill the network, freeze it, and put it in eval mode on ``device``.

        Args:
            device: where to run.
            weights: {part: file or random weights} for the card's weight files, or random weights for all of them.

        Raises:
            WeightsError: a part without a file, or a file that does not fit the network key by key.
        """
        return self.fill(weights).freeze(device)

    def fill(self, weights: Weights) -> Self:
        """Build the network and fill it strictly; its parameters are on the CPU and can be trained.

        Raises:
            WeightsError: as ``load``.
        """
        parts = {
            file.part: weights if isinstance(weights, RandomWeights) else weights.get(file.part)
            for file in self.card.weights
        }
        for file in self.card.weights:
            if parts[file.part] is None:
                self._require_optional(file)
        with UnsetParameters():
            self.network = self.build()
        self.weights_sha256 = {}
        for file in self.card.weights:
            given = parts[file.part]
            if given is None:
                self._leave_out(file)
            else:
                self._fill(file.part, given)
        self.filled()
        return self

    def freeze(self, device: str | torch.device) -> Self:
        """Put a filled network in eval mode on ``device``, without gradients."""
        self.device = torch.device(device)
        self.network.eval().requires_grad_(False).to(self.device)
        return self

    def filled(self) -> None:  # noqa: B027  # most members have nothing to do here
        """Do what follows filling, such as resampling positions; nothing by default."""

    def part(self, name: str) -> nn.Module:
        """Return the module that one weight file fills."""
        if len(self.card.weights) == 1:
            return self.network
        return self.network.get_submodule(name)

    def _fill(self, name: str, given: PartWeights) -> None:
        part = self.part(name)
        if isinstance(given, RandomWeights):
            state = fill_seeded(self.reference(part), given, kept=self.kept)
            self.weights_sha256[name] = str(given)
            what = f"random weights for {self.card.name}"
        else:
            state = read_checkpoint(given, entry=self.entries.get(name, ""))
            self.weights_sha256[name] = sha256_of(given)
            what = f"{given} for backbone {self.card.name!r}"
        fill_strictly(part, self._adapted(state, part=name, what=what), ignorable=self.ignorable, what=what)

    def _adapted(self, state: State, *, part: str, what: str) -> State:
        try:
            return self.adapt(state, part=part)
        except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
            why = (str(error) or type(error).__name__).splitlines()[0]
            raise WeightsError(
                f"{what} does not fit the network ({type(error).__name__}: {why}); give this detector's own checkpoint"
            ) from error

    def _require_optional(self, file: WeightFile) -> None:
        if not file.optional:
            raise missing(self.card, file)
        if self._logit_wanted and file.part == HEAD:
            raise WeightsError(
                f"layer {LOGIT!r} of {self.card.name!r} needs the head {file.file}, which is not on this machine; give "
                f"--weights {self.card.name}.{HEAD}=PATH, or leave the layer out"
            )

    def leave_out_but(self, parts: Container[str]) -> None:
        """Remove the optional parts of the built network that are not among ``parts``."""
        for file in self.card.weights:
            if file.optional and file.part not in parts:
                self._leave_out(file)

    def available_layers(self, parts: Container[str]) -> tuple[str, ...]:
        """Return the wanted layers that can be computed when only ``parts`` of the weights are there.

        The logit needs its head: a separate file that may be absent, or part of the network's own.
        """
        optional = {file.part for file in self.card.weights if file.optional}
        has_head = HEAD not in optional or HEAD in parts
        return tuple(layer for layer in self.layers if layer != LOGIT or has_head)

    def to_reference(self, digests: Mapping[str, str]) -> BackboneReference:
        """Return what a store records of this backbone.

        Args:
            digests: part -> SHA-256 of the file that fills it, or ``random...``.
        """
        layers = self.available_layers(digests)
        return BackboneReference(self.card.name, layers=layers, weights=dict(digests), input=str(self.card.input))

    def _leave_out(self, file: WeightFile) -> None:
        assert isinstance(self.network, nn.ModuleDict)
        del self.network[file.part]

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
        """Return the wanted layers of a batch of preprocessed images: {layer: (N, D) float}, without gradients.

        A larger batch than the card's is cut, so that no row depends on its neighbours.
        """
        step = self.card.batch or len(batch)
        with torch.inference_mode():
            parts = [self.features(self.normalise(batch[start : start + step])) for start in range(0, len(batch), step)]
        return {
            layer: torch.cat([part[layer].flatten(1) for part in parts]) for layer in self.layers if layer in parts[0]
        }

    def stages(self, image: Image.Image) -> dict[str, NDArray[Any]]:
        """Return named intermediate results of one image, to compare with the authors' code stage by stage.

        ``input`` is what the network receives: (C, H, W) float32 for most.
        """
        return {"input": self.normalise(torch.from_numpy(self.preprocess(image))[None])[0].cpu().numpy()}


def _with_small_rule(card: BackboneCard, small: str) -> BackboneCard:
    """Return the card with another rule for images smaller than its crop, which pads them with black."""
    if small not in SMALL_RULES:
        raise unknown_name("small-image rule", small, SMALL_RULES)
    crop = card.input.steps[0] if card.input.steps else None
    if not isinstance(crop, CenterCrop):
        raise OptionError(
            f"backbone {card.name!r} does not crop native pixels ({card.input.geometry}), so no image is too small for "
            f"it; leave {SMALL}{small} out"
        )
    if small == "pad":
        return card
    first = TileTo(crop.height) if small == "tile" else AtLeast(crop.height)
    return replace(
        card,
        name=f"{card.name}{'' if ':' in card.name else ':'}{SMALL}{small}",
        input=replace(card.input, steps=(first, *card.input.steps)),
        equality="code-equivalent" if card.equality == "golden" else card.equality,  # recordings are of padded images
    )
