"""Tiny-LaDeDa: four convolutions on a diagonal gradient (Cavia et al. 2024)."""

from typing import Any, cast, final

import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from fewshot.embeddings.backbones.base import Backbone
from fewshot.embeddings.card import BackboneCard, WeightFile
from fewshot.embeddings.inputs.rule import InputRule
from fewshot.embeddings.inputs.transforms import IMAGENET_MEAN, IMAGENET_STD, Squash

_HOME = (
    "https://raw.githubusercontent.com/barcavia/RealTime-DeepfakeDetection-in-the-RealWorld/main/weights/Tiny_LaDeDa"
)
_FILES = {
    "wildrf": ("WildRF_Tiny_LaDeDa.pth", 11_654, "5e063100564d2ddfe9bf48074e351c8f2b38855552574a18a0738e7f2a764d80"),
    "forensynth": (
        "ForenSynth_Tiny_LaDeDa.pth",
        12_405,
        "4624258c70489cbff2778153ce6fc7f5ed16170b59a541a06dc3d4c759fd68a6",
    ),
}
# data preprocessing "right_diag": a depthwise 3x3 gradient along the diagonal
RIGHT_DIAGONAL = ((-2.0, -1.0, 0.0), (-1.0, 0.0, 1.0), (0.0, 1.0, 2.0))


@final
class TinyLadeda(Backbone):
    """1,297 parameters, trained on WildRF or ForenSynth."""

    name = "tiny-ladeda"
    variants = ("wildrf", "forensynth")

    def make_card(self) -> BackboneCard:
        file, size, digest = _FILES[str(self.variant)]
        return BackboneCard(
            name=self.full_name,
            layers={"feature": 8},
            layer="feature",
            input=InputRule((Squash(256, 256),), IMAGENET_MEAN, IMAGENET_STD),
            weights=(
                WeightFile(
                    file,
                    url=f"{_HOME}/{file}",
                    licence="custom research licence",
                    non_commercial=True,
                    size=size,
                    sha256=digest,
                ),
            ),
            has_logit=True,
            equality="golden",
            parameters=1_297,
            gflops=0.11,
            paper="Cavia et al., Real-Time Deepfake Detection in the Real-World, arXiv 2406.09398",
            reference="barcavia/RealTime-DeepfakeDetection-in-the-RealWorld @ e734562",
            licence="custom research licence",
            note="eight features: a lower bound of what a refitted head can use",
        )

    def build(self) -> nn.Module:
        return _TinyLaDeDa()

    def features(self, batch: Tensor) -> dict[str, Tensor]:
        assert isinstance(self.network, _TinyLaDeDa)
        feature = self.network(diagonal_gradient(batch))
        return {"feature": feature, "logit": self.network.fc(feature)}

    def stages(self, image: Image.Image) -> dict[str, NDArray[Any]]:
        """Add ``gradient``, (3, 256, 256)."""
        found = super().stages(image)
        return {**found, "gradient": diagonal_gradient(torch.from_numpy(found["input"])[None])[0].numpy()}


def diagonal_gradient(images: Tensor) -> Tensor:
    """Return the depthwise 3x3 gradient of images (N, 3, H, W), zero-padded to the same size."""
    kernel = torch.tensor(RIGHT_DIAGONAL, dtype=images.dtype, device=images.device).expand(3, 1, 3, 3)
    return torch.nn.functional.conv2d(images, kernel, padding=1, groups=3)


class _TinyLaDeDa(nn.Module):
    """The network after the gradient, with the key names of the authors' files."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 1, bias=False)
        self.conv2 = nn.Conv2d(8, 8, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.layer1 = nn.Sequential(_Block())
        self.fc = nn.Linear(8, 1)

    def forward(self, gradient: Tensor) -> Tensor:
        """Return (N, 8) from gradients (N, 3, H, W)."""
        hidden = torch.relu(self.bn1(self.conv2(self.conv1(gradient))))
        hidden = cast(Tensor, self.layer1(hidden))
        # the authors' AvgPool2d adds up one by one: a mean over both axes differs by 4e-5 at these sizes
        return torch.nn.functional.avg_pool2d(hidden, hidden.shape[-2:]).flatten(1)


class _Block(nn.Module):
    """A 1x1 and a valid stride-2 3x3 convolution; the tiny network has no shortcut (its golden output shows it)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(8, 8, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.conv2 = nn.Conv2d(8, 8, 3, stride=2, bias=False)
        self.bn2 = nn.BatchNorm2d(8)

    def forward(self, hidden: Tensor) -> Tensor:
        return torch.relu(self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(hidden))))))
