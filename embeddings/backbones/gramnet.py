"""Gram-Net: ResNet-18 with six branches that see Gram matrices (Liu et al., CVPR 2020)."""

from typing import final

import torch
from torch import Tensor, nn

from fewshot.embeddings.backbones.base import Backbone
from fewshot.embeddings.card import BackboneCard, WeightFile
from fewshot.embeddings.inputs.rule import InputRule
from fewshot.embeddings.inputs.transforms import IMAGENET_MEAN, IMAGENET_STD, SHORTER_256_CROP_224, CenterCrop, Squash

_STEPS = {
    "shorter256crop224": SHORTER_256_CROP_224,
    "resize256crop224": (Squash(256, 256), CenterCrop(224, 224)),
}
# Where each branch reads, its channels there, and the names of its convolution and of its two halving stages.
_BRANCHES = (
    ("input", 3, "conv_interi_0", "gi_fc1", "gi_fc2"),
    ("stem", 64, "conv_inter0_0", "g0_fc1", "g0_fc2"),
    ("pool", 64, "conv_inter1_0", "g_fc1r", "g_fc2r"),
    ("layer1", 64, "conv_inter2_0", "g2_fc1", "g2_fc2"),
    ("layer2", 128, "conv_inter3_0", "g3_fc1", "g3_fc2"),
    ("layer3", 256, "conv_inter4_0", "g4_fc1", "g4_fc2"),
)
_MAPS = 32


@final
class Gramnet(Backbone):
    """The benchmarks' version: AIGCDetectBenchmark's input by default, AIGIBench's as ``resize256crop224``."""

    name = "gramnet"
    variants = tuple(_STEPS)

    def make_card(self) -> BackboneCard:
        return BackboneCard(
            name=self.full_name,
            layers={"feature": 512, "concat704": 704},
            layer="feature",
            input=InputRule(_STEPS[str(self.variant)], IMAGENET_MEAN, IMAGENET_STD),
            weights=(
                WeightFile(
                    "Gram.pth",
                    repository="dkarageo/sidbench",
                    hub_file="gramnet/Gram.pth",
                    licence="none stated",
                ),
            ),
            has_logit=True,
            equality="golden" if self.variant == "resize256crop224" else "code-equivalent",
            parameters=11_734_210,
            gflops=4.64,
            paper="Liu et al., Global Texture Enhancement for Fake Face Detection in the Wild, CVPR 2020",
            reference="liuzhengzhe/Global_Texture_Enhancement_for_Fake_Face_Detection_in_the-Wild @ a416145; "
            "HorizonTEL/AIGIBench @ e9b95f8",
            licence="none stated",
            note="the authors' own files are pickled modules and are refused; concat704 lies before the trained head",
        )

    def build(self) -> nn.Module:
        return _GramNet()

    def features(self, batch: Tensor) -> dict[str, Tensor]:
        assert isinstance(self.network, _GramNet)
        joined = self.network(batch)
        head = self.network.fcnewr
        feature = head[:3](joined)
        return {"feature": feature, "concat704": joined, "logit": head[3](feature)}


class _Scale(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.full((1,), 0.001))


class _GramNet(nn.Module):
    """The network under the benchmarks' key names (Ekko-zn/AIGCDetectBenchmark, networks/resnet_gram.py)."""

    def __init__(self) -> None:
        super().__init__()
        from torchvision.models import resnet18

        trunk = resnet18(weights=None)
        for name, child in trunk.named_children():
            if name not in ("avgpool", "fc"):
                self.add_module(name, child)
        for _, channels, maps, first, second in _BRANCHES:
            self.add_module(maps, _stage(channels, _MAPS, stride=1))
            self.add_module(first, _stage(1, 16, stride=2))
            self.add_module(second, _stage(16, 32, stride=2))
        self.scale = _Scale()
        self.fcnewr = nn.Sequential(nn.Linear(704, 512), nn.ReLU(inplace=True), nn.Dropout(), nn.Linear(512, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Return (N, 704): pooled ResNet-18 and the six branches, from images (N, 3, H, W)."""
        seen = {"input": images}
        hidden = self._run(images, "conv1", "bn1")
        seen["stem"] = hidden = torch.relu(hidden)
        seen["pool"] = hidden = self._run(hidden, "maxpool")
        for name in ("layer1", "layer2", "layer3"):
            seen[name] = hidden = self._run(hidden, name)
        pooled = self._run(hidden, "layer4").mean(dim=(2, 3))
        branches = [
            self._run(gram(self._run(seen[where], maps)), first, second).mean(dim=(2, 3)) * self.scale.scale
            for where, _, maps, first, second in _BRANCHES
        ]
        return torch.cat([pooled, *branches], dim=1)

    def _run(self, hidden: Tensor, *names: str) -> Tensor:
        for name in names:
            hidden = self.get_submodule(name)(hidden)
        return hidden


def gram(maps: Tensor) -> Tensor:
    """Return the Gram matrices of feature maps as one-channel images: (N, 1, C, C) from (N, C, H, W)."""
    count, channels, height, width = maps.shape
    flat = maps.reshape(count, channels, height * width)
    return (torch.bmm(flat, flat.transpose(1, 2)) / (channels * height * width))[:, None]


def _stage(inputs: int, outputs: int, *, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )
