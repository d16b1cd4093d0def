"""The image towers of CLIP, from open_clip, under the key names of open_clip's and OpenAI's checkpoints."""

import re
from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn

from fewshot.embeddings.card import WeightFile

# OpenAI's own file is a TorchScript program; timm's repository holds the same tensors as safetensors.
CLIP_L14 = WeightFile(
    "clip-vit-large-patch14-openai.safetensors",
    part="clip",
    repository="timm/vit_large_patch14_clip_224.openai",
    hub_file="open_clip_model.safetensors",
    licence="MIT",
)
# The text tower of a whole CLIP checkpoint, which no image feature needs.
TEXT_TOWER = (
    r"transformer\..*",
    r"token_embedding\.weight",
    r"positional_embedding",
    r"text_projection(\.weight)?",
    r"ln_final\..*",
    r"logit_scale",
    r"logit_bias",
    r"input_resolution",
    r"context_length",
    r"vocab_size",
    r"attn_mask",
)


# How Hugging Face names the parts of a CLIP image tower, and how open_clip does; q, k and v are joined apart.
_RENAMED = (
    ("vision_model.embeddings.class_embedding", "visual.class_embedding"),
    ("vision_model.embeddings.patch_embedding.weight", "visual.conv1.weight"),
    ("vision_model.embeddings.position_embedding.weight", "visual.positional_embedding"),
    ("vision_model.pre_layrnorm.", "visual.ln_pre."),
    ("vision_model.post_layernorm.", "visual.ln_post."),
    ("vision_model.encoder.layers.", "visual.transformer.resblocks."),
)
_RENAMED_IN_BLOCK = (
    (".layer_norm1.", ".ln_1."),
    (".layer_norm2.", ".ln_2."),
    (".self_attn.out_proj.", ".attn.out_proj."),
    (".mlp.fc1.", ".mlp.c_fc."),
    (".mlp.fc2.", ".mlp.c_proj."),
)


def from_hugging_face(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a Hugging Face CLIP image tower under open_clip's names.

    It has ``vision_model.*`` and ``visual_projection.weight``. Keys of other parts are passed through, so that a
    strict load names them.
    """
    renamed: dict[str, Tensor] = {}
    for key, value in state.items():
        if re.search(r"\.self_attn\.[qkv]_proj\.", key):
            continue
        if key == "visual_projection.weight":
            renamed["visual.proj"] = value.T
        elif not key.endswith("position_ids"):
            renamed[_open_clip_name(key)] = value
    for key in state:
        if found := re.fullmatch(r"(vision_model\.encoder\.layers\.\d+)\.self_attn\.q_proj\.(weight|bias)", key):
            block, kind = found.groups()
            joined = torch.cat([state[f"{block}.self_attn.{letter}_proj.{kind}"] for letter in "qkv"])
            renamed[f"{_open_clip_name(block + '.')}attn.in_proj_{kind}"] = joined
    return renamed


def _open_clip_name(key: str) -> str:
    for theirs, ours in _RENAMED:
        if key.startswith(theirs):
            key = ours + key.removeprefix(theirs)
    for theirs, ours in _RENAMED_IN_BLOCK:
        key = key.replace(theirs, ours)
    return key


class ImageTower(nn.Module):
    """The image half of a CLIP model of open_clip; keys begin with ``visual.``.

    Args:
        model: a model name of open_clip. OpenAI's weights need a ``-quickgelu`` one: with plain GELU features are off
            by 0.036 at values of about 4 (openai/CLIP, clip/model.py ``QuickGELU``).
        image_size: other than the model's own, where positions allow it.
    """

    def __init__(self, model: str, *, image_size: int | None = None) -> None:
        super().__init__()
        from open_clip import get_model_config
        from open_clip.model import CLIPVisionCfg, _build_vision_tower

        config: Any = get_model_config(model)
        vision = dict(config["vision_cfg"])
        if image_size is not None:
            vision["image_size"] = image_size
        self.visual: Any = _build_vision_tower(
            config["embed_dim"], CLIPVisionCfg(**vision), quick_gelu=config.get("quick_gelu", False)
        )

    def forward(self, images: Tensor) -> Tensor:
        """Return the projected image embedding (N, D), not normalised, from images (N, 3, H, W)."""
        found = self.visual(images)
        # CoCa's tower returns the patch tokens beside the embedding
        return cast(Tensor, found[0] if isinstance(found, tuple) else found)

    def pooled(self, images: Tensor) -> Tensor:
        """Return the class token after the last LayerNorm and before the projection: (N, width), ViT only."""
        visual = self.visual
        return cast(Tensor, visual._pool(visual.transformer(visual._embeds(images)))[0])

    def project(self, pooled: Tensor) -> Tensor:
        """Return the embedding (N, D) of what ``pooled`` returned."""
        return cast(Tensor, pooled @ self.visual.proj)
