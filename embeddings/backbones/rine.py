"""RINE: class tokens of all 24 blocks of CLIP ViT-L/14, weighed by importance (Koutlis and Papadopoulos, ECCV 2024)."""

from typing import Any, final

import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from fewshot.embeddings.backbones.base import HEAD, Backbone
from fewshot.embeddings.card import BackboneCard, WeightFile
from fewshot.embeddings.inputs.rule import InputRule
from fewshot.embeddings.inputs.transforms import CLIP_MEAN, CLIP_STD, CenterCrop
from fewshot.embeddings.networks.clip import CLIP_L14, TEXT_TOWER, ImageTower
from fewshot.embeddings.networks.taps import Taps, Tokens

# The authors' scripts/best.py: variant -> projection layers, projection width
_PROJECTIONS = {"2class": (4, 128), "1class": (4, 1024), "4class": (2, 1024), "ldm": (4, 1024)}
_KNOWN_FILES = {"2class": (1_139_686, "680d301b6d191da8")}
_BLOCKS, _WIDTH = 24, 1024
_TOKENS = tuple(f"visual.transformer.resblocks.{block}.ln_2.cls" for block in range(_BLOCKS))


@final
class Rine(Backbone):
    """``z``, the input of the MLP head; ``head``, that of its last linear layer; ``stack``, 24 tokens end to end."""

    name = "rine"
    variants = tuple(_PROJECTIONS)
    ignorable = TEXT_TOWER

    def make_card(self) -> BackboneCard:
        _, width = _PROJECTIONS[str(self.variant)]
        file = f"model_{self.variant}_trainable.pth"
        size, digest = _KNOWN_FILES.get(str(self.variant), (None, ""))
        return BackboneCard(
            name=self.full_name,
            layers={"z": width, "head": width, "stack": _BLOCKS * _WIDTH},
            layer="z",
            input=InputRule((CenterCrop(224, 224),), CLIP_MEAN, CLIP_STD),
            weights=(
                CLIP_L14,
                WeightFile(
                    file,
                    part=HEAD,
                    url=f"https://raw.githubusercontent.com/mever-team/rine/main/ckpt/{file}",
                    licence="Apache-2.0",
                    size=size,
                    sha256=digest,
                ),
            ),
            has_logit=True,
            equality="golden" if self.variant == "2class" else "code-equivalent",
            parameters=303_966_208 + sum(tensor.numel() for tensor in self._head_on_meta().parameters()),
            gflops=162.03,
            paper="Koutlis and Papadopoulos, Leveraging Representations from Intermediate Encoder-blocks, ECCV 2024",
            reference="mever-team/rine @ 9b7fd58",
            licence="Apache-2.0",
            note="tokens are taken after the norm before each MLP, not after the block",
        )

    def _head_on_meta(self) -> nn.Module:
        with torch.device("meta"):
            return _Importance(*_PROJECTIONS[str(self.variant)])

    def build(self) -> nn.Module:
        head = _Importance(*_PROJECTIONS[str(self.variant)])
        return nn.ModuleDict({"clip": ImageTower("ViT-L-14-quickgelu"), HEAD: head})

    def features(self, batch: Tensor) -> dict[str, Tensor]:
        tokens = Taps(self.network.get_submodule("clip"), Tokens(prefix=1)).read(batch, _TOKENS)
        stack = torch.stack([tokens[name] for name in _TOKENS], dim=1)
        head = self.network.get_submodule(HEAD)
        assert isinstance(head, _Importance)
        z = head(stack)
        hidden = head.head[:-1](z)
        return {"z": z, "head": hidden, "stack": stack.flatten(1), "logit": head.head[-1](hidden)}

    def stages(self, image: Image.Image) -> dict[str, NDArray[Any]]:
        """Add ``g``, the stack as (24, 1024)."""
        found = super().stages(image)
        with torch.inference_mode():
            stack = self.features(torch.from_numpy(found["input"])[None].to(self.device))["stack"]
        return {**found, "g": stack.reshape(_BLOCKS, _WIDTH).cpu().numpy()}


class _Importance(nn.Module):
    """The trainable part, with the key names of the authors' files: ``alpha``, ``proj1``, ``proj2``, ``head``."""

    def __init__(self, layers: int, width: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.zeros(1, _BLOCKS, width))
        self.proj1 = nn.Sequential(nn.Dropout(), *_projections(_WIDTH, width, layers))
        self.proj2 = nn.Sequential(nn.Dropout(), *_projections(width, width, layers))
        self.head = nn.Sequential(*_projections(width, width, 2), nn.Linear(width, 1))

    def forward(self, stack: Tensor) -> Tensor:
        """Return z (N, width) of stacked tokens (N, 24, 1024)."""
        weighed = torch.softmax(self.alpha, dim=1) * self.proj1(stack)
        z: Tensor = self.proj2(weighed.sum(dim=1))
        return z


def _projections(inputs: int, width: int, layers: int) -> list[nn.Module]:
    found: list[nn.Module] = []
    for layer in range(layers):
        found += [nn.Linear(width if layer else inputs, width), nn.ReLU(), nn.Dropout()]
    return found
