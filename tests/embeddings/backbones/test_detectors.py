"""Detectors without a golden output against a second writing, and parts of others against plain definitions."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import models, transforms

from fewshot.core.errors import WeightsError
from fewshot.embeddings.backbones.base import Backbone
from fewshot.embeddings.backbones.creation import create
from fewshot.embeddings.backbones.freqnet import channel_high_pass, high_pass
from fewshot.embeddings.backbones.gramnet import gram
from fewshot.embeddings.backbones.lgrad import quantise
from fewshot.embeddings.backbones.safe import diagonal_band
from fewshot.embeddings.card import RandomWeights
from fewshot.embeddings.networks.clip_hf import image_tower_l14

IMAGENET = transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def picture(height: int = 301, width: int = 398) -> Image.Image:
    return Image.fromarray(np.random.default_rng(3).integers(0, 256, (height, width, 3), dtype=np.uint8))


def ours(backbone: Backbone, image: Image.Image) -> dict[str, torch.Tensor]:
    return backbone.embed(torch.from_numpy(np.asarray(backbone.preprocess(image)))[None])


def saved(network: torch.nn.Module, path: Path) -> Path:
    torch.save({"model": network.state_dict(), "optimizer": {}, "total_steps": 3}, path)
    return path


@pytest.mark.second_writing("dire-rgb")
def test_dire_rgb_equals_torchvisions_resnet50_on_the_cropped_image(tmp_path: Path) -> None:
    torch.manual_seed(0)
    theirs: Any = models.resnet50(weights=None, num_classes=1).eval()
    backbone = create("dire-rgb").load(device="cpu", weights={"net": saved(theirs, tmp_path / "lsun_adm.pth")})
    steps = transforms.Compose([transforms.Resize(256), transforms.CenterCrop(224), transforms.ToTensor(), IMAGENET])

    found = ours(backbone, picture())

    with torch.inference_mode():
        torch.testing.assert_close(found["logit"], theirs(steps(picture())[None]))
        theirs.fc = torch.nn.Identity()
        torch.testing.assert_close(found["feature"], theirs(steps(picture())[None]))


@pytest.mark.second_writing("resnet50:imagenet")
def test_resnet50_equals_torchvisions_on_the_float_resized_image(tmp_path: Path) -> None:
    torch.manual_seed(0)
    theirs: Any = models.resnet50(weights=None).eval()
    backbone = create("resnet50").load(device="cpu", weights={"net": saved(theirs, tmp_path / "own.pth")})
    steps = transforms.Compose([transforms.ToTensor(), transforms.Resize((224, 224), antialias=True), IMAGENET])
    theirs.fc = torch.nn.Identity()

    found = ours(backbone, picture())["feature"]

    with torch.inference_mode():
        torch.testing.assert_close(found, theirs(steps(picture())[None]), atol=1e-5, rtol=1e-4)


@pytest.mark.slow
@pytest.mark.second_writing("clipdetection:fiser")
def test_clipdetection_equals_hugging_faces_clip_with_the_head_of_fiser(tmp_path: Path) -> None:
    torch.manual_seed(0)
    theirs: Any = image_tower_l14().eval()
    head = torch.nn.Linear(768, 1)
    state = {f"module.backbone.{key}": value for key, value in theirs.state_dict().items()}
    state |= {f"module.classifier.{key}": value for key, value in head.state_dict().items()}
    torch.save({"state_dict": state}, tmp_path / "own.pth")
    backbone = create("clipdetection").load(device="cpu", weights={"net": tmp_path / "own.pth"})
    clip = transforms.Normalize((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
    resized = picture().resize((int(398 / 301 * 224), 224), Image.Resampling.BICUBIC)
    left = (resized.width - 224) // 2

    found = ours(backbone, picture())

    images = clip(transforms.functional.to_tensor(resized.crop((left, 0, left + 224, 224))))[None]
    with torch.inference_mode():
        expected = theirs(pixel_values=images).image_embeds
        torch.testing.assert_close(found["feature"], expected, atol=1e-4, rtol=1e-3)
        torch.testing.assert_close(found["logit"], head(expected), atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize(
    "wrapper", ["", "model", "state_dict", "model_state_dict", "netC", "net", "encoder", "module.", "_orig_mod.module."]
)
def test_a_detector_loads_from_every_documented_wrapper(wrapper: str, tmp_path: Path) -> None:
    first = create("tiny-ladeda").load(device="cpu", weights=RandomWeights())
    state: dict[str, Any] = dict(first.network.state_dict())
    if wrapper.endswith("."):
        state = {f"{wrapper}{key}": value for key, value in state.items()}
    elif wrapper:
        state = {wrapper: state, "optimizer": {"state": {0: {"exp_avg": torch.zeros(3)}}}, "total_steps": 9}
    torch.save(state, tmp_path / "own.pth")

    second = create("tiny-ladeda").load(device="cpu", weights={"net": tmp_path / "own.pth"})

    assert torch.equal(ours(first, picture())["feature"], ours(second, picture())["feature"])


def test_grams_are_inner_products_of_maps() -> None:
    maps = torch.randn(1, 4, 3, 5, generator=torch.Generator().manual_seed(0))

    found = gram(maps)

    assert found.shape == (1, 1, 4, 4)
    torch.testing.assert_close(found[0, 0, 1, 2], (maps[0, 1] * maps[0, 2]).sum() / (4 * 3 * 5))


def masked(hidden: torch.Tensor, dimensions: tuple[int, ...]) -> torch.Tensor:
    """The reference's way: the whole spectrum, shifted, its middle block zero, the real part of what comes back."""
    spectrum = torch.fft.fftshift(torch.fft.fftn(hidden, dim=dimensions), dim=dimensions)
    block = [slice(None)] * 4
    for dimension in dimensions:
        half, quarter = hidden.shape[dimension] // 2, hidden.shape[dimension] // 4
        block[dimension] = slice(half - quarter, half + quarter)
    spectrum[tuple(block)] = 0
    back = torch.fft.ifftn(torch.fft.ifftshift(spectrum, dim=dimensions), dim=dimensions)
    real: torch.Tensor = back.real
    return real.clamp(min=0)


