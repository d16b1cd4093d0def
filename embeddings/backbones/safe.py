"""SAFE: the diagonal wavelet band of untouched pixels (Li et al., KDD 2025)."""

from typing import Any, final

import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from fewshot.embeddings.backbones.base import CLASSES, Backbone
from fewshot.embeddings.card import BackboneCard, WeightFile
from fewshot.embeddings.inputs.rule import InputRule
from fewshot.embeddings.inputs.transforms import CenterCrop
from fewshot.embeddings.layer_key import LOGIT
from fewshot.embeddings.networks.trunks import ShortResNet

_PADDING = 2  # of the six-tap filters of bior1.3, half-sample symmetric


@final
class Safe(Backbone):
    """One-level bior1.3 wavelet, its diagonal band resized back, and a short ResNet; class 1 is synthetic."""

    name = "safe"
    variants = ("crop256",)

    def make_card(self) -> BackboneCard:
        return BackboneCard(
            name=self.full_name,
            layers={"feature": 512},
            layer="feature",
            input=InputRule((CenterCrop(256, 256),)),
            weights=(
                WeightFile(
                    "safe-checkpoint-best.pth",
                    url="https://raw.githubusercontent.com/Ouxiang-Li/SAFE/main/checkpoint/checkpoint-best.pth",
                    licence="Apache-2.0",
                ),
            ),
            has_logit=True,
            equality="golden",
            parameters=1_438_274,
            gflops=4.49,
            paper="Li et al., Improving Synthetic Image Detection Towards Generalization: An Image Transformation "
            "Perspective, KDD 2025",
            reference="Ouxiang-Li/SAFE @ 4e99872",
            licence="Apache-2.0",
            note="needs images that were neither resized nor re-encoded",
        )

    def build(self) -> nn.Module:
        return ShortResNet(outputs=2)

    def features(self, batch: Tensor) -> dict[str, Tensor]:
        assert isinstance(self.network, ShortResNet)
        feature = self.network(_resized(diagonal_band(batch), batch))
        classes = self.network.fc1(feature)
        return {"feature": feature, CLASSES: classes, LOGIT: classes[:, 1:] - classes[:, :1]}

    def stages(self, image: Image.Image) -> dict[str, NDArray[Any]]:
        """Add ``hh`` (3, 130, 130) and ``dwt`` (3, 256, 256)."""
        found = super().stages(image)
        images = torch.from_numpy(found["input"])[None]
        band = diagonal_band(images)
        resized = _resized(band, images)
        return {**found, "hh": band[0].numpy(), "dwt": resized[0].numpy()}


def diagonal_band(images: Tensor) -> Tensor:
    """Return the diagonal band of the bior1.3 wavelet, (N, C, H/2 + 2, W/2 + 2), of images with even sides.

    Its high-pass filter is the pair (+-sqrt(1/2)) centred in six taps, so the band is half of a - b - c + d over the
    2x2 blocks of the symmetrically padded image (equal to PyWavelets' ``dwt2`` to 1e-7).
    """
    for dimension in (2, 3):
        length = images.shape[dimension]
        inside = torch.arange(-_PADDING, length + _PADDING, device=images.device)
        mirrored = torch.where(inside < 0, -inside - 1, inside)
        mirrored = torch.where(mirrored >= length, 2 * length - mirrored - 1, mirrored)
        images = images.index_select(dimension, mirrored)
    first, second = images[..., ::2, ::2], images[..., ::2, 1::2]
    third, fourth = images[..., 1::2, ::2], images[..., 1::2, 1::2]
    return 0.5 * (first - second - third + fourth)


def _resized(band: Tensor, images: Tensor) -> Tensor:
    return torch.nn.functional.interpolate(band, size=images.shape[-2:], mode="bilinear", align_corners=False)
