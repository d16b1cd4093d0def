"""LASTED: CLIP RN50x64 fine-tuned against four textual anchors (Wu et al. 2023)."""

from typing import final

import torch
from torch import Tensor, nn

from fewshot.embeddings.backbones.base import Backbone
from fewshot.embeddings.card import BackboneCard, WeightFile
from fewshot.embeddings.inputs.rule import InputRule
from fewshot.embeddings.inputs.transforms import IMAGENET_MEAN, IMAGENET_STD, CenterCrop, PadTo
from fewshot.embeddings.networks.clip import TEXT_TOWER, ImageTower
from fewshot.embeddings.weights.checkpoint import State, renamed

SIZE = 448


@final
class Lasted(Backbone):
    """The image embedding of unit length; small images are padded with black, or mirrored as albumentations 1.x did."""

    name = "lasted"
    variants = ("pad0", "mirror")
    ignorable = (*TEXT_TOWER, r"output_layer\..*", r"fc\..*")

    def make_card(self) -> BackboneCard:
        steps = (PadTo(SIZE, "black" if self.variant == "pad0" else "mirror"), CenterCrop(SIZE, SIZE, "down"))
        return BackboneCard(
            name=self.full_name,
            layers={"feature": 1024},
            layer="feature",
            # ImageNet's statistics, although the network is CLIP's
            input=InputRule(steps, IMAGENET_MEAN, IMAGENET_STD),
            weights=(
                WeightFile(
                    "LASTED_pretrained.pt",
                    licence="MIT",
                    manual="take the checkpoint that the README of github.com/HighwayWu/LASTED links on Google Drive",
                ),
            ),
            equality="golden" if self.variant == "pad0" else "code-equivalent",
            parameters=420_380_352,
            gflops=520.25,
            paper="Wu et al., Generalizable Synthetic Image Detection via Language-guided Contrastive Learning, "
            "arXiv 2305.13800",
            reference="HighwayWu/LASTED @ 191069c",
            licence="MIT",
            note="12 to 20 seconds an image on two CPU cores",
        )

    def build(self) -> nn.Module:
        return ImageTower("RN50x64-quickgelu")

    def adapt(self, state: State, *, part: str) -> State:
        """Take the CLIP model out of the authors' module."""
        return renamed(state, lambda key: key.removeprefix("clip_model."))

    def features(self, batch: Tensor) -> dict[str, Tensor]:
        return {"feature": torch.nn.functional.normalize(self.network(batch), dim=1)}
