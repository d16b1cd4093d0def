"""CNNDetection: an ordinary ResNet-50 trained on one GAN with blur and JPEG (Wang et al., CVPR 2020)."""

from typing import final

from torch import Tensor, nn

from fewshot.embeddings.backbones.base import Backbone
from fewshot.embeddings.card import BackboneCard, WeightFile
from fewshot.embeddings.inputs.rule import InputRule
from fewshot.embeddings.inputs.transforms import IMAGENET_MEAN, IMAGENET_STD, CenterCrop
from fewshot.embeddings.networks.trunks import ResNet50


@final
class Cnndetection(Backbone):
    """``crop224`` is the paper's setting; the authors recommend ``full``, without any crop, one image at a time."""

    name = "cnndetection"
    variants = ("crop224", "full")

    def make_card(self) -> BackboneCard:
        return BackboneCard(
            name=self.full_name,
            layers={"feature": 2048},
            layer="feature",
            input=InputRule((CenterCrop(224, 224),) if self.variant == "crop224" else (), IMAGENET_MEAN, IMAGENET_STD),
            weights=(
                WeightFile(
                    "blur_jpg_prob0.5.pth",
                    url="https://www.dropbox.com/s/2g2jagq2jn1fd0i/blur_jpg_prob0.5.pth?dl=1",
                    mirrors=("https://huggingface.co/dkarageo/sidbench/resolve/main/cnndetect/blur_jpg_prob0.5.pth",),
                    md5="0c0bd6f572eaec0e8ea8ed8b033969dd",
                    licence="CC BY-NC-SA 4.0",
                    non_commercial=True,
                ),
            ),
            has_logit=True,
            equality="golden",
            parameters=23_510_081,
            gflops=8.17 if self.variant == "crop224" else 20.08,
            paper="Wang et al., CNN-generated images are surprisingly easy to spot... for now, CVPR 2020",
            reference="PeterWang512/CNNDetection @ ea0b562",
            licence="CC BY-NC-SA 4.0",
            note="images under about 256 pixels give scores near zero",
        )

    def build(self) -> nn.Module:
        return ResNet50(outputs=1)

    def features(self, batch: Tensor) -> dict[str, Tensor]:
        assert isinstance(self.network, ResNet50)
        feature = self.network(batch)
        return {"feature": feature, "logit": self.network.fc(feature)}
