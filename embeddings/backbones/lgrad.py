"""LGrad: a ResNet-50 on the gradient of a StyleGAN discriminator (Tan et al., CVPR 2023)."""

import math
from typing import Any, cast, final

import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from fewshot.embeddings.backbones.base import Backbone
from fewshot.embeddings.card import BackboneCard, WeightFile
from fewshot.embeddings.inputs.rule import InputRule
from fewshot.embeddings.inputs.transforms import IMAGENET_MEAN, IMAGENET_STD, Squash
from fewshot.embeddings.networks.trunks import ResNet50

DISCRIMINATOR = "discriminator"
_RESOLUTIONS = (256, 128, 64, 32, 16, 8)
_LAST_RESOLUTION = 4
_FUSED_FROM = 128  # genforce: fused_scale "auto" fuses convolution and down-sampling from this resolution on
_SMALLEST_STD = 1e-8


@final
class Lgrad(Backbone):
    """``grad256`` is the original; the port of AIGCDetectBenchmark and SIDBench exchanges red and blue."""

    name = "lgrad"
    variants = ("grad256", "grad256-bgr")
    kept = ("lod",)

    def make_card(self) -> BackboneCard:
        port = self.variant == "grad256-bgr"
        file = "LGrad.pth" if port else "LGrad-4class-Trainon-Progan_car_cat_chair_horse.pth"
        folder = "dkarageo/sidbench"
        return BackboneCard(
            name=self.full_name,
            layers={"feature": 2048},
            layer="feature",
            input=InputRule((Squash(256, 256),), (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
            weights=(
                WeightFile(file, repository=folder, hub_file=f"lgrad/{file}", licence="none stated"),
                WeightFile(
                    "karras2019stylegan-bedrooms-256x256_discriminator.pth",
                    part=DISCRIMINATOR,
                    repository=folder,
                    hub_file="preprocessing/karras2019stylegan-bedrooms-256x256_discriminator.pth",
                    licence="CC BY-NC 4.0 (StyleGAN)",
                    non_commercial=True,
                ),
            ),
            has_logit=True,
            equality="golden" if not port else "code-equivalent",
            batch=1,
            parameters=23_052_353 + 23_510_081,
            gflops=56.37,
            paper="Tan et al., Learning on Gradients: Generalized Artifacts Representation for GAN-Generated Images "
            "Detection, CVPR 2023",
            reference="chuangchuangtan/LGrad @ 7cb5973; genforce's port of StyleGAN's discriminator",
            licence="none stated",
            note="one image at a time, with a backward pass: about six times the cost of its ResNet-50",
        )

    def build(self) -> nn.Module:
        return nn.ModuleDict({"net": ResNet50(outputs=1), DISCRIMINATOR: _Discriminator()})

    def features(self, batch: Tensor) -> dict[str, Tensor]:
        classifier = self._part("net")
        assert isinstance(classifier, ResNet50)
        feature = classifier(self._classifier_input(self._gradient(batch)[0]))
        return {"feature": feature, "logit": classifier.fc(feature)}

    def stages(self, image: Image.Image) -> dict[str, NDArray[Any]]:
        """Return ``score``, ``grad`` (3, 256, 256), ``gradimg`` (256, 256, 3) uint8 and the classifier's ``input``."""
        batch = self.normalise(torch.from_numpy(self.preprocess(image))[None])
        gradient, score = self._gradient(batch)
        bytes_ = quantise(gradient).permute(0, 2, 3, 1)[0].to(torch.uint8)
        return {
            "score": score.cpu().numpy(),
            "grad": gradient[0].cpu().numpy(),
            "gradimg": bytes_.cpu().numpy(),
            "input": self._classifier_input(gradient)[0].cpu().numpy(),
        }

    def _part(self, name: str) -> nn.Module:
        assert isinstance(self.network, nn.ModuleDict)
        return self.network[name]

    def _gradient(self, batch: Tensor) -> tuple[Tensor, Tensor]:
        """Return d score / d pixels, (1, 3, 256, 256), and the score (1, 1)."""
        with torch.inference_mode(False), torch.enable_grad():
            pixels = batch.clone().requires_grad_(True)
            score = self._part(DISCRIMINATOR)(pixels)
            (gradient,) = torch.autograd.grad(score.sum(), pixels)
        return gradient.detach(), score.detach()

    def _classifier_input(self, gradient: Tensor) -> Tensor:
        images = quantise(gradient) / 255
        if self.variant == "grad256-bgr":
            images = images.flip(1)
        mean = torch.tensor(IMAGENET_MEAN, device=images.device).view(-1, 1, 1)
        std = torch.tensor(IMAGENET_STD, device=images.device).view(-1, 1, 1)
        return (images - mean) / std


def quantise(gradient: Tensor) -> Tensor:
    """Return gradients stretched to 0..255 over each image and rounded to the nearest grey level, as float."""
    shifted = gradient - gradient.amin(dim=(1, 2, 3), keepdim=True)
    largest = shifted.amax(dim=(1, 2, 3), keepdim=True)
    return torch.round(shifted / torch.where(largest == 0, torch.ones_like(largest), largest) * 255)


def _channels(resolution: int) -> int:
    return min((16 << 10) // resolution, 512)


class _Discriminator(nn.Module):
    """StyleGAN's discriminator at 256 pixels, in genforce's key names; ``lod`` = 0, so only ``input0`` is used."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("lod", torch.zeros(()))
        for index, resolution in enumerate((*_RESOLUTIONS, _LAST_RESOLUTION)):
            width = _channels(resolution)
            self.add_module(f"input{index}", _Convolution(3, width, kernel=1))
            if resolution == _LAST_RESOLUTION:
                self.add_module(f"layer{2 * index}", _Convolution(width + 1, width))
                self.add_module(f"layer{2 * index + 1}", _Dense(width * resolution**2, _channels(resolution // 2)))
                self.add_module(f"layer{2 * index + 2}", _Dense(_channels(resolution // 2), 1, last=True))
                break
            self.add_module(f"layer{2 * index}", _Convolution(width, width))
            self.add_module(
                f"layer{2 * index + 1}",
                _Downsampling(width, _channels(resolution // 2), fused=resolution >= _FUSED_FROM),
            )

    def forward(self, images: Tensor) -> Tensor:
        """Return scores (N, 1) of images (N, 3, 256, 256) in [-1, 1]."""
        hidden = self._run("input0", images)
        for index in range(len(_RESOLUTIONS)):
            hidden = self._run(f"layer{2 * index + 1}", self._run(f"layer{2 * index}", hidden))
        last = 2 * len(_RESOLUTIONS)
        hidden = self._run(f"layer{last}", _with_batch_deviation(hidden))
        return self._run(f"layer{last + 2}", self._run(f"layer{last + 1}", hidden.flatten(1)))

    def _run(self, name: str, hidden: Tensor) -> Tensor:
        return cast(Tensor, self.get_submodule(name)(hidden))


def _with_batch_deviation(hidden: Tensor) -> Tensor:
    """Append the standard deviation over the batch, which makes this network depend on the whole batch."""
    deviation = torch.sqrt((hidden - hidden.mean(dim=0, keepdim=True)).square().mean(dim=0) + _SMALLEST_STD).mean()
    return torch.cat([hidden, deviation.expand(len(hidden), 1, *hidden.shape[2:])], dim=1)


class _Convolution(nn.Module):
    """A convolution whose weights are scaled at run time (equalised learning rate), and a leaky ReLU."""

    def __init__(self, inputs: int, outputs: int, *, kernel: int = 3) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.scale = math.sqrt(2.0 / (inputs * kernel * kernel))

    def forward(self, hidden: Tensor) -> Tensor:
        padding = self.weight.shape[-1] // 2
        return functional.leaky_relu(
            functional.conv2d(hidden, self.weight * self.scale, self.bias, padding=padding), 0.2
        )


class _Blur(nn.Module):
    """[1, 2, 1] x [1, 2, 1] / 16 in each channel; the kernel lies in the checkpoint."""

    kernel: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        row = torch.tensor([1.0, 2.0, 1.0]) / 4
        self.register_buffer("kernel", torch.outer(row, row).expand(channels, 1, 3, 3).clone())

    def forward(self, hidden: Tensor) -> Tensor:
        return functional.conv2d(hidden, self.kernel, padding=1, groups=hidden.shape[1])


class _Downsampling(nn.Module):
    """Blur, then halve: by a stride-2 kernel spread over 4x4 where ``fused``, else by a mean after the convolution."""

    def __init__(self, inputs: int, outputs: int, *, fused: bool) -> None:
        super().__init__()
        self.blur = _Blur(inputs)
        self.weight = nn.Parameter(torch.randn(outputs, inputs, 3, 3))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.scale = math.sqrt(2.0 / (inputs * 9))
        self.fused = fused

    def forward(self, hidden: Tensor) -> Tensor:
        weight, hidden = self.weight * self.scale, self.blur(hidden)
        if self.fused:
            spread = functional.pad(weight, (1, 1, 1, 1))
            spread = spread[..., 1:, 1:] + spread[..., :-1, 1:] + spread[..., 1:, :-1] + spread[..., :-1, :-1]
            hidden = functional.conv2d(hidden, spread * 0.25, self.bias, stride=2, padding=1)
        else:
            hidden = functional.avg_pool2d(functional.conv2d(hidden, weight, self.bias, padding=1), 2)
        return functional.leaky_relu(hidden, 0.2)


class _Dense(nn.Module):
    def __init__(self, inputs: int, outputs: int, *, last: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.scale = (1.0 if last else math.sqrt(2.0)) / math.sqrt(inputs)
        self.last = last

    def forward(self, hidden: Tensor) -> Tensor:
        hidden = functional.linear(hidden, self.weight * self.scale, self.bias)
        return hidden if self.last else functional.leaky_relu(hidden, 0.2)
