"""DINOv2 as Meta released it, a control (Oquab et al., TMLR 2024)."""

from typing import cast, final

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from fewshot.embeddings.backbones.base import Backbone
from fewshot.embeddings.card import BackboneCard, WeightFile
from fewshot.embeddings.inputs.rule import InputRule
from fewshot.embeddings.inputs.transforms import IMAGENET_MEAN, IMAGENET_STD, CenterCrop, ShorterSide
from fewshot.embeddings.networks.taps import POOLED, Taps, Tokens
from fewshot.embeddings.weights.checkpoint import State

_HOME = "https://dl.fbaipublicfiles.com/dinov2"
_LAST = "last"
_UPPER_BLOCKS = 10
_TRAINED_GRID, _GRID = 37, 16  # 518 and 224 pixels in patches of 14
# variant: timm's name, width, blocks, parameters at 224 pixels, GFLOPs
_SIZES = {
    "vitl14": ("vit_large_patch14_dinov2", 1024, 24, 303_227_904, 162.02),
    "vitb14": ("vit_base_patch14_dinov2", 768, 12, 85_724_928, 46.32),
    "vits14": ("vit_small_patch14_dinov2", 384, 12, 21_628_800, 12.25),
}


@final
class Dinov2(Backbone):
    """Class tokens after the last ten blocks, un-normed, and the normed last one, at 224 pixels.

    Meta's own ``.pth`` and timm's safetensors both load. Positions are resampled from 37 x 37 as Meta's code does.
    """

    name = "dinov2"
    variants = tuple(_SIZES)
    ignorable = (r"mask_token",)

    def make_card(self) -> BackboneCard:
        variant = str(self.variant)
        _, width, _, parameters, gflops = _SIZES[variant]
        return BackboneCard(
            name=self.full_name,
            layers={**{f"l{block}": width for block in self._blocks()}, _LAST: width},
            layer=_LAST,
            input=InputRule((ShorterSide(256, "bicubic"), CenterCrop(224, 224)), IMAGENET_MEAN, IMAGENET_STD),
            weights=(
                WeightFile(
                    f"dinov2_{variant}_pretrain.pth",
                    url=f"{_HOME}/dinov2_{variant}/dinov2_{variant}_pretrain.pth",
                    licence="Apache-2.0",
                ),
            ),
            equality="code-equivalent",
            parameters=parameters,
            gflops=gflops,
            paper="Oquab et al., DINOv2: Learning Robust Visual Features without Supervision, TMLR 2024",
            reference="facebookresearch/dinov2, dinov2/models/vision_transformer.py",
            licence="Apache-2.0",
            note="a control: never trained to detect anything",
        )

    def _blocks(self) -> range:
        blocks = _SIZES[str(self.variant)][2]
        return range(blocks - _UPPER_BLOCKS + 1, blocks + 1)

    def build(self) -> nn.Module:
        from timm import create_model

        return cast(nn.Module, create_model(_SIZES[str(self.variant)][0], num_classes=0, img_size=224))

    def reference(self, part: nn.Module) -> State:
        width = _SIZES[str(self.variant)][1]
        return {**part.state_dict(), "pos_embed": torch.zeros(1, 1 + _TRAINED_GRID**2, width)}

    def adapt(self, state: State, *, part: str) -> State:
        positions = state.get("pos_embed")
        if positions is None or positions.shape[:2] != (1, 1 + _TRAINED_GRID**2):
            return state
        return {**state, "pos_embed": resampled(positions)}

    def features(self, batch: Tensor) -> dict[str, Tensor]:
        names = {f"blocks.{block - 1}.cls": f"l{block}" for block in self._blocks()}
        found = Taps(self.network, Tokens(prefix=1)).read(batch, tuple(names))
        return {**{ours: found[name] for name, ours in names.items()}, _LAST: found[POOLED]}


def resampled(positions: Tensor) -> Tensor:
    """Return positions (1, 1 + 37 x 37, D) at 16 x 16, the class position unchanged: (1, 1 + 256, D) float32.

    Bicubic without antialiasing by the factor (16 + 0.1) / 37: ``interpolate_pos_encoding`` adds 0.1 to avoid a
    rounding error, and so samples at slightly other places.
    """
    grid = positions[:, 1:].float().reshape(1, _TRAINED_GRID, _TRAINED_GRID, -1).permute(0, 3, 1, 2)
    factor = (_GRID + 0.1) / _TRAINED_GRID
    smaller = interpolate(grid, scale_factor=(factor, factor), mode="bicubic")
    return torch.cat([positions[:, :1].float(), smaller.permute(0, 2, 3, 1).flatten(1, 2)], dim=1)
