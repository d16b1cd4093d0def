"""CLIP's image tower from transformers, for checkpoints that were saved with its key names."""

from typing import cast

from torch import nn

# Keys of a whole CLIPModel that no image feature needs; buffers that older versions of transformers saved.
TEXT_TOWER = (r"(.*\.)?text_model\..*", r"(.*\.)?text_projection\.weight", r"(.*\.)?logit_scale", r".*\.position_ids")


def image_tower_l14() -> nn.Module:
    """Return OpenAI's ViT-L/14 image half with unset weights: ``vision_model`` and ``visual_projection``."""
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    config = CLIPVisionConfig(
        hidden_size=1024,
        intermediate_size=4096,
        num_hidden_layers=24,
        num_attention_heads=16,
        patch_size=14,
        projection_dim=768,
    )
    return cast(nn.Module, CLIPVisionModelWithProjection(config))
