"""C2P-CLIP: CLIP ViT-L/14 tuned with category prompts (Tan et al., AAAI 2025)."""

from typing import Any, final

from torch import Tensor, nn
from torch.nn.functional import normalize

from fewshot.embeddings.backbones.base import Backbone, BackboneCard
from fewshot.embeddings.clip_hf import TEXT_TOWER, image_tower_l14
from fewshot.embeddings.transforms import CLIP_MEAN, CLIP_STD, CenterCrop, InputRule, ShorterSide
from fewshot.embeddings.weights import WeightFile


@final
class C2pclip(Backbone):
    """The projected embedding at unit length, which is what its linear head reads."""

    name = "c2pclip"
    variants = ("resize224crop224",)
    ignorable = TEXT_TOWER

    def make_card(self) -> BackboneCard:
        return BackboneCard(
            name=self.full_name,
            layers={"feature": 768, "penultimate": 1024},
            layer="feature",
            input=InputRule((ShorterSide(224), CenterCrop(224, 224)), CLIP_MEAN, CLIP_STD),
            weights=(
                WeightFile(
                    "C2P_CLIP_release_20240901.zip",
                    licence="none stated",
                    manual="take it from the link (now61.com) in the README of "
                    "github.com/chuangchuangtan/C2P-CLIP-DeepfakeDetection; the zip itself is the torch file",
                ),
            ),
            has_logit=True,
            equality="golden",
            parameters=303_966_977,
            gflops=162.03,
            paper="Tan et al., C2P-CLIP: Injecting Category Common Prompt in CLIP, AAAI 2025",
            reference="chuangchuangtan/C2P-CLIP-DeepfakeDetection @ 5c1a66c",
            licence="none stated",
            note="the released file has LoRA merged; its published GenImage numbers were not reproduced with it",
        )

    def build(self) -> nn.Module:
        tower = image_tower_l14()
        tower.add_module("fc", nn.Linear(768, 1))
        return nn.ModuleDict({"model": tower})

    def features(self, batch: Tensor) -> dict[str, Tensor]:
        model: Any = self.network.get_submodule("model")
        penultimate = model.vision_model(pixel_values=batch).pooler_output
        feature = normalize(model.visual_projection(penultimate), dim=-1)
        return {"feature": feature, "penultimate": penultimate, "logit": model.fc(feature)}
