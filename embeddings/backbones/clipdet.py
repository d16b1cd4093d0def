"""ClipDet: a linear head on the penultimate layer of CommonPool's CLIP ViT-L/14 (Cozzolino et al., CVPRW 2024)."""

from typing import final

from torch import Tensor, nn
from torch.nn.functional import normalize

from fewshot.embeddings.backbones.base import HEAD, Backbone
from fewshot.embeddings.card import BackboneCard, WeightFile
from fewshot.embeddings.inputs.rule import InputRule
from fewshot.embeddings.inputs.transforms import CLIP_MEAN, CLIP_STD, CenterCrop, ShorterSide
from fewshot.embeddings.networks.clip import TEXT_TOWER, ImageTower

_HOME = "https://github.com/grip-unina/ClipBased-SyntheticImageDetection/raw/main/weights"
# variant: bytes and SHA-256 of its head (the repository's LFS pointers)
_HEADS = {
    "latent10k_plus": (5_155, "1c9c9f48a47d975bde67e9924983aa4e4ccda96a15e7e983b6305f0c56d9ee18"),
    "latent10k": (5_227, "04b022c6990709acb132337d7e432fc57090cec9db3869577111b031d40c19f9"),
}


@final
class Clipdet(Backbone):
    """The class token before CLIP's projection, at unit length; the variants differ in the head only."""

    name = "clipdet"
    variants = tuple(_HEADS)
    ignorable = TEXT_TOWER

    def make_card(self) -> BackboneCard:
        size, digest = _HEADS[str(self.variant)]
        return BackboneCard(
            name=self.full_name,
            layers={"feature": 1024},
            layer="feature",
            input=InputRule((ShorterSide(224, "bicubic"), CenterCrop(224, 224)), CLIP_MEAN, CLIP_STD),
            weights=(
                WeightFile(
                    "clip-vit-large-patch14-commonpool.bin",
                    part="clip",
                    repository="laion/CLIP-ViT-L-14-CommonPool.XL-s13B-b90K",
                    hub_file="open_clip_pytorch_model.bin",
                    licence="MIT",
                ),
                WeightFile(
                    f"clipdet_{self.variant}.pth",
                    part=HEAD,
                    url=f"{_HOME}/clipdet_{self.variant}/weights.pth",
                    licence="Apache-2.0",
                    size=size,
                    sha256=digest,
                    optional=True,
                ),
            ),
            has_logit=True,
            equality="code-equivalent",
            parameters=303_967_233,
            gflops=162.03,
            paper="Cozzolino et al., Raising the Bar of AI-generated Image Detection with CLIP, CVPRW 2024",
            reference="grip-unina/ClipBased-SyntheticImageDetection @ c76ef7f",
            licence="Apache-2.0",
            note="CommonPool's CLIP uses plain GELU, OpenAI's does not: their features are not exchangeable",
        )

    def build(self) -> nn.Module:
        return nn.ModuleDict({"clip": ImageTower("ViT-L-14"), HEAD: nn.ModuleDict({"fc": nn.Linear(1024, 1)})})

    def features(self, batch: Tensor) -> dict[str, Tensor]:
        assert isinstance(self.network, nn.ModuleDict)
        clip = self.network["clip"]
        assert isinstance(clip, ImageTower)
        found = {"feature": normalize(clip.pooled(batch), dim=-1)}
        if HEAD in self.network:
            found["logit"] = self.network.get_submodule(f"{HEAD}.fc")(found["feature"])
        return found
