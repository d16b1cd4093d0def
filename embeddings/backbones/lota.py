"""LOTA: the most textured patch of the three lowest bit planes (Wang et al., ICCV 2025)."""

import zlib
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from fewshot.embeddings.backbones.base import Backbone
from fewshot.embeddings.card import BackboneCard, WeightFile
from fewshot.embeddings.inputs.opencv import resize
from fewshot.embeddings.inputs.rule import InputRule
from fewshot.embeddings.inputs.transforms import IMAGENET_MEAN, IMAGENET_STD, Step
from fewshot.embeddings.networks.trunks import ResNet50

# bit_patch.py: patch_size, img_height, and (img_height // patch_size) ** 2 crops
PATCH, SIZE, CROPS = 32, 256, 64
GRID_STRIDE = 16
FROM_CONTENT = None


@final
@dataclass(frozen=True)
class BitPatch(Step):
    """The crop with the largest sum of differences in the plane of the three lowest bits, enlarged to 256 x 256.

    Args:
        seed: of the 64 random crops; ``FROM_CONTENT`` takes the CRC-32 of the image's bytes, so that an image gives the
            same crops in any run, batch and order.
        grid: look at all crops of a grid with stride 16 instead, which draws nothing.
    """

    seed: int | None = FROM_CONTENT
    grid: bool = False

    def __call__(self, image: Image.Image) -> NDArray[Any]:
        plane = low_bits(image)
        corners = self.corners(image)
        scores = [texture(_crop(plane, corner)) for corner in corners]
        best = _crop(plane, corners[int(np.argmax(scores))])
        return np.ascontiguousarray(resize(best, SIZE, SIZE).transpose(2, 0, 1))

    def __str__(self) -> str:
        if self.grid:
            return f"low3-patch({PATCH},grid {GRID_STRIDE}) > opencv-squash({SIZE}x{SIZE},bilinear)"
        seed = "content" if self.seed is None else self.seed
        return f"low3-patch({PATCH},{CROPS} random,seed {seed}) > opencv-squash({SIZE}x{SIZE},bilinear)"

    def size(self, before: tuple[int, int] | None) -> tuple[int, int] | None:
        return (SIZE, SIZE)

    def corners(self, image: Image.Image) -> NDArray[np.int64]:
        """Return (top, left) of every crop looked at: (64, 2), or (N, 2) of the grid."""
        height, width = low_bits(image).shape[:2]
        if self.grid:
            return np.array([(top, left) for top in _grid(height) for left in _grid(width)])
        seed = zlib.crc32(image.tobytes()) if self.seed is None else self.seed
        return _random_corners(height, width, seed=seed)


@final
class Lota(Backbone):
    """``random64`` is the authors' draw with a seed from the image's content; ``grid16`` draws nothing.

    ``random64-seed0`` seeds every image with 0, as the golden outputs were made.
    """

    name = "lota"
    variants = ("random64", "grid16", "random64-seed0")

    def make_card(self) -> BackboneCard:
        step = BitPatch(seed=0 if self.variant == "random64-seed0" else FROM_CONTENT, grid=self.variant == "grid16")
        return BackboneCard(
            name=self.full_name,
            layers={"feature": 2048},
            layer="feature",
            input=InputRule((step,), IMAGENET_MEAN, IMAGENET_STD),
            weights=(
                WeightFile(
                    "LOTA_sdv14.pth",
                    licence="MIT",
                    manual="take a checkpoint from the Baidu links in the README of github.com/hongsong-wang/LOTA "
                    "(SDv1.4: code imjw; SDv1.5: code a942)",
                ),
            ),
            has_logit=True,
            equality="golden" if self.variant == "random64-seed0" else "code-equivalent",
            parameters=23_510_081,
            gflops=10.68,
            paper="Wang et al., LOTA: Bit-Planes Guided AI-Generated Image Detection, ICCV 2025",
            reference="hongsong-wang/LOTA @ 487bb02",
            licence="MIT",
            note="reads the lowest bits, which any lossy re-encoding replaces by quantisation noise",
        )

    def build(self) -> nn.Module:
        return nn.ModuleDict({"disc": ResNet50(outputs=1)})

    def features(self, batch: Tensor) -> dict[str, Tensor]:
        disc = self.network.get_submodule("disc")
        assert isinstance(disc, ResNet50)
        feature = disc(batch)
        # the authors' label is 1 for natural
        return {"feature": feature, "logit": -disc.fc(feature)}

    def stages(self, image: Image.Image) -> dict[str, NDArray[Any]]:
        """Add the crops, the sum of the bit plane, its top-left texture, and the logit by the authors' sign."""
        step = self.card.input.steps[0]
        assert isinstance(step, BitPatch)
        plane = low_bits(image)
        found = super().stages(image)
        with torch.inference_mode():
            logit = self.features(torch.from_numpy(found["input"])[None].to(self.device))["logit"]
        return {
            **found,
            "logit": -logit[0].cpu().numpy(),
            "crops": step.corners(image),
            "low3_sum": np.asarray(plane.astype(np.int64).sum()),
            "score_tl": np.asarray(texture(_crop(plane, np.zeros(2, dtype=np.int64)))),
        }


def low_bits(image: Image.Image) -> NDArray[np.uint8]:
    """Return the three lowest bits of every byte, times 36: (H, W, 3) uint8 in 0..252; 256 x 256 when too small."""
    plane: NDArray[np.uint8] = (np.asarray(image, dtype=np.uint8) & np.uint8(7)) * np.uint8(36)
    if min(image.size) >= PATCH:
        return plane
    return np.asarray(Image.fromarray(plane).resize((SIZE, SIZE), Image.Resampling.BILINEAR))


def texture(patch: NDArray[np.uint8]) -> int:
    """Return the sum of absolute differences along both axes and both diagonals, over all channels."""
    values = patch.astype(np.int64)
    pairs = (
        (values[:, :-1], values[:, 1:]),
        (values[:-1], values[1:]),
        (values[:-1, :-1], values[1:, 1:]),
        (values[1:, :-1], values[:-1, 1:]),
    )
    return int(sum(np.abs(first - second).sum() for first, second in pairs))


def _crop(plane: NDArray[np.uint8], corner: NDArray[np.int64]) -> NDArray[np.uint8]:
    top, left = (int(value) for value in corner)
    return plane[top : top + PATCH, left : left + PATCH]


def _grid(length: int) -> list[int]:
    last = length - PATCH
    return sorted({*range(0, last + 1, GRID_STRIDE), last})


def _random_corners(height: int, width: int, *, seed: int) -> NDArray[np.int64]:
    """Return what 64 ``RandomCrop(32)`` of torchvision draw after ``torch.manual_seed(seed)``: (64, 2).

    torch's CPU generator is the Mersenne twister that numpy's legacy generator is; ``randint`` takes one 32-bit word
    modulo the range, row before column, and draws nothing where only one crop fits.
    """
    if (height, width) == (PATCH, PATCH):
        return np.zeros((CROPS, 2), dtype=np.int64)
    words: NDArray[np.int64] = (
        np.random.RandomState(seed).randint(0, 1 << 32, size=(CROPS, 2), dtype=np.uint32).astype(np.int64)
    )
    corners: NDArray[np.int64] = words % np.array([height - PATCH + 1, width - PATCH + 1])
    return corners
