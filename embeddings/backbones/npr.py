"""NPR: neighbouring pixel relationships of up-sampling (Tan et al., CVPR 2024)."""

from typing import Any, final

import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from fewshot.embeddings.backbones.base import Backbone
from fewshot.embeddings.card import BackboneCard, WeightFile
from fewshot.embeddings.inputs.rule import InputRule
from fewshot.embeddings.inputs.transforms import IMAGENET_MEAN, IMAGENET_STD, CenterCrop, Squash, Step
from fewshot.embeddings.networks.residuals import nearest_residual
from fewshot.embeddings.networks.trunks import ShortResNet

# networks/resnet.py: ``self.conv1(NPR * 2.0 / 3.0)``
RESIDUAL_SCALE = 2.0 / 3.0


@final
class Npr(Backbone):
    """``x - up(down(x))`` before a short ResNet; ``crop224`` is how AIDE's and FiSeR's copies run it."""

    name = "npr"
    variants = ("resize256", "crop224")

    def make_card(self) -> BackboneCard:
        step: Step = Squash(256, 256) if self.variant == "resize256" else CenterCrop(224, 224)
        return BackboneCard(
            name=self.full_name,
            layers={"feature": 512},
            layer="feature",
            input=InputRule((step,), IMAGENET_MEAN, IMAGENET_STD),
            weights=(
                WeightFile(
                    "NPR.pth",
                    url="https://raw.githubusercontent.com/chuangchuangtan/NPR-DeepfakeDetection/main/NPR.pth",
                    mirrors=("https://huggingface.co/dkarageo/sidbench/resolve/main/npr/NPR.pth",),
                    licence="none stated",
                ),
            ),
            has_logit=True,
            equality="golden",
            parameters=1_437_761,
            gflops=4.49 if self.variant == "resize256" else 3.43,
            paper="Tan et al., Rethinking the Up-Sampling Operations in CNN-based Generative Network, CVPR 2024",
            reference="chuangchuangtan/NPR-DeepfakeDetection @ 781ced3",
            licence="none stated",
            note="trained without JPEG or noise: it calls many re-encoded photographs synthetic",
        )

    def build(self) -> nn.Module:
        return ShortResNet(outputs=1)

    def features(self, batch: Tensor) -> dict[str, Tensor]:
        assert isinstance(self.network, ShortResNet)
        feature = self.network(nearest_residual(batch) * RESIDUAL_SCALE)
        return {"feature": feature, "logit": self.network.fc1(feature)}

    def stages(self, image: Image.Image) -> dict[str, NDArray[Any]]:
        """Add ``residual``, (3, H, W), before its scaling."""
        found = super().stages(image)
        return {**found, "residual": nearest_residual(torch.from_numpy(found["input"])).numpy()}
