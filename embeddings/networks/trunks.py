"""Residual networks that several detectors share: torchvision's ResNet-50 and the shortened trunk of NPR.

Both keep torchvision's key names, which are those of the authors' checkpoints.
"""

from torch import Tensor, nn


class ShortResNet(nn.Module):
    """The trunk of NPR and its kin: 3x3 stride-2 stem, ``layer1`` and ``layer2`` of ResNet-50, and a head ``fc1``.

    Source: chuangchuangtan/NPR-DeepfakeDetection @ 781ced3, networks/resnet.py.
    """

    dimension = 512

    def __init__(self, *, outputs: int = 1) -> None:
        super().__init__()
        from torchvision.models.resnet import Bottleneck, ResNet

        stages = ResNet(Bottleneck, [3, 4, 1, 1])
        self.conv1 = nn.Conv2d(3, 64, kernel_size=3, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
        self.layer1: nn.Module = stages.layer1
        self.layer2: nn.Module = stages.layer2
        self.fc1 = nn.Linear(self.dimension, outputs)

    def forward(self, images: Tensor) -> Tensor:
        """Return (N, 512), the globally averaged output of ``layer2``, from images (N, 3, H, W)."""
        hidden = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        pooled: Tensor = self.layer2(self.layer1(hidden)).mean(dim=(2, 3))
        return pooled


class ResNet50(nn.Module):
    """torchvision's ResNet-50 with its last linear layer apart: ``forward`` returns its input (N, 2048).

    The parameters are held by ``self`` under torchvision's own names, ``conv1.weight`` to ``fc.bias``.

    Args:
        outputs: of ``fc``; 0 leaves it out.
        channels: of the input images.
    """

    dimension = 2048

    def __init__(self, *, outputs: int = 1, channels: int = 3) -> None:
        super().__init__()
        from torchvision.models import resnet50

        network = resnet50(weights=None)
        for name, child in network.named_children():
            if name != "fc":
                self.add_module(name, child)
        if channels != 3:
            self.conv1 = nn.Conv2d(channels, 64, kernel_size=7, stride=2, padding=3, bias=False)
        if outputs:
            self.fc = nn.Linear(self.dimension, outputs)

    def forward(self, images: Tensor) -> Tensor:
        """Return (N, 2048), the pooled features, from images (N, channels, H, W)."""
        for name, child in self.named_children():
            if name != "fc":
                images = child(images)
        return images.flatten(1)
