"""CLIP's image tower from either library's names gives the same features."""

from typing import Any

import torch
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from fewshot.embeddings.networks.clip import ImageTower, from_hugging_face
from fewshot.embeddings.weights.checkpoint import fill_strictly


def test_hugging_faces_weights_give_hugging_faces_embedding_in_our_tower() -> None:
    torch.manual_seed(0)
    configuration = CLIPVisionConfig(
        hidden_size=384,
        intermediate_size=1536,
        num_hidden_layers=12,
        num_attention_heads=6,
        patch_size=32,
        image_size=224,
        projection_dim=384,
        hidden_act="gelu",
    )
    theirs: Any = CLIPVisionModelWithProjection(configuration).eval()
    ours = ImageTower("ViT-S-32").eval()
    images = torch.randn(2, 3, 224, 224)

    fill_strictly(ours, from_hugging_face(theirs.state_dict()), ignorable=(), what="theirs")

    with torch.inference_mode():
        expected = theirs(pixel_values=images)
        torch.testing.assert_close(ours(images), expected.image_embeds, atol=2e-5, rtol=1e-4)
        torch.testing.assert_close(ours.project(ours.pooled(images)), ours(images))
