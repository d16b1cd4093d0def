"""DINOv3 and FiSeR: our path against a second writing of the network, and every layout of its files."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional

from fewshot.core.errors import WeightsError
from fewshot.embeddings.backbones.base import Backbone
from fewshot.embeddings.backbones.creation import create
from fewshot.embeddings.card import RandomWeights
from fewshot.embeddings.inputs.transforms import FloatSquash
from fewshot.embeddings.networks import dinov3
from fewshot.embeddings.weights.checkpoint import fill_strictly


def noise(height: int, width: int, *, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


@pytest.fixture(scope="module")
def small() -> dict[str, Tensor]:
    """ViT-S/16 by the published key names, filled by the seeded recipe."""
    backbone = create("dinov3:vits16").load(device="cpu", weights=RandomWeights())
    return {key: tensor.clone() for key, tensor in dinov3.published_names(backbone.network).items()}


def second_writing(state: dict[str, Tensor], images: Tensor) -> dict[str, Tensor]:
    """DINOv3 from its paper, section 3.2: 4 registers, axial RoPE of base 100 over patches only; heads of 64."""
    width = state["embeddings.cls_token"].shape[2]
    patches = functional.conv2d(
        images, state["embeddings.patch_embeddings.weight"], state["embeddings.patch_embeddings.bias"], stride=16
    )
    prefix = torch.cat([state["embeddings.cls_token"], state["embeddings.register_tokens"]], dim=1)
    prefix = prefix.repeat(len(images), 1, 1)
    tokens = torch.cat([prefix, patches.flatten(2).mT], dim=1)
    rows, columns = torch.meshgrid(torch.arange(14), torch.arange(14), indexing="ij")
    centres = torch.stack([rows, columns], dim=-1).reshape(196, 2).double().add(0.5).div(14).mul(2).sub(1)
    periods = 100.0 ** (torch.arange(16, dtype=torch.float64) / 16)
    turns = (2 * torch.pi * centres[:, :, None] / periods).reshape(196, 32)

    def rotated(heads: Tensor) -> Tensor:
        left, right = heads[:, :, 5:, :32].double(), heads[:, :, 5:, 32:].double()
        turned = [left * turns.cos() - right * turns.sin(), right * turns.cos() + left * turns.sin()]
        return torch.cat([heads[:, :, :5], torch.cat(turned, dim=-1).float()], dim=2)

    found = {}
    for block in range(sum(key.endswith("norm1.weight") for key in state)):
        name = f"layer.{block}."

        def linear(values: Tensor, key: str, name: str = name) -> Tensor:
            return functional.linear(values, state[f"{name}{key}.weight"], state.get(f"{name}{key}.bias"))

        def norm(values: Tensor, key: str, name: str = name) -> Tensor:
            return functional.layer_norm(
                values, (width,), state[f"{name}{key}.weight"], state[f"{name}{key}.bias"], 1e-5
            )

        before = norm(tokens, "norm1")
        query, key, value = (
            linear(before, f"attention.{part}_proj").reshape(-1, 201, width // 64, 64).transpose(1, 2) for part in "qkv"
        )
        weights = (rotated(query) @ rotated(key).mT / 8).softmax(dim=-1)
        attended = linear((weights @ value).transpose(1, 2).flatten(2), "attention.o_proj")
        tokens = tokens + attended * state[f"{name}layer_scale1.lambda1"]
        before = norm(tokens, "norm2")
        wide = linear(before, "mlp.up_proj")
        gated = f"{name}mlp.gate_proj.weight" in state
        wide = functional.silu(linear(before, "mlp.gate_proj")) * wide if gated else functional.gelu(wide)
        tokens = tokens + linear(wide, "mlp.down_proj") * state[f"{name}layer_scale2.lambda1"]
        found[f"l{block + 1}"] = tokens[:, 0]
    found["last"] = functional.layer_norm(tokens, (width,), state["norm.weight"], state["norm.bias"], 1e-5)[:, 0]
    return found


@pytest.mark.second_writing("dinov3:vits16", "dinov3:vits16plus", "dinov3:vitb16", "dinov3:vitl16", "dinov3:vith16plus")
@pytest.mark.parametrize(
    "size",
    [
        "vits16",
        "vits16plus",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("vitb16", "vitl16", "vith16plus")),
    ],
)
def test_every_layer_equals_a_second_writing_of_the_network(size: str, quickly_filled: Callable[..., Backbone]) -> None:
    backbone = quickly_filled(f"dinov3:{size}")
    state = dinov3.published_names(backbone.network)
    seeds = (0, 1) if size.startswith("vits") else (0,)  # the batch is handled by the same code in all sizes
    batch = torch.stack([torch.from_numpy(backbone.preprocess(noise(90, 130, seed=seed))) for seed in seeds])
    ours, theirs = backbone.embed(batch), second_writing(state, backbone.normalise(batch))
    assert list(ours) == list(theirs)[-11:] == list(backbone.card.layers)
    for layer, values in ours.items():
        assert float((values - theirs[layer]).abs().max() / theirs[layer].abs().max()) < 1e-5, layer


def test_hugging_face_folder_and_legacy_file_give_the_same_network(small: dict[str, Tensor], tmp_path: Path) -> None:
    folder = tmp_path / "exported"
    folder.mkdir()
    save_file(small, folder / "model.safetensors")
    legacy = tmp_path / "wild_model19.pth"
    wrapped = {f"module.encoder.{key}": tensor for key, tensor in small.items()}
    torch.save({"model": wrapped, "optimizer": {"step": 3}, "epoch": 19}, legacy)
    compiled = tmp_path / "compiled.pth"
    torch.save({f"_orig_mod.model.{key}": tensor for key, tensor in small.items()}, compiled)
    for file in (folder, legacy, compiled):
        backbone = create("dinov3:vits16").load(device="cpu", weights={"net": file})
        loaded = dinov3.published_names(backbone.network)
        assert set(loaded) == set(small)
        assert all(torch.equal(loaded[key], small[key]) for key in small), file


def test_fiser_drops_the_centre_of_its_training_loss_and_nothing_else() -> None:
    fiser = create("fiser")
    with torch.device("meta"):
        network = fiser.build()
        legacy = {f"encoder.{key}": tensor for key, tensor in dinov3.published_names(network).items()}
        legacy["virtual_center"] = torch.zeros(5, 1024)
    fill_strictly(network, fiser.adapt(legacy, part="net"), ignorable=fiser.ignorable, what="a legacy file")
    legacy["head.weight"] = torch.zeros(2, 1024)
    with pytest.raises(WeightsError, match=r"1 unexpected keys \(head.weight\)"):
        fill_strictly(network, fiser.adapt(legacy, part="net"), ignorable=fiser.ignorable, what="a legacy file")


def test_fiser_reads_blocks_15_to_24_and_the_normed_last_token() -> None:
    card = create("fiser").card
    assert card.layers == {**{f"l{block}": 1024 for block in range(15, 25)}, "last": 1024}
    assert card.input.fixed_size == (224, 224)


@pytest.mark.parametrize(("height", "width"), [(300, 400), (150, 120), (40, 5000), (1, 1), (224, 224)])
def test_float_resize_equals_torch_on_the_float_tensor(height: int, width: int) -> None:
    image = noise(height, width)
    pixels = torch.from_numpy(np.asarray(image).transpose(2, 0, 1).copy())[None].double() / 255
    theirs = functional.interpolate(pixels, (224, 224), mode="bilinear", antialias=True)[0].numpy()
    assert np.abs(FloatSquash(224, 224)(image) - theirs).max() < 1e-6
