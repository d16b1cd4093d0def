"""SPAI: how well a masked-frequency ViT restores an image's spectrum, tile by tile (Karageorgiou et al., CVPR 2025)."""

import re
from typing import Any, cast, final

import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity

from fewshot.embeddings.backbones.base import Backbone
from fewshot.embeddings.card import BackboneCard, WeightFile
from fewshot.embeddings.inputs.detector_crops import TILE, Tiles
from fewshot.embeddings.inputs.rule import InputRule
from fewshot.embeddings.inputs.transforms import IMAGENET_MEAN, IMAGENET_STD
from fewshot.embeddings.weights.checkpoint import State

# configs/spai.yaml
RADIUS = 16
_BLOCKS, _WIDTH, _PROJECTED, _HEADS, _ATTENTION = 12, 768, 1024, 12, 1536
_CONTEXT = 6 * _BLOCKS + _PROJECTED
_TILES_AT_ONCE = 8
_QKV = re.compile(r"(.*\.attn\.)qkv\.bias")


@final
class Spai(Backbone):
    """``ctx1096``, the tiles' statistics gathered by attention; ``hidden3288``, the input of the last linear layer."""

    name = "spai"
    variants = ("any-res",)
    # what the transformer's class (mever-team/spai @ 8ff7b3b) carries for its own pre-training and never runs: head,
    # class token and position, and, by its constructor and the recording's own count of values, two kinds of norms and
    # one block more
    ignorable = (
        r"mfvit\.vit\.(head|fc_norm|intermediate_fc_norm\.\d+)\.(weight|bias)",
        r"mfvit\.vit\.cls_blocks\.0\..*",
        r"mfvit\.vit\.(cls_pos_embed|actual_cls_token)",
    )
    kept = (r"mfvit\.frequencies_mask",)

    def make_card(self) -> BackboneCard:
        return BackboneCard(
            name=self.full_name,
            layers={"ctx1096": _CONTEXT, "hidden3288": 3 * _CONTEXT},
            layer="ctx1096",
            input=InputRule((Tiles(),)),
            weights=(
                WeightFile(
                    "spai.pth",
                    licence="Apache-2.0",
                    manual="take spai.pth from the Google Drive link in the README of github.com/mever-team/spai",
                ),
            ),
            has_logit=True,
            equality="golden",
            parameters=132_676_889,
            gflops=656.77,
            paper="Karageorgiou et al., Any-Resolution AI-Generated Image Detection by Spectral Learning, CVPR 2025",
            reference="mever-team/spai @ 8ff7b3b",
            licence="Apache-2.0",
            note="131 GFLOPs a tile and at least five tiles: half a minute an image on a CPU",
        )

    def build(self) -> nn.Module:
        return _Spai()

    def reference(self, part: nn.Module) -> State:
        """Split the bias of q, k and v as the authors' files do, which hold none for k."""
        names: State = {}
        for key, tensor in part.state_dict().items():
            joined = _QKV.fullmatch(key)
            if joined is None:
                names[key] = tensor
            else:
                names[f"{joined[1]}q_bias"], _, names[f"{joined[1]}v_bias"] = tensor.chunk(3)
        return names

    def adapt(self, state: State, *, part: str) -> State:
        joined: State = {}
        for key, tensor in state.items():
            base, _, leaf = key.rpartition(".")
            if leaf == "q_bias" and f"{base}.v_bias" in state:
                joined[f"{base}.qkv.bias"] = torch.cat([tensor, torch.zeros_like(tensor), state[f"{base}.v_bias"]])
            elif leaf != "v_bias":
                joined[key] = tensor
        return joined

    def features(self, batch: Tensor) -> dict[str, Tensor]:
        assert isinstance(self.network, _Spai)
        context = self.network(batch)
        hidden = self.network.cls_head.head[:-1](context)
        return {"ctx1096": context, "hidden3288": hidden, "logit": self.network.cls_head.head[-1](hidden)}


