"""Xception up to its pooled features (Chollet, CVPR 2017), under the key names of its usual PyTorch form."""

from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn

POOLED = 2048
# widths and strides of the twelve blocks; ICTMCG/Fleet @ fab6b41 agrees with the paper's figure 5
_ENTRY = (64, 128, 256, 728)
_MIDDLE_BLOCKS, _MIDDLE = 8, 728


class Xception(nn.Module):
    """Separable convolutions in twelve residual blocks; gives the global average before the classifier.

    As in Fleet's network the first convolution does not shrink the image (the paper's does), so that 128 pixels leave
    maps of 8 x 8. The classifier ``fc``, which Fleet's files carry and its routing never reads, is not built.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 32, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(32)
        self.conv2 = nn.Conv2d(32, 64, 3, bias=False)
        self.bn2 = nn.BatchNorm2d(64)
        blocks = [
            *(_Block(before, after, first_grows=True, rectified=before != _ENTRY[0], stride=2)
              for before, after in pairwise(_ENTRY)),
            *(_Block(_MIDDLE, _MIDDLE, convolutions=3) for _ in range(_MIDDLE_BLOCKS)),
            _Block(_MIDDLE, 1024, first_grows=False, stride=2),
        ]  # fmt: skip
        self.blocks = tuple(f"block{number}" for number in range(1, len(blocks) + 1))
        for name, block in zip(self.blocks, blocks, strict=True):
            self.add_module(name, block)
        self.conv3 = _Separable(1024, 1536)
        self.bn3 = nn.BatchNorm2d(1536)
        self.conv4 = _Separable(1536, POOLED)
        self.bn4 = nn.BatchNorm2d(POOLED)

    def forward(self, images: Tensor) -> Tensor:
        """Return (N, 2048) of normalised images (N, 3, H, W)."""
        maps = torch.relu(self.bn1(self.conv1(images)))
        maps = torch.relu(self.bn2(self.conv2(maps)))
        for name in self.blocks:
            maps = self.get_submodule(name)(maps)
        maps = torch.relu(self.bn3(self.conv3(maps)))
        maps = torch.relu(self.bn4(self.conv4(maps)))
        return torch.nn.functional.adaptive_avg_pool2d(maps, 1).flatten(1)


class _Separable(nn.Module):
    """A depthwise 3 x 3 convolution, then a pointwise one; no bias."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, before, 3, padding=1, groups=before, bias=False)
        self.pointwise = nn.Conv2d(before, after, 1, bias=False)

    def forward(self, maps: Tensor) -> Tensor:
        return cast(Tensor, self.pointwise(self.conv1(maps)))


class _Block(nn.Module):
    """Separable convolutions with a shortcut; ``rep`` numbers rectifiers, convolutions and normalisations in turn.

    Args:
        before, after: channels.
        convolutions: how many.
        first_grows: whether the first of them widens, else the last.
        rectified: whether the first is preceded by a rectifier.
        stride: of the block; above 1 the last is followed by a maximum over 3 x 3.
    """

    def __init__(
        self,
        before: int,
        after: int,
        *,
        convolutions: int = 2,
        first_grows: bool = True,
        rectified: bool = True,
        stride: int = 1,
    ) -> None:
        super().__init__()
        between = after if first_grows else before
        layers: list[nn.Module] = []
        for narrow, wide in pairwise((before, *(between,) * (convolutions - 1), after)):
            layers += [nn.ReLU(), _Separable(narrow, wide), nn.BatchNorm2d(wide)]
        if stride > 1:
            layers.append(nn.MaxPool2d(3, stride, 1))
        self.rep = nn.Sequential(*layers[0 if rectified else 1 :])
        self.shrinks = stride > 1 or before != after
        if self.shrinks:
            self.skip = nn.Conv2d(before, after, 1, stride=stride, bias=False)
            self.skipbn = nn.BatchNorm2d(after)

    def forward(self, maps: Tensor) -> Tensor:
        shortcut = self.skipbn(self.skip(maps)) if self.shrinks else maps
        return cast(Tensor, self.rep(maps) + shortcut)
