"""SigLIP and SigLIP 2, controls (Zhai et al., ICCV 2023; Tschannen et al. 2025)."""

from typing import Any, cast, final

from torch import Tensor, nn

from fewshot.embeddings.backbones.base import Backbone
from fewshot.embeddings.card import BackboneCard, WeightFile
from fewshot.embeddings.inputs.rule import InputRule
from fewshot.embeddings.inputs.transforms import Squash

_HALF = (0.5, 0.5, 0.5)
# variant: timm's name and tag, pixels, width, parameters, GFLOPs
_VARIANTS = {
    "base-224": ("vit_base_patch16_siglip_224", "webli", 224, 768, 92_884_224, 35.42),
    "large-256": ("vit_large_patch16_siglip_256", "webli", 256, 1024, 315_956_224, 162.56),
    "so400m-384": ("vit_so400m_patch14_siglip_384", "webli", 384, 1152, 428_225_600, 670.35),
    "v2-base-224": ("vit_base_patch16_siglip_224", "v2_webli", 224, 768, 92_884_224, 35.42),
    "v2-so400m-384": ("vit_so400m_patch14_siglip_384", "v2_webli", 384, 1152, 428_225_600, 670.35),
}


@final
class Siglip(Backbone):
    """``feature``, pooled by attention, and ``mean``, the mean of the normed patch tokens (there is no class token)."""

    name = "siglip"
    variants = tuple(_VARIANTS)

    def make_card(self) -> BackboneCard:
        model, tag, pixels, width, parameters, gflops = _VARIANTS[str(self.variant)]
        return BackboneCard(
            name=self.full_name,
            layers={"feature": width, "mean": width},
            layer="feature",
            input=InputRule((Squash(pixels, pixels, "bicubic"),), _HALF, _HALF),
            weights=(
                WeightFile(
                    f"siglip-{self.variant}.safetensors",
                    repository=f"timm/{model}.{tag}",
                    hub_file="model.safetensors",
                    licence="Apache-2.0",
                ),
            ),
            equality="code-equivalent",
            parameters=parameters,
            gflops=gflops,
            paper="Zhai et al., Sigmoid Loss for Language Image Pre-Training, ICCV 2023",
            reference=f"google-research/big_vision through timm {model}.{tag}",
            licence="Apache-2.0",
            note="a control: never trained to detect anything",
        )

    def build(self) -> nn.Module:
        from timm import create_model

        return cast(nn.Module, create_model(_VARIANTS[str(self.variant)][0], num_classes=0))

    def features(self, batch: Tensor) -> dict[str, Tensor]:
        network: Any = self.network
        tokens = network.forward_features(batch)
        return {"feature": network.forward_head(tokens), "mean": tokens.mean(dim=1)}
