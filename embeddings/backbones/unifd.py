"""UniFD: frozen CLIP ViT-L/14 with a linear head (Ojha et al., CVPR 2023)."""

from typing import final

from torch import Tensor, nn

from fewshot.embeddings.backbones.base import HEAD, Backbone
from fewshot.embeddings.card import BackboneCard, WeightFile
from fewshot.embeddings.inputs.rule import InputRule
from fewshot.embeddings.inputs.transforms import CLIP_MEAN, CLIP_STD, SHORTER_256_CROP_224, CenterCrop
from fewshot.embeddings.networks.clip import CLIP_L14, TEXT_TOWER, ImageTower

_STEPS = {"crop224": (CenterCrop(224, 224),), "resize256crop224": SHORTER_256_CROP_224}


@final
class Unifd(Backbone):
    """The projected CLIP embedding, not normalised; FiSeR's and AIGCDetect's copies run it as ``resize256crop224``."""

    name = "unifd"
    variants = tuple(_STEPS)
    ignorable = TEXT_TOWER

    def make_card(self) -> BackboneCard:
        return BackboneCard(
            name=self.full_name,
            layers={"feature": 768, "penultimate": 1024},
            layer="feature",
            input=InputRule(_STEPS[str(self.variant)], CLIP_MEAN, CLIP_STD),
            weights=(
                CLIP_L14,
                WeightFile(
                    "fc_weights.pth",
                    part=HEAD,
                    url="https://raw.githubusercontent.com/WisconsinAIVision/UniversalFakeDetect/main/"
                    "pretrained_weights/fc_weights.pth",
                    licence="MIT",
                    size=4_083,
                    sha256="477100745713bcc957beb2b40859536859b6483fd6301b3b9293151b194c7847",
                    optional=True,
                ),
            ),
            has_logit=True,
            equality="golden" if self.variant == "crop224" else "code-equivalent",
            parameters=303_966_977,
            gflops=162.03,
            paper="Ojha et al., Towards Universal Fake Image Detectors that Generalize Across Generative Models, 2023",
            reference="WisconsinAIVision/UniversalFakeDetect @ 76a0e3e",
            licence="MIT",
            note="native pixels are cropped, not resized: crop and resize give very different scores",
        )

    def build(self) -> nn.Module:
        return nn.ModuleDict({"clip": ImageTower("ViT-L-14-quickgelu"), HEAD: nn.Linear(768, 1)})

    def features(self, batch: Tensor) -> dict[str, Tensor]:
        assert isinstance(self.network, nn.ModuleDict)
        clip = self.network["clip"]
        assert isinstance(clip, ImageTower)
        penultimate = clip.pooled(batch)
        found = {"feature": clip.project(penultimate), "penultimate": penultimate}
        if HEAD in self.network:
            found["logit"] = self.network[HEAD](found["feature"])
        return found