def low_frequencies() -> Tensor:
    """Return the mask of the centred spectrum: (224, 224), one where the radius is below 16; four zeros in the middle.

    Source: spai/models/filters.py, ``generate_circular_mask``: an even grid whose coordinates are 111..0, 0..111.
    """
    half = torch.arange(TILE // 2, dtype=torch.float32)
    line = torch.cat([half.flip(0), half])
    return (torch.hypot(line[:, None], line[None, :]) < RADIUS).to(torch.float32)


class _Spai(nn.Module):
    """The whole detector, with the key names of the authors' file."""

    def __init__(self) -> None:
        super().__init__()
        self.mfvit = _Spectra()
        self.to_kv = nn.Linear(_CONTEXT, 2 * _ATTENTION, bias=False)
        self.patch_aggregator = nn.Parameter(torch.zeros(_HEADS, 1, _ATTENTION // _HEADS))
        self.to_out = nn.Sequential(nn.Linear(_ATTENTION, _CONTEXT, bias=False))
        self.norm = nn.LayerNorm(_CONTEXT)
        self.cls_head = _Head()

    def forward(self, tiles: Tensor) -> Tensor:
        """Return (N, 1096) from tiles (N, P, 3, 224, 224) in [0, 1]."""
        images, count = tiles.shape[:2]
        described = [self.mfvit(part) for part in torch.split(tiles.flatten(0, 1), _TILES_AT_ONCE)]
        both = self.to_kv(torch.cat(described)).reshape(images, count, 2, _HEADS, -1)
        keys, values = both.permute(2, 0, 3, 1, 4)
        scores = self.patch_aggregator @ keys.transpose(2, 3) * (_ATTENTION // _HEADS) ** -0.5
        gathered = (scores.softmax(dim=-1) @ values).flatten(1)
        return cast(Tensor, self.norm(self.to_out(gathered)))


class _Spectra(nn.Module):
    """Compare a tile with its low and its high frequencies in every block of the transformer."""

    def __init__(self) -> None:
        super().__init__()
        from timm import create_model

        self.frequencies_mask = nn.Parameter(low_frequencies(), requires_grad=False)
        self.vit: Any = create_model("vit_base_patch16_224", num_classes=0, global_pool="", final_norm=False)
        self.features_processor = _Restoration()

    def forward(self, tiles: Tensor) -> Tensor:
        """Return (T, 1096) from tiles (T, 3, 224, 224) in [0, 1]."""
        spectrum = torch.fft.fftshift(torch.fft.fft2(tiles), dim=(2, 3))
        images = [tiles]
        for mask in (self.frequencies_mask, 1 - self.frequencies_mask):
            filtered = torch.fft.ifft2(torch.fft.ifftshift(spectrum * mask, dim=(2, 3))).real
            images.append(filtered.clamp(0, 1))
        mean, std = (tiles.new_tensor(values).view(-1, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
        return cast(Tensor, self.features_processor(*(self._tokens((image - mean) / std) for image in images)))

    def _tokens(self, images: Tensor) -> Tensor:
        """Return the patch tokens after every block: (T, 12, 196, 768)."""
        tokens = self.vit.forward_intermediates(images, output_fmt="NLC", intermediates_only=True)
        return torch.stack(tokens, dim=1)


class _Restoration(nn.Module):
    """72 means and deviations of similarities, and 1024 values of the tile itself."""

    def __init__(self) -> None:
        super().__init__()
        self.patch_projector = _PerBlock()
        self.original_features_processor = _Importance()

    def forward(self, whole: Tensor, low: Tensor, high: Tensor) -> Tensor:
        whole, low, high = (self.patch_projector(tokens) for tokens in (whole, low, high))
        statistics = []
        for first, second in ((whole, low), (whole, high), (low, high)):
            similarity = cosine_similarity(first, second, dim=-1)
            statistics += [similarity.mean(dim=-1), similarity.std(dim=-1)]
        return torch.cat([*statistics, self.original_features_processor(whole)], dim=1)


class _PerBlock(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.projectors = nn.ModuleList(_Projector(_WIDTH, norm=True, last=nn.Identity()) for _ in range(_BLOCKS))

    def forward(self, tokens: Tensor) -> Tensor:
        return torch.stack([project(tokens[:, block]) for block, project in enumerate(self.projectors)], dim=1)


class _Importance(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.zeros(1, _BLOCKS, _PROJECTED))
        self.proj1 = _Projector(2 * _PROJECTED, norm=False, last=nn.GELU())
        self.proj2 = _Projector(_PROJECTED, norm=False, last=nn.GELU())

    def forward(self, tokens: Tensor) -> Tensor:
        blocks = self.proj1(torch.cat([tokens.mean(dim=2), tokens.std(dim=2)], dim=-1))
        return cast(Tensor, self.proj2((self.alpha.softmax(dim=1) * blocks).sum(dim=1)))


class _Projector(nn.Module):
    def __init__(self, inputs: int, *, norm: bool, last: nn.Module) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(inputs) if norm else nn.Identity()
        # the places of the authors' dropouts keep the numbers in the keys
        first, second = nn.Linear(inputs, _PROJECTED), nn.Linear(_PROJECTED, _PROJECTED)
        self.projector = nn.Sequential(nn.Identity(), first, nn.GELU(), nn.Identity(), second, last)
        self.norm2 = nn.LayerNorm(_PROJECTED)

    def forward(self, values: Tensor) -> Tensor:
        return cast(Tensor, self.norm2(self.projector(self.norm1(values))))


class _Head(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        wide = 3 * _CONTEXT
        hidden = (nn.Linear(_CONTEXT, wide), nn.ReLU(), nn.Identity(), nn.Linear(wide, wide), nn.ReLU(), nn.Identity())
        self.head = nn.Sequential(*hidden, nn.Linear(wide, 1))
