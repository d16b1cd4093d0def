"""DIRE without its reconstruction: the ResNet-50 on plain pixels, as FiSeR's published baseline really runs it."""

from typing import final

from torch import Tensor, nn

from fewshot.embeddings.backbones.base import Backbone
from fewshot.embeddings.card import BackboneCard, WeightFile
from fewshot.embeddings.inputs.rule import InputRule
from fewshot.embeddings.inputs.transforms import IMAGENET_MEAN, IMAGENET_STD, SHORTER_256_CROP_224
from fewshot.embeddings.networks.trunks import ResNet50


@final
class DireRgb(Backbone):
    """What a table means by "DIRE" where no diffusion model was ever run (FiSeR @ ad2637c, baselines/vendor/DIRE)."""

    name = "dire-rgb"

    def make_card(self) -> BackboneCard:
        return BackboneCard(
            name=self.full_name,
            layers={"feature": 2048},
            layer="feature",
            input=InputRule(SHORTER_256_CROP_224, IMAGENET_MEAN, IMAGENET_STD),
            weights=(
                WeightFile(
                    "lsun_adm.pth",
                    repository="dkarageo/sidbench",
                    hub_file="dire/lsun_adm.pth",
                    licence="none stated",
                ),
            ),
            has_logit=True,
            equality="code-equivalent",
            parameters=23_510_081,
            gflops=8.17,
            paper="Wang et al., DIRE for Diffusion-Generated Image Detection, ICCV 2023; as run by FiSeR, ICML 2026",
            reference="ZhendongWang6/DIRE @ 1f89fff; heyongxin233/FiSeR @ ad2637c",
            licence="none stated",
            note="the classifier of DIRE on plain pixels, on which it was not trained; true DIRE is `dire`, for a GPU",
        )

    def build(self) -> nn.Module:
        return ResNet50(outputs=1)

    def features(self, batch: Tensor) -> dict[str, Tensor]:
        assert isinstance(self.network, ResNet50)
        feature = self.network(batch)
        return {"feature": feature, "logit": self.network.fc(feature)}
