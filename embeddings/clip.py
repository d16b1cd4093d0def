"""The image towers of CLIP, from open_clip, under the key names of open_clip's and OpenAI's checkpoints."""

from typing import Any, cast

from torch import Tensor, nn

from fewshot.embeddings.weights import WeightFile

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


class ImageTower(nn.Module):
    """The image half of a CLIP model of open_clip; keys begin with ``visual.``.

    Args:
        model: a model name of open_clip. OpenAI's weights need a ``-quickgelu`` one: with plain GELU features are off
            by 0.036 at values of about 4 (specs/backbones.md 2.5).
        image_size: other than the model's own, where positions allow it.
    """

    def __init__(self, model: str, *, image_size: int | None = None) -> None:
        super().__init__()
        from open_clip import get_model_config
        from open_clip.model import CLIPVisionCfg, _build_vision_tower

        config = get_model_config(model)
        vision = dict(config["vision_cfg"])
        if image_size is not None:
            vision["image_size"] = image_size
        self.visual: Any = _build_vision_tower(
            config["embed_dim"], CLIPVisionCfg(**vision), quick_gelu=config.get("quick_gelu", False)
        )

    def forward(self, images: Tensor) -> Tensor:
        """Return the projected image embedding (N, D), not normalised, from images (N, 3, H, W)."""
        return cast(Tensor, self.visual(images))

    def pooled(self, images: Tensor) -> Tensor:
        """Return the class token after the last LayerNorm and before the projection: (N, width), ViT only."""
        visual = self.visual
        return cast(Tensor, visual._pool(visual.transformer(visual._embeds(images)))[0])

    def project(self, pooled: Tensor) -> Tensor:
        """Return the embedding (N, D) of what ``pooled`` returned."""
        return cast(Tensor, pooled @ self.visual.proj)
