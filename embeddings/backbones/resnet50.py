"""ResNet-50 as a control: ImageNet's, and the short trunk that AIGIBench calls ResNet-50."""

from typing import final

from torch import Tensor, nn

from fewshot.embeddings.backbones.base import Backbone
from fewshot.embeddings.card import BackboneCard, WeightFile
from fewshot.embeddings.inputs.rule import InputRule
from fewshot.embeddings.inputs.transforms import IMAGENET_MEAN, IMAGENET_STD, CenterCrop, FloatSquash, Squash
from fewshot.embeddings.networks.trunks import ResNet50, ShortResNet


@final
class Resnet50(Backbone):
    """``imagenet``: 2048 features of FiSeR's baseline; ``aigibench``: NPR's trunk without NPR's residual, 512."""

    name = "resnet50"
    variants = ("imagenet", "aigibench")
    ignorable = (r"fc\.(weight|bias)",)  # ImageNet's 1000 classes

    def make_card(self) -> BackboneCard:
        return self._imagenet() if self.variant == "imagenet" else self._aigibench()

    def _imagenet(self) -> BackboneCard:
        return BackboneCard(
            name=self.full_name,
            layers={"feature": 2048},
            layer="feature",
            # FiSeR's baseline goes through DINOv3's processor (FiSeR @ ad2637c, baselines/models.py)
            input=InputRule((FloatSquash(224, 224),), IMAGENET_MEAN, IMAGENET_STD),
            weights=(
                WeightFile(
                    "resnet50-0676ba61.pth",
                    url="https://download.pytorch.org/models/resnet50-0676ba61.pth",
                    sha256="0676ba61",
                    licence="BSD-3-Clause",
                ),
            ),
            equality="code-equivalent",
            parameters=23_508_032,
            gflops=8.17,
            paper="He et al., Deep Residual Learning for Image Recognition, CVPR 2016; a baseline of FiSeR, 2026",
            reference="torchvision resnet50, IMAGENET1K_V1",
            licence="BSD-3-Clause",
            note="a control: FiSeR trained it from scratch on WildFake, and those weights are not public",
        )

    def _aigibench(self) -> BackboneCard:
        return BackboneCard(
            name=self.full_name,
            layers={"feature": 512},
            layer="feature",
            input=InputRule((Squash(256, 256), CenterCrop(224, 224)), IMAGENET_MEAN, IMAGENET_STD),
            weights=(
                WeightFile(
                    "aigibench-resnet50.pth",
                    licence="CC BY-NC-SA 4.0",
                    non_commercial=True,
                    manual="take the ResNet-50 checkpoint of Setting-II from huggingface.co/HorizonTEL/AIGIBench",
                ),
            ),
            has_logit=True,
            equality="golden",
            parameters=1_437_761,
            gflops=3.43,
            paper="AIGIBench, 2025 (its ResNet-50 baseline)",
            reference="HorizonTEL/AIGIBench @ e9b95f8",
            licence="CC BY-NC-SA 4.0",
            note="no ResNet-50 in spite of its name: a 3x3 stem and two stages",
        )

    def build(self) -> nn.Module:
        return ResNet50(outputs=0) if self.variant == "imagenet" else ShortResNet(outputs=1)

    def features(self, batch: Tensor) -> dict[str, Tensor]:
        feature = self.network(batch)
        if isinstance(self.network, ShortResNet):
            return {"feature": feature, "logit": self.network.fc1(feature)}
        return {"feature": feature}
