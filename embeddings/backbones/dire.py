"""DIRE: how far a diffusion model's reconstruction is from the image (Wang et al., ICCV 2023)."""

from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from fewshot.embeddings.backbones.base import Backbone
from fewshot.embeddings.card import BackboneCard, WeightFile
from fewshot.embeddings.inputs.detector_crops import AdmCrop
from fewshot.embeddings.inputs.rule import InputRule
from fewshot.embeddings.inputs.transforms import IMAGENET_MEAN, IMAGENET_STD
from fewshot.embeddings.networks.diffusion import AdmUNet, linear_schedule, reconstruct
from fewshot.embeddings.networks.trunks import ResNet50

DIFFUSION = "diffusion"
SIZE = 256
CROP = 224


@final
class Dire(Backbone):
    """The map |x - reconstruction| through a ResNet-50; 20 steps of DDIM inversion and 20 of sampling."""

    name = "dire"

    def make_card(self) -> BackboneCard:
        return BackboneCard(
            name=self.full_name,
            layers={"feature": 2048},
            layer="feature",
            input=InputRule((AdmCrop(SIZE),), (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
            weights=(
                WeightFile(
                    "lsun_adm.pth", repository="dkarageo/sidbench", hub_file="dire/lsun_adm.pth", licence="none stated"
                ),
                WeightFile(
                    "256x256_diffusion_uncond.pt",
                    part=DIFFUSION,
                    url="https://openaipublic.blob.core.windows.net/diffusion/jul-2021/256x256_diffusion_uncond.pt",
                    licence="MIT",
                ),
            ),
            has_logit=True,
            equality="unverified",
            parameters=552_814_086 + 23_510_081,
            gflops=89_600.0,
            paper="Wang et al., DIRE for Diffusion-Generated Image Detection, ICCV 2023",
            reference="ZhendongWang6/DIRE @ 1f89fff; openai/guided-diffusion",
            licence="none stated",
            note="40 passes of a 553 M network an image: half an hour on two CPU cores, a few seconds on a GPU; the "
            "released classifier tells file formats apart",
        )

    def build(self) -> nn.Module:
        return nn.ModuleDict({"net": ResNet50(outputs=1), DIFFUSION: AdmUNet()})

    def features(self, batch: Tensor) -> dict[str, Tensor]:
        assert isinstance(self.network, nn.ModuleDict)
        classifier = self.network["net"]
        assert isinstance(classifier, ResNet50)
        feature = classifier(classifier_input(self._map(batch)))
        return {"feature": feature, "logit": classifier.fc(feature)}

    def stages(self, image: Image.Image) -> dict[str, NDArray[Any]]:
        """Add ``dire``, the map as bytes: (256, 256, 3) uint8."""
        batch = self.normalise(torch.from_numpy(self.preprocess(image))[None])
        with torch.inference_mode():
            found = self._map(batch)
        return {
            "input": batch[0].cpu().numpy(),
            "dire": found[0].permute(1, 2, 0).cpu().numpy().astype(np.uint8),
        }

    def _map(self, batch: Tensor) -> Tensor:
        assert isinstance(self.network, nn.ModuleDict)
        return difference_map(batch, reconstruct(self.network[DIFFUSION], batch, linear_schedule()))


def difference_map(images: Tensor, reconstructed: Tensor) -> Tensor:
    """Return |images - reconstructed| of images in [-1, 1] as whole grey levels 0..255, cut off below: float."""
    return ((images - reconstructed).abs() * 255.0 / 2.0).clamp(0, 255).floor()


def classifier_input(maps: Tensor) -> Tensor:
    """Return the middle 224 pixels of maps (N, 3, 256, 256), ImageNet-normalised."""
    margin = (SIZE - CROP) // 2
    images = maps[..., margin : margin + CROP, margin : margin + CROP] / 255
    mean = torch.tensor(IMAGENET_MEAN, device=maps.device).view(-1, 1, 1)
    std = torch.tensor(IMAGENET_STD, device=maps.device).view(-1, 1, 1)
    return (images - mean) / std
