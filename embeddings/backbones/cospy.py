"""CO-SPY: what an image shows and the residual of its pixels, side by side (Cheng et al., CVPR 2025)."""

from typing import final

import torch
from torch import Tensor, nn

from fewshot.embeddings.backbones.base import HEAD, Backbone
from fewshot.embeddings.card import BackboneCard, WeightFile
from fewshot.embeddings.inputs.rule import InputRule
from fewshot.embeddings.inputs.transforms import (
    CLIP_MEAN,
    CLIP_STD,
    IMAGENET_MEAN,
    IMAGENET_STD,
    SHORTER_256_CROP_224,
    Triple,
)
from fewshot.embeddings.networks.clip import CLIP_L14, TEXT_TOWER, ImageTower
from fewshot.embeddings.networks.residuals import nearest_residual
from fewshot.embeddings.networks.trunks import ShortResNet

_SEMANTIC, _ARTIFACT = "semantic", "artifact"
_ZIP = (
    "download progan.zip from huggingface.co/ruojiruoli/Co-Spy-Pretrained-Weights, unpack it, and name this file of it "
    "with --weights"
)


@final
class Cospy(Backbone):
    """``feature``, both branches end to end: CLIP's embedding (768) and the residual trunk's features (512).

    The ProGAN model; each branch is normalised in its own way inside the network.
    """

    name = "cospy"
    variants = ("progan",)
    ignorable = TEXT_TOWER

    def make_card(self) -> BackboneCard:
        return BackboneCard(
            name=self.full_name,
            layers={"feature": 1280, _SEMANTIC: 768, _ARTIFACT: 512},
            layer="feature",
            input=InputRule(SHORTER_256_CROP_224),
            weights=(
                CLIP_L14,
                WeightFile("cospy_progan_artifact.pth", part=_ARTIFACT, licence="MIT", manual=_ZIP),
                WeightFile("cospy_progan_semantic.pth", part=_SEMANTIC, licence="MIT", manual=_ZIP, optional=True),
                WeightFile("cospy_progan_classifier.pth", part=HEAD, licence="MIT", manual=_ZIP, optional=True),
            ),
            has_logit=True,
            equality="code-equivalent",
            parameters=305_405_254,
            gflops=165.46,
            paper="Cheng et al., CO-SPY: Combining Semantic and Pixel Features, CVPR 2025",
            reference="Megum1/CO-SPY @ 310d048",
            licence="MIT",
            note="the Stable Diffusion model of the same paper, which also runs a VAE, is not here",
        )

    def build(self) -> nn.Module:
        return nn.ModuleDict(
            {
                "clip": ImageTower("ViT-L-14-quickgelu"),
                _ARTIFACT: nn.ModuleDict({"artifact_encoder": ShortResNet(outputs=1), "fc": nn.Linear(512, 1)}),
                _SEMANTIC: nn.ModuleDict({"fc": nn.Linear(768, 1)}),
                HEAD: nn.ModuleDict({"fc": nn.Linear(2, 1)}),
            }
        )

    def features(self, batch: Tensor) -> dict[str, Tensor]:
        assert isinstance(self.network, nn.ModuleDict)
        semantic = self.network["clip"](_normalised(batch, CLIP_MEAN, CLIP_STD))
        residual = nearest_residual(_normalised(batch, IMAGENET_MEAN, IMAGENET_STD)) * (2.0 / 3.0)
        artifact = self.network.get_submodule(f"{_ARTIFACT}.artifact_encoder")(residual)
        found = {"feature": torch.cat([semantic, artifact], dim=1), _SEMANTIC: semantic, _ARTIFACT: artifact}
        if _SEMANTIC in self.network and HEAD in self.network:
            scores = (self.network.get_submodule(f"{part}.fc")(found[part]) for part in (_SEMANTIC, _ARTIFACT))
            found["logit"] = self.network.get_submodule(f"{HEAD}.fc")(torch.cat(list(scores), dim=1))
        return found


def _normalised(images: Tensor, mean: Triple, std: Triple) -> Tensor:
    return (images - images.new_tensor(mean).view(-1, 1, 1)) / images.new_tensor(std).view(-1, 1, 1)
