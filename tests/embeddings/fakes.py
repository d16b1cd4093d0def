"""Small backbones for tests of the pipeline: exact arithmetic, no weights or one tiny weight file, no downloads.

Run as a script it is the command line with these backbones among the known ones, for tests that kill it.
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, final

import torch
from torch import Tensor, nn

from fewshot.embeddings.backbones.base import BACKBONES, Backbone
from fewshot.embeddings.card import BackboneCard, WeightFile
from fewshot.embeddings.inputs.rule import InputRule
from fewshot.embeddings.inputs.transforms import Squash


@final
class MeanColour(Backbone):
    """Channel means and variances of an 8x8 copy, and their sum as logit."""

    name: ClassVar[str] = "mean-colour"

    def make_card(self) -> BackboneCard:
        layers = {"mean": 3, "variance": 3}
        return BackboneCard(self.name, layers, "mean", InputRule((Squash(8, 8),)), has_logit=True)

    def build(self) -> nn.Module:
        return nn.Identity()

    def features(self, batch: Tensor) -> dict[str, Tensor]:
        mean = batch.mean(dim=(2, 3))
        return {"mean": mean, "variance": batch.var(dim=(2, 3)), "logit": mean.sum(1, keepdim=True)}


@final
class NativeSize(Backbone):
    """Height, width and mean of the image at its own size."""

    name: ClassVar[str] = "native-size"

    def make_card(self) -> BackboneCard:
        return BackboneCard(self.name, {"size": 3}, "size", InputRule())

    def build(self) -> nn.Module:
        return nn.Identity()

    def features(self, batch: Tensor) -> dict[str, Tensor]:
        height, width = batch.shape[-2:]
        size = torch.tensor([[height, width]], dtype=torch.float32).expand(len(batch), 2)
        return {"size": torch.cat([size, batch.mean(dim=(1, 2, 3))[:, None]], dim=1)}


@final
class Projection(Backbone):
    """A linear map with a weight file, at 8x8, normalised."""

    name: ClassVar[str] = "projection"

    def make_card(self) -> BackboneCard:
        rule = InputRule((Squash(8, 8),), mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
        return BackboneCard(self.name, {"out": 4}, "out", rule, weights=(WeightFile("projection.pth"),))

    def build(self) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 4))

    def features(self, batch: Tensor) -> dict[str, Tensor]:
        return {"out": self.network(batch)}


@final
class NotFinite(Backbone):
    """The mean, and NaN for images whose first channel is dark."""

    name: ClassVar[str] = "not-finite"

    def make_card(self) -> BackboneCard:
        return BackboneCard(self.name, {"mean": 1}, "mean", InputRule((Squash(4, 4),)))

    def build(self) -> nn.Module:
        return nn.Identity()

    def features(self, batch: Tensor) -> dict[str, Tensor]:
        mean = batch.mean(dim=(1, 2, 3))[:, None]
        return {"mean": torch.where(batch[:, :1, 0, 0] < 0.2, torch.nan, mean)}


@final
class Narrow(Backbone):
    """The mean; a batch of more than ``most`` images does not fit its memory."""

    name: ClassVar[str] = "narrow"
    most: ClassVar[int] = 3
    kind: ClassVar[str] = "cuda's error"
    sizes: ClassVar[list[int]] = []

    def make_card(self) -> BackboneCard:
        return BackboneCard(self.name, {"mean": 3}, "mean", InputRule((Squash(8, 8),)))

    def build(self) -> nn.Module:
        return nn.Identity()

    def features(self, batch: Tensor) -> dict[str, Tensor]:
        self.sizes.append(len(batch))
        if len(batch) > self.most:
            if self.kind == "cuda's error":
                raise torch.OutOfMemoryError("CUDA out of memory.")
            torch.empty(1 << 60, dtype=torch.uint8)  # more than any machine has
        return {"mean": batch.mean(dim=(2, 3))}


@final
class Hungry(Backbone):
    """The mean of a copy of 2048 x 2048: about 48 MiB an image, which a capped process has for few images only."""

    name: ClassVar[str] = "hungry"

    def make_card(self) -> BackboneCard:
        return BackboneCard(self.name, {"mean": 3}, "mean", InputRule((Squash(8, 8),)))

    def build(self) -> nn.Module:
        return nn.Upsample(size=(2048, 2048))

    def features(self, batch: Tensor) -> dict[str, Tensor]:
        return {"mean": self.network(batch).mean(dim=(2, 3))}


@final
class Strided(Backbone):
    """Two convolutions whose features follow the order of bytes in memory, so that no other layout gives the same."""

    name: ClassVar[str] = "strided"

    def make_card(self) -> BackboneCard:
        rule = InputRule((Squash(8, 8),))
        return BackboneCard(self.name, {"out": 192}, "out", rule, weights=(WeightFile("strided.pth"),))

    def build(self) -> nn.Module:
        return nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 3, 3, padding=1))

    def features(self, batch: Tensor) -> dict[str, Tensor]:
        found = self.network(batch)
        return {"out": found.as_strided((len(batch), 192), (192, 1))}


@dataclass(frozen=True)
class Entry:
    """Stands for an entry point."""

    member: type[Backbone]

    def load(self) -> type[Backbone]:
        return self.member


FAKES: tuple[type[Backbone], ...] = (MeanColour, NativeSize, Projection, NotFinite, Narrow, Hungry, Strided)


def register() -> None:
    """Make the fakes known by name in this process."""
    for member in FAKES:
        BACKBONES._entries[member.name] = Entry(member)  # type: ignore[assignment]


def write_projection(path: Path, *, seed: int) -> Path:
    """Write a weight file of ``projection``."""
    torch.manual_seed(seed)
    torch.save({"1.weight": torch.randn(4, 192), "1.bias": torch.randn(4)}, path)
    return path


if __name__ == "__main__":
    from fewshot.cli import main

    register()
    main(sys.argv[1:])
