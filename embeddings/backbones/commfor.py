"""Community Forensics: a ViT-S/16 trained on images of thousands of generators (Park and Owens, CVPR 2025)."""

from typing import Any, final

from torch import Tensor, nn

from fewshot.embeddings.backbones.base import Backbone
from fewshot.embeddings.card import BackboneCard, WeightFile
from fewshot.embeddings.inputs.rule import InputRule
from fewshot.embeddings.inputs.transforms import IMAGENET_MEAN, IMAGENET_STD, CenterCrop, ShorterSide

# variant: resize, crop, parameters, GFLOPs (dataloader.py, determine_resize_crop_sizes)
_SIZES = {"384": (440, 384, 21_811_969, 30.98), "224": (256, 224, 21_666_049, 9.20)}


@final
class Commfor(Backbone):
    """The normed class token, input of the linear head; ``384`` and ``224`` are the two published models."""

    name = "commfor"
    variants = tuple(_SIZES)

    def make_card(self) -> BackboneCard:
        resize, crop, parameters, gflops = _SIZES[str(self.variant)]
        return BackboneCard(
            name=self.full_name,
            layers={"feature": 384},
            layer="feature",
            input=InputRule((ShorterSide(resize), CenterCrop(crop, crop)), IMAGENET_MEAN, IMAGENET_STD),
            weights=(
                WeightFile(
                    f"commfor-model-{crop}.safetensors",
                    repository=f"OwensLab/commfor-model-{crop}",
                    hub_file="model.safetensors",
                    licence="MIT",
                ),
            ),
            has_logit=True,
            equality="code-equivalent",
            parameters=parameters,
            gflops=gflops,
            paper="Park and Owens, Community Forensics: Using Thousands of Generators, CVPR 2025",
            reference="JeongsooP/Community-Forensics @ 5ec815f",
            licence="MIT",
            note="small, open and trained on 4,803 generators: the first detector to try on a CPU",
        )

    def build(self) -> nn.Module:
        from timm import create_model

        return nn.ModuleDict({"vit": create_model(f"vit_small_patch16_{self.variant}", num_classes=1)})

    def features(self, batch: Tensor) -> dict[str, Tensor]:
        vit: Any = self.network.get_submodule("vit")
        feature = vit.forward_head(vit.forward_features(batch), pre_logits=True)
        return {"feature": feature, "logit": vit.head(feature)}
