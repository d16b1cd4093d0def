"""Corvi2023 and CO-SPY's residual branch against a second writing of the ResNet stages."""

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional
from transformers import CLIPVisionModelWithProjection

from fewshot.embeddings.backbones.creation import create
from fewshot.embeddings.card import RandomWeights
from fewshot.embeddings.networks.clip import ImageTower, from_hugging_face
from fewshot.embeddings.networks.clip_hf import image_tower_l14
from fewshot.embeddings.weights.unset import UnsetParameters

CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


def pixels(size: int, *, count: int = 2) -> Tensor:
    return torch.from_numpy(np.random.default_rng(3).integers(0, 256, (count, 3, size, size), dtype=np.uint8))


def agree(ours: Tensor, theirs: Tensor, tolerance: float = 1e-5) -> None:
    assert ours.shape == theirs.shape
    assert float((ours - theirs).abs().max() / theirs.abs().max()) < tolerance


class Stages:
    """ResNet-50's parts (He et al. 2016, table 1) as formulas over a state."""

    def __init__(self, state: dict[str, Tensor], prefix: str = "") -> None:
        self.state, self.prefix = state, prefix

    def convolve(self, values: Tensor, conv: str, norm: str, *, stride: int = 1) -> Tensor:
        """Convolution, then batch normalisation by the running statistics."""
        kernel = self.state[f"{self.prefix}{conv}.weight"]
        found = functional.conv2d(values, kernel, stride=stride, padding=kernel.shape[2] // 2)
        weight, bias, mean, var = (
            self.state[f"{self.prefix}{norm}.{name}"].view(-1, 1, 1)
            for name in ("weight", "bias", "running_mean", "running_var")
        )
        return (found - mean) / (var + 1e-5).sqrt() * weight + bias

    def stage(self, values: Tensor, name: str, *, depth: int, stride: int) -> Tensor:
        for block in range(depth):
            at, step = f"{name}.{block}", stride if block == 0 else 1
            hidden = self.convolve(values, f"{at}.conv1", f"{at}.bn1").relu()
            hidden = self.convolve(hidden, f"{at}.conv2", f"{at}.bn2", stride=step).relu()
            hidden = self.convolve(hidden, f"{at}.conv3", f"{at}.bn3")
            if block == 0:
                values = self.convolve(values, f"{at}.downsample.0", f"{at}.downsample.1", stride=step)
            values = (hidden + values).relu()
        return values


@pytest.mark.second_writing("corvi2023")
def test_corvi2023_keeps_every_pixel_until_the_second_stage() -> None:
    corvi = create("corvi2023").load(device="cpu", weights=RandomWeights())
    batch = pixels(40)
    ours = corvi.embed(batch)
    state = dict(corvi.network.state_dict())
    parts = Stages(state)
    hidden = parts.convolve(corvi.normalise(batch), "conv1", "bn1").relu()
    hidden = functional.max_pool2d(hidden, 3, stride=1, padding=1)
    assert hidden.shape[-2:] == (40, 40)
    for stage, depth in enumerate((3, 4, 6, 3)):
        hidden = parts.stage(hidden, f"layer{stage + 1}", depth=depth, stride=2 if stage else 1)
    feature = hidden.mean(dim=(2, 3))
    agree(ours["feature"], feature)
    agree(ours["logit"], feature @ state["fc.weight"].T + state["fc.bias"], 1e-4)


@pytest.mark.second_writing("freqnet:shorter256crop224")
def test_freqnet_at_224_pixels_equals_the_whole_spectrum_shifted_and_masked() -> None:
    freqnet = create("freqnet:shorter256crop224").load(device="cpu", weights=RandomWeights("", 2.0, 0.2))
    batch = pixels(224)
    state = dict(freqnet.network.state_dict())
    parts = Stages(state)

    def high(values: Tensor, dimensions: tuple[int, ...]) -> Tensor:
        spectrum = torch.fft.fftshift(torch.fft.fftn(values, dim=dimensions), dim=dimensions)
        block = [slice(None)] * 4
        for dimension in dimensions:
            half, quarter = values.shape[dimension] // 2, values.shape[dimension] // 4
            block[dimension] = slice(half - quarter, half + quarter)
        spectrum[tuple(block)] = 0
        back: Tensor = torch.fft.ifftn(torch.fft.ifftshift(spectrum, dim=dimensions), dim=dimensions).real.relu()
        return back

    def filtered(values: Tensor, number: int, stride: int) -> Tensor:
        return functional.conv2d(values, state[f"weight{number}"], state[f"bias{number}"], stride).relu()

    def frequency(values: Tensor, number: int) -> Tensor:
        spectrum = torch.fft.fftshift(torch.fft.fft2(values, norm="ortho"), dim=(2, 3))
        real = functional.conv2d(spectrum.real, state[f"realconv{number}.weight"])
        imaginary = functional.conv2d(spectrum.imag, state[f"imagconv{number}.weight"])
        mixed = torch.fft.ifftshift(torch.complex(real, imaginary), dim=(2, 3))
        back: Tensor = torch.fft.ifft2(mixed, norm="ortho").real.relu()
        return back

    hidden = filtered(high(freqnet.normalise(batch), (2, 3)), 1, 1)
    hidden = frequency(high(hidden, (1,)), 1)
    hidden = filtered(high(hidden, (2, 3)), 2, 2)
    hidden = functional.max_pool2d(frequency(high(hidden, (1,)), 2), 3, stride=2, padding=1)
    hidden = parts.stage(hidden, "layer1", depth=3, stride=1)
    hidden = frequency(filtered(high(hidden, (2, 3)), 3, 1), 3)
    hidden = frequency(filtered(high(hidden, (2, 3)), 4, 2), 4)
    feature = parts.stage(hidden, "layer2", depth=4, stride=2).mean(dim=(2, 3))

    agree(freqnet.embed(batch)["feature"], feature, 1e-4)


@pytest.fixture(scope="module")
def hugging_face() -> CLIPVisionModelWithProjection:
    """One CLIP ViT-L/14 with seeded values, in transformers' own network."""
    with UnsetParameters():
        model = image_tower_l14()
    generator = torch.Generator().manual_seed(0)
    for tensor in model.state_dict().values():
        if tensor.is_floating_point():
            scale = 0.05 if tensor.ndim < 2 else tensor[0].numel() ** -0.5
            tensor.normal_(0, scale, generator=generator).add_(1.0 if tensor.ndim == 1 else 0.0)
    assert isinstance(model, CLIPVisionModelWithProjection)
    return model.eval().requires_grad_(False)


def set_tower(tower: torch.nn.Module, model: CLIPVisionModelWithProjection) -> None:
    assert isinstance(tower, ImageTower)
    tower.load_state_dict(from_hugging_face(model.state_dict()))


def head_values(module: torch.nn.Module) -> None:
    generator = torch.Generator().manual_seed(1)
    for parameter in module.parameters():
        parameter.data.normal_(0, 0.1, generator=generator)


def normalised(batch: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    return (batch / 255 - torch.tensor(mean).view(-1, 1, 1)) / torch.tensor(std).view(-1, 1, 1)


@pytest.mark.slow
@pytest.mark.second_writing("vibnet", "drct:clip", "clipdetection:aigibench", "effort:deepfakebench")
def test_detectors_on_clip_equal_transformers_own_network(hugging_face: CLIPVisionModelWithProjection) -> None:
    batch = pixels(224, count=1)
    theirs = hugging_face(pixel_values=normalised(batch, CLIP_MEAN, CLIP_STD)).image_embeds

    vibnet = create("vibnet")
    with UnsetParameters():
        vibnet.network = vibnet.build().eval().requires_grad_(False)
    for name, part in vibnet.network.named_children():
        set_tower(part, hugging_face) if name == "model" else head_values(part)
    found = vibnet.embed(batch)
    agree(found["clip"], theirs)
    state = vibnet.network.state_dict()
    hidden = theirs
    for name in ("fc_1", "fc_2"):
        hidden = (hidden @ state[f"{name}.weight"].T + state[f"{name}.bias"]).clamp(min=0)
    statistics = hidden @ state["fc_3.weight"].T + state["fc_3.bias"]
    agree(found["mu"], statistics[:, :256])
    agree(found["logit"], statistics[:, :256] @ state["decode.weight"].T + state["decode.bias"], 1e-4)

    drct = create("drct:clip")
    with UnsetParameters():
        drct.network = drct.build().eval().requires_grad_(False)
    set_tower(drct.network.get_submodule("model.model"), hugging_face)
    head_values(drct.network.get_submodule("model.fc"))
    head_values(drct.network.get_submodule("fc"))
    imagenet = normalised(batch, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    state, found = drct.network.state_dict(), drct.embed(batch)
    embedding = hugging_face(pixel_values=imagenet).image_embeds
    feature = embedding @ state["model.fc.weight"].T + state["model.fc.bias"]
    agree(found["feature"], feature)
    outputs = feature @ state["fc.weight"].T + state["fc.bias"]
    agree(found["logit"], outputs[:, 1:] - outputs[:, :1], 1e-4)

    benchmark = create("clipdetection:aigibench")
    with torch.device("meta"):
        benchmark.network = benchmark.build()
    benchmark.network.add_module("model", drct.network.get_submodule("model.model"))
    benchmark.network.add_module("fc", torch.nn.Linear(768, 1))
    head_values(benchmark.network.get_submodule("fc"))
    state, found = benchmark.network.get_submodule("fc").state_dict(), benchmark.embed(batch)
    agree(found["feature"], embedding)
    agree(found["logit"], embedding @ state["weight"].T + state["bias"], 1e-4)

    effort = create("effort:deepfakebench")
    effort.network = torch.nn.ModuleDict(
        {
            "model": torch.nn.ModuleDict({"vision_model": hugging_face.vision_model}),
            "fc": torch.nn.Linear(1024, 2).requires_grad_(False),
        }
    )
    state = effort.network.get_submodule("fc").state_dict()
    tower = vibnet.network.get_submodule("model")
    assert isinstance(tower, ImageTower)
    token = tower.pooled(normalised(batch, CLIP_MEAN, CLIP_STD))
    outputs = token @ state["weight"].T + state["bias"]
    found = effort.embed(batch)
    agree(found["feature"], token)
    agree(found["logit"], outputs[:, 1:] - outputs[:, :1], 1e-4)


@pytest.mark.slow
@pytest.mark.second_writing("cospy:progan")
def test_cospy_joins_clip_and_the_scaled_residual(hugging_face: CLIPVisionModelWithProjection) -> None:
    cospy = create("cospy")
    batch = pixels(224, count=1)
    with UnsetParameters():
        cospy.network = cospy.build().eval().requires_grad_(False)
    set_tower(cospy.network.get_submodule("clip"), hugging_face)
    for part in ("artifact", "semantic", "head"):
        head_values(cospy.network.get_submodule(part))
    found = cospy.embed(batch)

    semantic = hugging_face(pixel_values=normalised(batch, CLIP_MEAN, CLIP_STD)).image_embeds
    small = normalised(batch, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    halved = functional.interpolate(small, scale_factor=0.5, mode="nearest", recompute_scale_factor=True)
    residual = small - functional.interpolate(halved, scale_factor=2, mode="nearest", recompute_scale_factor=True)
    state = dict(cospy.network.state_dict())
    parts = Stages(state, "artifact.artifact_encoder.")
    hidden = parts.convolve(residual * 2 / 3, "conv1", "bn1", stride=2).relu()
    hidden = functional.max_pool2d(hidden, 3, stride=2, padding=1)
    hidden = parts.stage(hidden, "layer1", depth=3, stride=1)
    artifact = parts.stage(hidden, "layer2", depth=4, stride=2).mean(dim=(2, 3))
    agree(found["feature"], torch.cat([semantic, artifact], dim=1))
    scores = [
        values @ state[f"{part}.fc.weight"].T + state[f"{part}.fc.bias"]
        for part, values in (("semantic", semantic), ("artifact", artifact))
    ]
    logit = torch.cat(scores, dim=1) @ state["head.fc.weight"].T + state["head.fc.bias"]
    agree(found["logit"], logit, 1e-4)


@pytest.mark.slow
@pytest.mark.second_writing("clipdet:latent10k_plus", "clipdet:latent10k")
def test_clipdet_reads_the_unit_token_before_the_projection_with_plain_gelu(
    hugging_face: CLIPVisionModelWithProjection,
) -> None:
    clipdet = create("clipdet")
    batch = pixels(224, count=1)
    with UnsetParameters():
        clipdet.network = clipdet.build().eval().requires_grad_(False)
    set_tower(clipdet.network.get_submodule("clip"), hugging_face)
    head_values(clipdet.network.get_submodule("head"))
    for layer in hugging_face.vision_model.encoder.layers:
        layer.get_submodule("mlp").activation_fn = torch.nn.GELU()
    pooled = hugging_face.vision_model(pixel_values=normalised(batch, CLIP_MEAN, CLIP_STD)).pooler_output
    feature = pooled / pooled.square().sum(dim=1, keepdim=True).sqrt()
    found = clipdet.embed(batch)
    agree(found["feature"], feature)
    state = clipdet.network.state_dict()
    agree(found["logit"], feature @ state["head.fc.weight"].T + state["head.fc.bias"], 1e-4)


@pytest.mark.parametrize(
    "spec",
    [pytest.param("freqnet", marks=pytest.mark.slow), "spectrum", pytest.param("npr", marks=pytest.mark.slow)],
)
def test_features_in_bf16_are_those_of_fp32_to_its_rounding(spec: str) -> None:
    backbone = create(spec).load(device="cpu", weights=RandomWeights())
    batch = pixels(256)
    exact = backbone.embed(batch)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = backbone.embed(batch)
    for layer, rows in exact.items():
        assert (found[layer].float() - rows).norm() <= 0.1 * rows.norm()
