"""VIB-Net: a variational information bottleneck on CLIP ViT-L/14 (Zhang et al., CVPR 2025)."""

from typing import final

from torch import Tensor, nn

from fewshot.embeddings.backbones.base import Backbone
from fewshot.embeddings.card import BackboneCard, WeightFile
from fewshot.embeddings.inputs.rule import InputRule
from fewshot.embeddings.inputs.transforms import CLIP_MEAN, CLIP_STD, CenterCrop
from fewshot.embeddings.networks.clip import TEXT_TOWER, ImageTower

_BOTTLENECK = 256


@final
class Vibnet(Backbone):
    """``mu``, the mean of the bottleneck, and ``clip``, the projected embedding under it.

    The authors add noise of the learned deviation at test time too; the mean is what repeats.
    """

    name = "vibnet"
    ignorable = tuple(rf"model\.{key}" for key in TEXT_TOWER)

    def make_card(self) -> BackboneCard:
        return BackboneCard(
            name=self.full_name,
            layers={"mu": _BOTTLENECK, "clip": 768},
            layer="mu",
            input=InputRule((CenterCrop(224, 224),), CLIP_MEAN, CLIP_STD),
            weights=(
                WeightFile(
                    "vibnet.pth",
                    licence="none stated",
                    manual="take the checkpoint from the Google Drive or Baidu link in the README of "
                    "github.com/oceanzhf/VIBAIGCDetect",
                ),
            ),
            has_logit=True,
            equality="code-equivalent",
            parameters=306_328_321,
            gflops=162.03,
            paper="Zhang et al., Towards Universal AI-Generated Image Detection by VIB Network, CVPR 2025",
            reference="oceanzhf/VIBAIGCDetect @ 6f097ea",
            licence="none stated",
            note="the authors' own score is drawn anew at each run; ours is that of the mean",
        )

    def build(self) -> nn.Module:
        return nn.ModuleDict(
            {
                "model": ImageTower("ViT-L-14-quickgelu"),
                "fc_1": nn.Linear(768, 1024),
                "fc_2": nn.Linear(1024, 1024),
                "fc_3": nn.Linear(1024, 2 * _BOTTLENECK),
                "decode": nn.Linear(_BOTTLENECK, 1),
            }
        )

    def features(self, batch: Tensor) -> dict[str, Tensor]:
        assert isinstance(self.network, nn.ModuleDict)
        clip = self.network["model"](batch)
        hidden = self.network["fc_2"](self.network["fc_1"](clip).relu()).relu()
        mu = self.network["fc_3"](hidden)[:, :_BOTTLENECK]
        return {"mu": mu, "clip": clip, "logit": self.network["decode"](mu)}
