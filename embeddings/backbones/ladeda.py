"""LaDeDa: a ResNet-50 that sees patches of 9 x 9 pixels, on the nearest-neighbour residual (Cavia et al. 2024)."""

from typing import final

from torch import Tensor, nn

from fewshot.embeddings.backbones.base import Backbone
from fewshot.embeddings.card import BackboneCard, WeightFile
from fewshot.embeddings.inputs.rule import InputRule
from fewshot.embeddings.inputs.transforms import IMAGENET_MEAN, IMAGENET_STD, Squash
from fewshot.embeddings.networks.residuals import nearest_residual

# variant: file, factor of the residual (issue #3 of the repository: only the ForenSynth file needs 2/3)
_VARIANTS = {"npr": ("WildRF_LaDeDa.pth", 1.0), "forensynth": ("ForenSynth_LaDeDa.pth", 2.0 / 3.0)}


@final
class Ladeda(Backbone):
    """LaDeDa9; ``npr`` for the WildRF file, ``forensynth`` for the file whose residual is scaled by 2/3."""

    name = "ladeda"
    variants = tuple(_VARIANTS)

    def make_card(self) -> BackboneCard:
        return BackboneCard(
            name=self.full_name,
            layers={"feature": 2048},
            layer="feature",
            input=InputRule((Squash(256, 256),), IMAGENET_MEAN, IMAGENET_STD),
            weights=(
                WeightFile(
                    _VARIANTS[str(self.variant)][0],
                    licence="custom research licence",
                    non_commercial=True,
                    manual="take the file from the Google Drive link in weights/LaDeDa/download_weights.txt of "
                    "github.com/barcavia/RealTime-DeepfakeDetection-in-the-RealWorld",
                ),
            ),
            has_logit=True,
            equality="golden" if self.variant == "npr" else "code-equivalent",
            parameters=13_641_793,
            gflops=41.93,
            paper="Cavia et al., Real-Time Deepfake Detection in the Real-World, arXiv 2406.09398",
            reference="barcavia/RealTime-DeepfakeDetection-in-the-RealWorld @ e734562",
            licence="custom research licence",
            note="a file run with the other variant's factor gives other features: choose the variant by the file",
        )

    def build(self) -> nn.Module:
        return _LaDeDa()

    def features(self, batch: Tensor) -> dict[str, Tensor]:
        assert isinstance(self.network, _LaDeDa)
        feature = self.network(nearest_residual(batch) * _VARIANTS[str(self.variant)][1])
        return {"feature": feature, "logit": self.network.fc(feature)}


class _LaDeDa(nn.Module):
    """The network after the residual, with the key names of the authors' files; no convolution is padded."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 1, bias=False)
        self.conv2 = nn.Conv2d(64, 64, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        # depth, stride and kernel of the first block: networks/LaDeDa.py, LaDeDa9
        self.layer1 = _stage(64, 64, depth=3, stride=2, kernel=3)
        self.layer2 = _stage(256, 128, depth=4, stride=2, kernel=3)
        self.layer3 = _stage(512, 256, depth=6, stride=2, kernel=1)
        self.layer4 = _stage(1024, 512, depth=3, stride=1, kernel=1)
        self.fc = nn.Linear(2048, 1)

    def forward(self, residual: Tensor) -> Tensor:
        """Return (N, 2048) from residuals (N, 3, H, W)."""
        hidden = self.bn1(self.conv2(self.conv1(residual))).relu()
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            hidden = stage(hidden)
        pooled: Tensor = hidden.mean(dim=(2, 3))
        return pooled


def _stage(inputs: int, width: int, *, depth: int, stride: int, kernel: int) -> nn.Sequential:
    first = _Bottleneck(inputs, width, stride=stride, kernel=kernel)
    return nn.Sequential(first, *(_Bottleneck(4 * width, width, stride=1, kernel=1) for _ in range(depth - 1)))


class _Bottleneck(nn.Module):
    def __init__(self, inputs: int, width: int, *, stride: int, kernel: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, kernel, stride=stride, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * width)
        self.downsample = nn.Sequential()
        if inputs != 4 * width:
            shortcut = nn.Conv2d(inputs, 4 * width, 1, stride=stride, bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(4 * width))

    def forward(self, hidden: Tensor) -> Tensor:
        found = self.bn1(self.conv1(hidden)).relu()
        found = self.bn2(self.conv2(found)).relu()
        found = self.bn3(self.conv3(found))
        # valid convolutions shrink the map: the shortcut is cut at its right and lower edge to fit
        height, width = found.shape[-2:]
        added: Tensor = found + self.downsample(hidden)[..., :height, :width]
        return added.relu()
