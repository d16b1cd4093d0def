"""FiSeR: DINOv3 ViT-L/16 tuned by coarse and fine contrast of generators (Zhang et al., ICML 2026)."""

from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from fewshot.embeddings.backbones.base import Backbone
from fewshot.embeddings.card import BackboneCard, WeightFile
from fewshot.embeddings.inputs.rule import InputRule
from fewshot.embeddings.inputs.transforms import IMAGENET_MEAN, IMAGENET_STD, FloatSquash
from fewshot.embeddings.networks import dinov3
from fewshot.embeddings.weights.checkpoint import State

_SIZE = "vitl16"


@final
class Fiser(Backbone):
    """Class tokens after blocks 15 to 24, un-normed, and the normed last one, which is what the loss saw.

    The published evaluation reads block 18 (WildFake, AIGIBench), 19 (Community Forensics) and 23 (Chameleon,
    GenImage), each chosen on its query labels.
    """

    name = "fiser"
    variants = ("hf-processor",)
    # the centre of the training loss
    ignorable = (r"v(ir|i)tual_center",)

    def make_card(self) -> BackboneCard:
        return BackboneCard(
            name=self.full_name,
            layers=dinov3.layer_dimensions(_SIZE),
            layer="l18",
            input=InputRule((FloatSquash(224, 224),), IMAGENET_MEAN, IMAGENET_STD),
            weights=(
                WeightFile(
                    "fiser-dinov3-vitl16.safetensors",
                    repository="heyongxin233/FiSeR-DINOv3-ViT-L16",
                    hub_file="model.safetensors",
                    licence="DINOv3 licence",
                    sha256="3bfda6c3040fe22f8fe82588bd4c8506572a6844a04c15bb5c8feebbbd9e11a5",
                ),
            ),
            equality="golden",
            parameters=303_129_600,
            gflops=125.68,
            paper="Zhang et al., FiSeR, ICML 2026, arXiv 2606.00606",
            reference="heyongxin233/FiSeR @ ad2637c",
            licence="MIT (code), DINOv3 licence (weights)",
            note="the layer matters: the paper's numbers pick it per dataset on the query labels",
        )

    def build(self) -> nn.Module:
        return dinov3.build(_SIZE)

    def reference(self, part: nn.Module) -> State:
        return dinov3.published_names(part)

    def adapt(self, state: State, *, part: str) -> State:
        return dinov3.own_names(state)

    def features(self, batch: Tensor) -> dict[str, Tensor]:
        return dinov3.class_tokens(self.network, batch)

    def stages(self, image: Image.Image) -> dict[str, NDArray[Any]]:
        """Add ``cls_lN``, the hidden tokens at unit length as FiSeR's archives hold them, and ``cls_last``, raw."""
        found = self.embed(torch.from_numpy(self.preprocess(image))[None])
        tokens = {f"cls_{layer}": values[0].cpu().numpy() for layer, values in found.items()}
        unit = {name: token / np.linalg.norm(token) for name, token in tokens.items() if name != "cls_last"}
        return {**super().stages(image), **tokens, **unit}
