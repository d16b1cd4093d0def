"""The generic CLIP adapter: open_clip's own embedding, its evaluation transform, and whole checkpoints."""

from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image

from fewshot.core.errors import OptionError, UnknownNameError
from fewshot.embeddings.backbones.creation import create
from fewshot.embeddings.weights.unset import UnsetParameters


@pytest.fixture(scope="module")
def whole() -> torch.nn.Module:
    """OpenAI's RN50 as open_clip builds it, both towers, with seeded values."""
    with UnsetParameters():
        model = open_clip.create_model("RN50-quickgelu")
    generator = torch.Generator().manual_seed(0)
    for name, tensor in model.state_dict().items():
        if name.endswith("running_var"):
            tensor.uniform_(0.9, 1.1, generator=generator)
        elif tensor.is_floating_point() and tensor.ndim > 1:
            tensor.normal_(0, tensor[0].numel() ** -0.5, generator=generator)
    found: torch.nn.Module = model.eval().requires_grad_(False)
    return found


@pytest.mark.second_writing("clip")
def test_embedding_and_transform_are_open_clips_own(whole: torch.nn.Module, tmp_path: Path) -> None:
    file = tmp_path / "open_clip_pytorch_model.bin"
    torch.save(whole.state_dict(), file)
    clip = create("clip:RN50:openai").load(device="cpu", weights={"net": file})
    pixels = np.random.default_rng(0).integers(0, 256, (300, 260, 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    transform = open_clip.image_transform(224, is_train=False, mean=clip.card.input.mean, std=clip.card.input.std)
    batch = torch.from_numpy(np.asarray(clip.preprocess(image)))[None]
    theirs = transform(image)[None]
    torch.testing.assert_close(clip.normalise(batch), theirs, rtol=0, atol=1e-6)
    embedding = whole.get_submodule("visual")(theirs)
    torch.testing.assert_close(clip.embed(batch)["pooled"], embedding, rtol=1e-4, atol=1e-5)


def test_hidden_layers_and_the_token_before_the_projection_have_names() -> None:
    clip = create("clip:ViT-L-14:openai", layers=("visual.ln_post.cls", "visual.transformer.resblocks.17.cls"))
    assert [clip.dimension(layer) for layer in clip.layers] == [1024, 1024]
    assert clip.card.layers["pooled"] == 768
    assert len(clip.card.layers) == 1 + 2 * 24
    assert str(clip.card.weights[0].source) == "hf:timm/vit_large_patch14_clip_224.openai/open_clip_model.safetensors"


def test_weights_trained_with_quickgelu_get_it_and_others_do_not() -> None:
    with torch.device("meta"):
        openai, laion = (create(f"clip:ViT-B-32:{tag}").build() for tag in ("openai", "laion2b_s34b_b79k"))
    for network, quick in ((openai, True), (laion, False)):
        assert any(type(module).__name__ == "QuickGELU" for module in network.modules()) is quick


@pytest.mark.parametrize(
    ("spec", "error", "message"),
    [
        ("clip", OptionError, "needs a model and a pretrained tag, for example clip:ViT-L-14:openai"),
        ("clip:ViT-L-14", OptionError, "needs a model and a pretrained tag"),
        ("clip:ViT-L14:openai", UnknownNameError, "no open_clip model 'ViT-L14'; did you mean 'ViT-L-14'"),
        (
            "clip:ViT-L-14:opnai",
            UnknownNameError,
            "pretrained tag of open_clip's ViT-L-14 'opnai'; did you mean 'openai'",
        ),
    ],
)
def test_unknown_models_and_tags_are_named(spec: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        create(spec)
