"""FreqNet: high-pass filters and convolutions in the frequency domain (Tan et al., AAAI 2024)."""

from typing import cast, final

import torch
from torch import Tensor, nn

from fewshot.embeddings.backbones.base import Backbone, BackboneCard
from fewshot.embeddings.transforms import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    CenterCrop,
    InputRule,
    ShorterSide,
    Squash,
    Step,
)
from fewshot.embeddings.weights import WeightFile

_STEPS: dict[str, tuple[Step, ...]] = {
    "resize256": (Squash(256, 256),),
    "shorter256crop224": (ShorterSide(256), CenterCrop(224, 224)),
}
_SHARE = 4  # the masked block reaches from h//2 - h//4 to h//2 + h//4
_SPACE = (-2, -1)
_CHANNELS = (1,)


@final
class Freqnet(Backbone):
    """``resize256`` is the authors' setting; FiSeR's copy runs ``shorter256crop224``."""

    name = "freqnet"
    variants = tuple(_STEPS)

    def make_card(self) -> BackboneCard:
        return BackboneCard(
            name=self.full_name,
            layers={"feature": 512},
            layer="feature",
            input=InputRule(_STEPS[str(self.variant)], IMAGENET_MEAN, IMAGENET_STD),
            weights=(
                WeightFile(
                    "freqnet.pth",
                    licence="none stated",
                    manual="take the checkpoint that github.com/chuangchuangtan/FreqNet-DeepfakeDetection links, or "
                    "that of Setting-II at huggingface.co/HorizonTEL/AIGIBench",
                ),
            ),
            has_logit=True,
            equality="golden",
            parameters=1_850_433,
            gflops=5.93 if self.variant == "resize256" else 4.54,
            paper="Tan et al., Frequency-Aware Deepfake Detection: Improving Generalizability through Frequency Space "
            "Learning, AAAI 2024",
            reference="chuangchuangtan/FreqNet-DeepfakeDetection @ 2c6bd02; HorizonTEL/AIGIBench @ e9b95f8",
            licence="none stated",
            note="the masks follow from the input size: features of other sizes are another detector's",
        )

    def build(self) -> nn.Module:
        return _FreqNet()

    def features(self, batch: Tensor) -> dict[str, Tensor]:
        assert isinstance(self.network, _FreqNet)
        feature = self.network(batch)
        return {"feature": feature, "logit": self.network.fc1(feature)}


class _FreqNet(nn.Module):
    """The network under the authors' key names (specs/backbones.md 4.7)."""

    def __init__(self) -> None:
        super().__init__()
        from torchvision.models.resnet import Bottleneck, ResNet

        for number, (inputs, outputs) in enumerate(((3, 64), (64, 64), (256, 256), (256, 256)), start=1):
            self.register_parameter(f"weight{number}", nn.Parameter(torch.randn(outputs, inputs, 1, 1) * 0.1))
            self.register_parameter(f"bias{number}", nn.Parameter(torch.randn(outputs) * 0.1))
            self.add_module(f"realconv{number}", nn.Conv2d(outputs, outputs, 1, bias=False))
            self.add_module(f"imagconv{number}", nn.Conv2d(outputs, outputs, 1, bias=False))
        stages = ResNet(Bottleneck, [3, 4, 1, 1])
        self.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
        self.layer1: nn.Module = stages.layer1
        self.layer2: nn.Module = stages.layer2
        self.fc1 = nn.Linear(512, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Return (N, 512) from images (N, 3, H, W)."""
        hidden = high_pass(self._filtered(1, high_pass(images, _SPACE), stride=1), _CHANNELS)
        hidden = self._in_frequency(1, hidden)
        hidden = high_pass(self._filtered(2, high_pass(hidden, _SPACE), stride=2), _CHANNELS)
        hidden = self.layer1(self.maxpool(self._in_frequency(2, hidden)))
        hidden = self._in_frequency(3, self._filtered(3, high_pass(hidden, _SPACE), stride=1))
        hidden = self._in_frequency(4, self._filtered(4, high_pass(hidden, _SPACE), stride=2))
        return cast(Tensor, self.layer2(hidden).mean(dim=(2, 3)))

    def _filtered(self, number: int, hidden: Tensor, *, stride: int) -> Tensor:
        weight, bias = self.get_parameter(f"weight{number}"), self.get_parameter(f"bias{number}")
        return torch.relu(torch.nn.functional.conv2d(hidden, weight, bias, stride=stride))

    def _in_frequency(self, number: int, hidden: Tensor) -> Tensor:
        """Convolve real and imaginary part apart (FCL of the paper)."""
        spectrum = torch.fft.fftshift(torch.fft.fft2(hidden, norm="ortho"), dim=_SPACE)
        real = self.get_submodule(f"realconv{number}")(spectrum.real)
        imaginary = self.get_submodule(f"imagconv{number}")(spectrum.imag)
        shifted = torch.fft.ifftshift(torch.complex(real, imaginary), dim=_SPACE)
        return torch.relu(torch.fft.ifft2(shifted, norm="ortho").real)


def high_pass(hidden: Tensor, dimensions: tuple[int, ...]) -> Tensor:
    """Return the rectified signal without the middle block of its shifted spectrum: the shape of ``hidden``.

    Args:
        hidden: (N, C, H, W) floating.
        dimensions: along which the spectrum is taken: space, or the channels.
    """
    spectrum = torch.fft.fftshift(torch.fft.fftn(hidden, dim=dimensions, norm="ortho"), dim=dimensions)
    block: list[slice] = [slice(None)] * hidden.ndim
    for dimension in dimensions:
        length = hidden.shape[dimension]
        block[dimension] = slice(length // 2 - length // _SHARE, length // 2 + length // _SHARE)
    spectrum[tuple(block)] = 0
    shifted = torch.fft.ifftshift(spectrum, dim=dimensions)
    return torch.relu(torch.fft.ifftn(shifted, dim=dimensions, norm="ortho").real)
