"""LOTA: the most textured patch of the three lowest bit planes (Wang et al., ICCV 2025)."""

from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from fewshot.embeddings.backbones.base import Backbone
from fewshot.embeddings.card import BackboneCard, WeightFile
from fewshot.embeddings.inputs.bit_patch import FROM_CONTENT, BitPatch, crop, low_bits, texture
from fewshot.embeddings.inputs.rule import InputRule
from fewshot.embeddings.inputs.transforms import IMAGENET_MEAN, IMAGENET_STD
from fewshot.embeddings.networks.trunks import ResNet50


@final
class Lota(Backbone):
    """``random64`` is the authors' draw with a seed from the image's content; ``grid16`` draws nothing.

    ``random64-seed0`` seeds every image with 0, as the golden outputs were made.
    """

    name = "lota"
    variants = ("random64", "grid16", "random64-seed0")

    def make_card(self) -> BackboneCard:
        step = BitPatch(seed=0 if self.variant == "random64-seed0" else FROM_CONTENT, grid=self.variant == "grid16")
        return BackboneCard(
            name=self.full_name,
            layers={"feature": 2048},
            layer="feature",
            input=InputRule((step,), IMAGENET_MEAN, IMAGENET_STD),
            weights=(
                WeightFile(
                    "LOTA_sdv14.pth",
                    licence="MIT",
                    manual="take a checkpoint from the Baidu links in the README of github.com/hongsong-wang/LOTA "
                    "(SDv1.4: code imjw; SDv1.5: code a942)",
                ),
            ),
            has_logit=True,
            equality="golden" if self.variant == "random64-seed0" else "code-equivalent",
            parameters=23_510_081,
            gflops=10.68,
            paper="Wang et al., LOTA: Bit-Planes Guided AI-Generated Image Detection, ICCV 2025",
            reference="hongsong-wang/LOTA @ 487bb02",
            licence="MIT",
            note="reads the lowest bits, which any lossy re-encoding replaces by quantisation noise",
        )

    def build(self) -> nn.Module:
        return nn.ModuleDict({"disc": ResNet50(outputs=1)})

    def features(self, batch: Tensor) -> dict[str, Tensor]:
        disc = self.network.get_submodule("disc")
        assert isinstance(disc, ResNet50)
        feature = disc(batch)
        # the authors' label is 1 for natural
        return {"feature": feature, "logit": -disc.fc(feature)}

    def stages(self, image: Image.Image) -> dict[str, NDArray[Any]]:
        """Add the crops, the sum of the bit plane, its top-left texture, and the logit by the authors' sign."""
        step = self.card.input.steps[0]
        assert isinstance(step, BitPatch)
        plane = low_bits(image)
        found = super().stages(image)
        with torch.inference_mode():
            logit = self.features(torch.from_numpy(found["input"])[None].to(self.device))["logit"]
        return {
            **found,
            "logit": -logit[0].cpu().numpy(),
            "crops": step.corners(image),
            "low3_sum": np.asarray(plane.astype(np.int64).sum()),
            "score_tl": np.asarray(texture(crop(plane, np.zeros(2, dtype=np.int64)))),
        }
