"""DRCT: contrast with diffusion reconstructions, on ConvNeXt-B or CLIP ViT-L/14 (Chen et al., ICML 2024)."""

from typing import final

from torch import Tensor, nn

from fewshot.embeddings.backbones.base import Backbone
from fewshot.embeddings.card import BackboneCard, WeightFile
from fewshot.embeddings.inputs.opencv import OpencvLongestSide
from fewshot.embeddings.inputs.rule import InputRule
from fewshot.embeddings.inputs.transforms import IMAGENET_MEAN, IMAGENET_STD, CenterCrop, Step
from fewshot.embeddings.networks.clip import TEXT_TOWER, ImageTower

_WIDTH = 1024  # --embedding_size
# data/transform.py, create_val_transforms with and without is_crop; albumentations rounds odd margins down
_CROP: tuple[Step, ...] = (CenterCrop(224, 224, rounding="down"),)
_WHOLE: tuple[Step, ...] = (OpencvLongestSide(224), CenterCrop(224, 224, rounding="down"))
_VARIANTS = {
    "convnext": (_CROP, "drct_convnext_base.pth", 88_618_114, 30.71),
    "convnext-whole": (_WHOLE, "drct_convnext_base.pth", 88_618_114, 30.71),
    "clip": (_CROP, "drct_clip_vit_l14.pth", 304_755_714, 162.03),
}


@final
class Drct(Backbone):
    """The 1024 values before the two-class layer; ``-whole`` shrinks the image instead of cropping it.

    CLIP's variant takes ImageNet's mean and deviation too, as the authors trained it.
    """

    name = "drct"
    variants = tuple(_VARIANTS)
    ignorable = tuple(rf"model\.model\.{key}" for key in TEXT_TOWER)

    def make_card(self) -> BackboneCard:
        steps, file, parameters, gflops = _VARIANTS[str(self.variant)]
        return BackboneCard(
            name=self.full_name,
            layers={"feature": _WIDTH},
            layer="feature",
            input=InputRule(steps, IMAGENET_MEAN, IMAGENET_STD),
            weights=(
                WeightFile(
                    file,
                    licence="none stated",
                    manual="take pretrained.zip from modelscope.cn/datasets/BokingChen/DRCT-2M and unpack a checkpoint "
                    "of this network, for example DRCT-2M/sdv14/convnext_base_in22k_224_drct_amp_crop/14_acc0.9996.pth",
                ),
            ),
            has_logit=True,
            equality="code-equivalent",
            parameters=parameters,
            gflops=gflops,
            paper="Chen et al., DRCT: Diffusion Reconstruction Contrastive Training, ICML 2024",
            reference="beibuwandeluori/DRCT @ 01aa7d0",
            licence="none stated",
            note="the published checkpoints were trained on crops; the whole image is the authors' other setting",
        )

    def build(self) -> nn.Module:
        from timm import create_model

        head = nn.Linear(_WIDTH, 2)
        if self.variant == "clip":
            tower = ImageTower("ViT-L-14-quickgelu")
            return nn.ModuleDict({"model": nn.ModuleDict({"model": tower, "fc": nn.Linear(768, _WIDTH)}), "fc": head})
        return nn.ModuleDict({"model": create_model("convnext_base", num_classes=_WIDTH), "fc": head})

    def features(self, batch: Tensor) -> dict[str, Tensor]:
        if self.variant == "clip":
            embedding = self.network.get_submodule("model.model")(batch)
            feature = self.network.get_submodule("model.fc")(embedding)
        else:
            feature = self.network.get_submodule("model")(batch)
        outputs = self.network.get_submodule("fc")(feature)
        # class 1 is synthetic; the difference is the logit of the softmax
        return {"feature": feature, "logit": outputs[:, 1:] - outputs[:, :1]}