@pytest.mark.parametrize("shape", [(2, 8, 16, 12), (1, 5, 9, 7), (1, 6, 10, 15)])
def test_high_passes_equal_the_masked_spectrum(shape: tuple[int, ...]) -> None:
    hidden = torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    torch.testing.assert_close(high_pass(hidden), masked(hidden, (2, 3)))
    torch.testing.assert_close(channel_high_pass(hidden), masked(hidden, (1,)))


def test_the_diagonal_band_is_zero_on_ramps_and_finds_checkers() -> None:
    rows, columns = torch.meshgrid(torch.arange(8.0), torch.arange(6.0), indexing="ij")
    ramp, checkers = (2 * rows + columns)[None, None], ((rows + columns) % 2)[None, None]

    assert diagonal_band(ramp).shape == (1, 1, 6, 5)
    assert not diagonal_band(ramp)[..., 1:-1, 1:-1].any()
    torch.testing.assert_close(diagonal_band(checkers)[..., 1:-1, 1:-1], -torch.ones(1, 1, 4, 3))


def test_gradients_are_stretched_over_all_grey_levels() -> None:
    gradient = torch.tensor([[-1.0, 0.0], [0.25, 1.0]]).expand(1, 3, 2, 2)

    assert quantise(gradient)[0, 0].flatten().tolist() == [0.0, 128.0, 159.0, 255.0]
    assert not quantise(torch.full((1, 3, 2, 2), 7.0)).any()


@pytest.mark.second_writing("lgrad:grad256-bgr")
def test_the_port_of_lgrad_exchanges_red_and_blue() -> None:
    original, port = (
        create(f"lgrad:{variant}").load(device="cpu", weights=RandomWeights()) for variant in ("grad256", "grad256-bgr")
    )

    first, second = (backbone.stages(picture())["input"] for backbone in (original, port))

    mean, std = 0.485, 0.229
    np.testing.assert_allclose(first[0] * std + mean, second[2] * 0.225 + 0.406, atol=1e-6)


@pytest.mark.second_writing("rine:1class", "rine:4class", "rine:ldm")
@pytest.mark.parametrize(("variant", "layers"), [("1class", 4), ("4class", 2), ("ldm", 4)])
def test_the_larger_heads_of_rine_equal_plain_formulas(variant: str, layers: int) -> None:
    with torch.device("meta"):
        head: Any = create(f"rine:{variant}").build().get_submodule("head")
    head = head.to_empty(device="cpu").eval().requires_grad_(False)
    for parameter in head.parameters():
        parameter.normal_(0, 0.05, generator=torch.Generator().manual_seed(0))
    stack = torch.randn(3, 24, 1024, generator=torch.Generator().manual_seed(1))
    state = head.state_dict()

    def chain(values: torch.Tensor, name: str, steps: int) -> torch.Tensor:
        """Dropout, then Linear, ReLU, Dropout, over and over: the Linears stand at 1, 4, 7, 10."""
        for place in range(1, 3 * steps, 3):
            values = (values @ state[f"{name}.{place}.weight"].T + state[f"{name}.{place}.bias"]).clamp(min=0)
        return values

    importance = state["alpha"].exp() / state["alpha"].exp().sum(dim=1, keepdim=True)
    z = chain((chain(stack, "proj1", layers) * importance).sum(dim=1), "proj2", layers)

    torch.testing.assert_close(head(stack), z, atol=1e-5, rtol=1e-4)
    assert sum(key.endswith("weight") for key in state) == 2 * layers + 3


def test_a_logit_that_is_asked_for_needs_the_head() -> None:
    with pytest.raises(WeightsError, match=r"'logit' of 'unifd' needs the head fc_weights\.pth.*unifd\.head=PATH"):
        create("unifd", layers=("feature", "logit")).load(device="cpu", weights={"clip": RandomWeights()})


@pytest.mark.slow
def test_without_its_head_unifd_has_features_and_no_logit() -> None:
    backbone = create("unifd").load(device="cpu", weights={"clip": RandomWeights()})

    assert set(ours(backbone, picture())) == {"feature", "penultimate"}
    assert backbone.weights_sha256 == {"clip": "random"}
