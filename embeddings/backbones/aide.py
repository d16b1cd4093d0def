"""AIDE: the simplest and richest patches through noise filters, and the whole image through CLIP (Yan et al. 2025)."""

from typing import Any, cast, final

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from fewshot.embeddings.backbones.base import CLASSES, Backbone
from fewshot.embeddings.card import BackboneCard, WeightFile
from fewshot.embeddings.inputs.patches import ExtremePatches, extreme_patches, grades, resized
from fewshot.embeddings.inputs.rule import InputRule
from fewshot.embeddings.inputs.transforms import CLIP_MEAN, CLIP_STD, IMAGENET_MEAN, IMAGENET_STD
from fewshot.embeddings.layer_key import LOGIT
from fewshot.embeddings.networks.residuals import srm_filters
from fewshot.embeddings.networks.trunks import ResNet50


@final
class Aide(Backbone):
    """Patches by DCT grade, SRM residuals, two ResNet-50s and ConvNeXt-XXLarge; class 1 is synthetic.

    The whole image is resized as a tensor: without antialiasing in the authors' torchvision 0.15, with it in the
    benchmarks' newer one (``antialias-on``).
    """

    name = "aide"
    variants = ("antialias-off", "antialias-on")
    ignorable = (r"model_(min|max)\.fc\.(weight|bias)",)
    kept = (r"hpf\..*",)

    def make_card(self) -> BackboneCard:
        antialias = self.variant == "antialias-on"
        return BackboneCard(
            name=self.full_name,
            layers={"concat2304": 2304, "hidden1024": 1024},
            layer="concat2304",
            input=InputRule((ExtremePatches(antialias),), IMAGENET_MEAN, IMAGENET_STD),
            weights=(
                WeightFile(
                    "aide-progan_train.pth",
                    licence="MIT",
                    manual="take progan_train.pth or sd14_train.pth from the Google Drive folder that the README of "
                    "github.com/shilinyan99/AIDE links (about 3.6 GB)",
                ),
            ),
            has_logit=True,
            equality="golden" if not antialias else "code-equivalent",
            parameters=893_734_732,
            gflops=450.0,
            paper="Yan et al., A Sanity Check for AI-generated Image Detection, ICLR 2025",
            reference="shilinyan99/AIDE @ 6725b71",
            licence="MIT",
            note="16 to 20 seconds an image on two CPU cores, 3.6 GB of memory; images under 32 pixels are enlarged",
        )

    def build(self) -> nn.Module:
        return _Aide()

    def features(self, batch: Tensor) -> dict[str, Tensor]:
        assert isinstance(self.network, _Aide)
        joined, hidden, classes = self.network(batch)
        logit = classes[:, 1:] - classes[:, :1]
        return {"concat2304": joined, "hidden1024": hidden, CLASSES: classes, LOGIT: logit}

    def stages(self, image: Image.Image) -> dict[str, NDArray[Any]]:
        """Add patches, grades and their order, both resizes of the whole image, and the filters."""
        assert isinstance(self.network, _Aide)
        found = super().stages(image)
        pixels = np.asarray(image, dtype=np.float32).transpose(2, 0, 1) / np.float32(255)
        patches = extreme_patches(pixels)
        mean, std = (np.array(values, np.float32).reshape(3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
        return {
            **found,
            "grades": grades(pixels),
            "order": np.array(patches.order),
            "patch_minmin": patches.pixels[0],
            "patch_maxmax": patches.pixels[1],
            "pmin": found["input"][0],
            "x0_noaa": (resized(pixels, antialias=False) - mean) / std,
            "x0_aa": (resized(pixels, antialias=True) - mean) / std,
            "hpf_weight": self.network.hpf.hpf.weight.detach().cpu().numpy(),
        }


class _NoiseFilters(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.hpf = nn.Conv2d(3, 30, 5, padding=2, bias=False)
        self.hpf.weight = nn.Parameter(srm_filters()[:, None].repeat(1, 3, 1, 1), requires_grad=False)

    def forward(self, images: Tensor) -> Tensor:
        return cast(Tensor, self.hpf(images))


class _Mlp(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Linear(2304, 1024)
        self.fc2 = nn.Linear(1024, 2)


class _Aide(nn.Module):
    """The network under the authors' key names (shilinyan99/AIDE @ 6725b71, models/AIDE.py)."""

    def __init__(self) -> None:
        super().__init__()
        import timm

        self.hpf = _NoiseFilters()
        self.model_min = ResNet50(outputs=0, channels=30)
        self.model_max = ResNet50(outputs=0, channels=30)
        self.openclip_convnext_xxl: Any = timm.create_model("convnext_xxlarge", pretrained=False, num_classes=0)
        self.convnext_proj = nn.Sequential(nn.Linear(3072, 256))
        self.fc = _Mlp()

    def forward(self, batch: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return (N, 2304), (N, 1024) and both classes (N, 2), from (N, 5, 3, 256, 256).

        Args:
            batch: lowest, highest, second lowest, second highest patch, and the whole image; ImageNet-normalised.
        """
        lowest, highest, second_lowest, second_highest, whole = batch.unbind(dim=1)
        artifacts = torch.stack(
            [
                self.model_min(self.hpf(lowest)),
                self.model_max(self.hpf(highest)),
                self.model_min(self.hpf(second_lowest)),
                self.model_max(self.hpf(second_highest)),
            ]
        ).mean(dim=0)
        joined = torch.cat([self.convnext_proj(self._semantics(whole)), artifacts], dim=1)
        hidden = torch.nn.functional.gelu(self.fc.fc1(joined))
        return joined, hidden, self.fc.fc2(hidden)

    def _semantics(self, images: Tensor) -> Tensor:
        trunk = self.openclip_convnext_xxl
        restored = images * _column(IMAGENET_STD, images) + _column(IMAGENET_MEAN, images)
        maps = trunk.forward_features((restored - _column(CLIP_MEAN, images)) / _column(CLIP_STD, images))
        return cast(Tensor, trunk.head.norm(maps).mean(dim=(2, 3)))


def _column(values: tuple[float, float, float], like: Tensor) -> Tensor:
    return torch.tensor(values, dtype=like.dtype, device=like.device).view(3, 1, 1)
