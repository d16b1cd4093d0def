"""FerretNet-S: the residual of a local median before a small network (xigua7105/FerretNet)."""

from typing import Any, cast, final

import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from fewshot.embeddings.backbones.base import Backbone
from fewshot.embeddings.card import BackboneCard, WeightFile
from fewshot.embeddings.inputs.rule import InputRule
from fewshot.embeddings.inputs.transforms import CLIP_MEAN, CLIP_STD, CenterCrop
from fewshot.embeddings.networks.residuals import median_residual


@final
class Ferretnet(Backbone):
    """FerretNet-S with the 3x3 median residual, trained on four ProGAN classes."""

    name = "ferretnet"
    variants = ("s-median-3",)

    def make_card(self) -> BackboneCard:
        return BackboneCard(
            name=self.full_name,
            layers={"feature": 128},
            layer="feature",
            input=InputRule((CenterCrop(256, 256),), CLIP_MEAN, CLIP_STD),
            weights=(
                WeightFile(
                    "ferretnet-s-median-3.pth",
                    licence="Apache-2.0",
                    size=544_441,
                    sha256="5604ab1ade78dc615181b7d014242bf26f7bc5e2bc82351e6e8d42ce5f28f485",
                    manual="take the FerretNet-S median-3 checkpoint from github.com/xigua7105/FerretNet",
                ),
            ),
            has_logit=True,
            equality="golden",
            parameters=126_289,
            gflops=0.59,
            paper="FerretNet: Efficient Synthetic Image Detection via Local Pixel Dependencies, 2025",
            reference="xigua7105/FerretNet",
            licence="Apache-2.0",
            note="works on native files only: after any re-encoding its own head fires on nothing",
        )

    def build(self) -> nn.Module:
        return _FerretNet()

    def features(self, batch: Tensor) -> dict[str, Tensor]:
        assert isinstance(self.network, _FerretNet)
        feature = self.network(median_residual(batch))
        return {"feature": feature, "logit": self.network.logit(feature)}

    def stages(self, image: Image.Image) -> dict[str, NDArray[Any]]:
        """Add ``residual``, (3, 256, 256)."""
        found = super().stages(image)
        return {**found, "residual": median_residual(torch.from_numpy(found["input"])[None])[0].numpy()}


class _FerretNet(nn.Module):
    """The network after the residual, under the authors' key names (src/model/ferretnet.py @ 9572e1b)."""

    def __init__(self) -> None:
        super().__init__()
        self.cbr1 = _conv_norm_relu(3, 16, stride=1)
        self.cbr2 = _conv_norm_relu(16, 32, stride=2)
        self.feature = nn.Sequential(_stage(32, 64), _stage(64, 128), nn.Conv2d(128, 128, 1, bias=False))
        self.logit = nn.Sequential(nn.Dropout(), nn.Linear(128, 1))

    def forward(self, residual: Tensor) -> Tensor:
        """Return (N, 128) from residuals (N, 3, H, W)."""
        return cast(Tensor, self.feature(self.cbr2(self.cbr1(residual)))).mean(dim=(2, 3))


def _conv_norm_relu(inputs: int, outputs: int, *, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


def _stage(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(_Block(inputs, outputs, stride=2), _Block(outputs, outputs, stride=1))


class _Block(nn.Module):
    """Two dilations of a grouped convolution, a depthwise-separable one, and a shortcut."""

    def __init__(self, inputs: int, outputs: int, *, stride: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            _DilatedPair(inputs, outputs, stride=stride),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
            _Separable(outputs),
            nn.BatchNorm2d(outputs),
        )
        self.shortcut = nn.Sequential()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride=stride), nn.BatchNorm2d(outputs))

    def forward(self, hidden: Tensor) -> Tensor:
        return torch.relu(self.layers(hidden) + self.shortcut(hidden))


class _DilatedPair(nn.Module):
    def __init__(self, inputs: int, outputs: int, *, stride: int) -> None:
        super().__init__()
        grouped = {"stride": stride, "groups": inputs, "bias": False}
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1, **grouped)  # type: ignore[arg-type]  # one dict, two kinds
        self.conv2 = nn.Conv2d(inputs, outputs, 3, padding=2, dilation=2, **grouped)  # type: ignore[arg-type]
        self.conv3 = nn.Conv2d(outputs, outputs, 1, bias=False)

    def forward(self, hidden: Tensor) -> Tensor:
        return cast(Tensor, self.conv3(self.conv1(hidden) + self.conv2(hidden)))


class _Separable(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.depth_wise = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
        self.point_wise = nn.Conv2d(channels, channels, 1, bias=False)

    def forward(self, hidden: Tensor) -> Tensor:
        return cast(Tensor, self.point_wise(self.depth_wise(hidden)))
