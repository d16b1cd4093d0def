"""FreqNet: high-pass filters and convolutions in the frequency domain (Tan et al., AAAI 2024)."""

from typing import cast, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from fewshot.embeddings.backbones.base import Backbone
from fewshot.embeddings.card import BackboneCard, WeightFile
from fewshot.embeddings.inputs.rule import InputRule
from fewshot.embeddings.inputs.transforms import IMAGENET_MEAN, IMAGENET_STD, SHORTER_256_CROP_224, Squash

_STEPS = {"resize256": (Squash(256, 256),), "shorter256crop224": SHORTER_256_CROP_224}
_SHARE = 4  # the masked block reaches from h//2 - h//4 to h//2 + h//4


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
            equality="golden" if self.variant == "resize256" else "code-equivalent",
            parameters=1_850_433,
            gflops=5.29 if self.variant == "resize256" else 4.05,
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
    """The network under the authors' key names (networks/freqnet.py, as in AIGIBench @ e9b95f8)."""

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
        hidden = channel_high_pass(self._filtered(1, high_pass(images), stride=1))
        hidden = self._in_frequency(1, hidden)
        hidden = channel_high_pass(self._filtered(2, high_pass(hidden), stride=2))
        hidden = self.layer1(self.maxpool(self._in_frequency(2, hidden)))
        hidden = self._in_frequency(3, self._filtered(3, high_pass(hidden), stride=1))
        hidden = self._in_frequency(4, self._filtered(4, high_pass(hidden), stride=2))
        return cast(Tensor, self.layer2(hidden).mean(dim=(2, 3)))

    def _filtered(self, number: int, hidden: Tensor, *, stride: int) -> Tensor:
        weight, bias = self.get_parameter(f"weight{number}"), self.get_parameter(f"bias{number}")
        return torch.relu(functional.conv2d(hidden, weight, bias, stride=stride))

    def _in_frequency(self, number: int, hidden: Tensor) -> Tensor:
        """Convolve real and imaginary part apart (FCL of the paper).

        A 1x1 convolution without bias keeps the symmetry of a real signal's spectrum, so half of it suffices.
        """
        spectrum = torch.fft.rfft2(_transformable(hidden), norm="ortho")
        real = _transformable(self.get_submodule(f"realconv{number}")(spectrum.real))
        imaginary = _transformable(self.get_submodule(f"imagconv{number}")(spectrum.imag))
        return torch.relu(torch.fft.irfft2(torch.complex(real, imaginary), s=hidden.shape[-2:], norm="ortho"))


def _transformable(hidden: Tensor) -> Tensor:
    """Return ``hidden`` in at least float32: there is no Fourier transform of bfloat16, nor of float16 in all sizes."""
    return hidden.to(torch.promote_types(hidden.dtype, torch.float32))


def high_pass(hidden: Tensor) -> Tensor:
    """Return the rectified signal without the middle block of its shifted spectrum over rows and columns.

    The reference masks the whole spectrum, from -1/4 inclusive to 1/4 exclusive of the sampling rate, and takes the
    real part. That equals, on half of the spectrum, the mask averaged over both signs of the frequencies.

    Args:
        hidden: (N, C, H, W) floating.
    """
    height, width = hidden.shape[-2:]
    hidden = _transformable(hidden)
    low = torch.outer(_low(height), _low(width))
    mirrored = torch.outer(_low(height, sign=-1), _low(width, sign=-1))
    kept = (1 - (low + mirrored) / 2)[:, : width // 2 + 1].to(hidden)
    spectrum = torch.fft.rfft2(hidden, norm="ortho") * kept
    return torch.relu(torch.fft.irfft2(spectrum, s=(height, width), norm="ortho"))


def channel_high_pass(hidden: Tensor) -> Tensor:
    """Return the same along the channels, as the matrix that this linear step is."""
    channels = hidden.shape[1]
    spectrum = torch.fft.fft(torch.eye(channels, dtype=torch.float64), dim=0)
    matrix = torch.fft.ifft(spectrum * (1 - _low(channels))[:, None], dim=0).real
    return torch.relu(functional.conv2d(hidden, matrix[:, :, None, None].to(hidden)))


def _low(length: int, *, sign: int = 1) -> Tensor:
    """Return 1 where a frequency lies in the block, else 0, as an unshifted spectrum lies: (length,) float64."""
    frequency = torch.fft.ifftshift(torch.arange(length) - length // 2) * sign
    centred = (frequency + length // 2) % length - length // 2
    inside: Tensor = (centred >= -(length // _SHARE)) & (centred < length // _SHARE)
    return inside.double()
