"""FSD: a ResNet-50 trained in episodes, whose classes are means of a few embeddings (Wu et al., ICML 2025)."""

from typing import Any, final

from torch import Tensor, nn

from fewshot.embeddings.backbones.base import Backbone
from fewshot.embeddings.card import BackboneCard, WeightFile
from fewshot.embeddings.inputs.rule import InputRule
from fewshot.embeddings.inputs.transforms import CenterCrop

_WIDTH = 1024  # train.py: num_classes


@final
class Fsd(Backbone):
    """``embedding`` (1024), compared raw by squared distance (head ``euclid``), and ``pooled`` (2048) before it.

    There is no head of its own: a class is known from the means of a few images, so there is no logit either.
    """

    name = "fsd"

    def make_card(self) -> BackboneCard:
        return BackboneCard(
            name=self.full_name,
            layers={"embedding": _WIDTH, "pooled": 2048},
            layer="embedding",
            input=InputRule((CenterCrop(224, 224),)),  # neither resized nor normalised
            weights=(
                WeightFile(
                    "fsd.pth",
                    licence="none stated",
                    manual="take the checkpoint whose excluded class is the one you test on from "
                    "pan.baidu.com/s/1zNxDKtFJ_5KXcMceNtrRqA?pwd=icml",
                ),
            ),
            equality="golden",
            parameters=25_606_208,
            gflops=8.18,
            paper="Wu et al., Few-Shot Learner Generalizes Across AI-Generated Image Detection, ICML 2025",
            reference="teheperinko541/Few-Shot-AIGI-Detector @ 39ed162",
            licence="Apache-2.0 (code)",
            note="smaller images get black borders, as the authors test; `fsd:+tile` and `fsd:+resize` avoid them",
        )

    def build(self) -> nn.Module:
        from timm import create_model

        network: nn.Module = create_model("resnet50", pretrained=False, num_classes=_WIDTH)
        return network

    def features(self, batch: Tensor) -> dict[str, Tensor]:
        network: Any = self.network
        pooled = network.forward_head(network.forward_features(batch), pre_logits=True)
        return {"embedding": network.get_classifier()(pooled), "pooled": pooled}
