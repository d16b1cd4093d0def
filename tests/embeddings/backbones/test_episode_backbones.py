"""FSD and OmniDFA: their files, their layers, and their input against torchvision's."""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms
from torchvision.transforms import functional

from fewshot.core.errors import WeightsError
from fewshot.embeddings.backbones.base import Backbone
from fewshot.embeddings.backbones.creation import create
from fewshot.embeddings.inputs.detector_crops import CropAndWhole
from fewshot.embeddings.training.sphere_centre import SphereCentre
from fewshot.embeddings.weights.checkpoint import fill_strictly


def picture(height: int, width: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(3).integers(0, 256, (height, width, 3), dtype=np.uint8))


@pytest.mark.slow
def test_fsd_reads_its_own_file_and_gives_both_layers_and_no_logit(tmp_path: Path) -> None:
    import timm

    torch.manual_seed(0)
    theirs: Any = timm.create_model("resnet50", num_classes=1024).eval()
    beside = {"step": 200_000, "scaler": {}, "args": argparse.Namespace(exclude_class="ADM", seed=None)}
    torch.save({"model": theirs.state_dict(), **beside}, tmp_path / "resnet50_step[200000].pth")
    backbone = create("fsd").load(device="cpu", weights={"net": tmp_path / "resnet50_step[200000].pth"})
    steps = transforms.Compose([transforms.CenterCrop(224), transforms.ToTensor()])
    image = picture(150, 301)  # lower than the crop: black above and below

    found = backbone.embed(torch.from_numpy(backbone.preprocess(image))[None])

    assert {layer: values.shape for layer, values in found.items()} == {"embedding": (1, 1024), "pooled": (1, 2048)}
    with torch.inference_mode():
        torch.testing.assert_close(found["embedding"], theirs(steps(image)[None]))
        torch.testing.assert_close(found["embedding"], theirs.fc(found["pooled"]))


@pytest.mark.parametrize("size", [(300, 411), (256, 256), (640, 257)])
def test_omnidfas_views_are_torchvisions_with_the_crops_in_the_middle(size: tuple[int, int]) -> None:
    image = picture(*size)
    pixels = functional.to_tensor(image)

    crop, whole = CropAndWhole(224, least=256)(image)

    np.testing.assert_array_equal(crop, functional.center_crop(pixels, [224, 224]).numpy())
    shrunk = functional.center_crop(functional.resize(pixels, [224], antialias=True), [224, 224])
    np.testing.assert_allclose(whole, shrunk.numpy(), rtol=0, atol=5e-5)  # a hundredth of a grey level


def test_a_small_image_is_enlarged_before_omnidfas_views_are_cut() -> None:
    image = picture(100, 151)
    enlarged = image.resize((round(151 * 2.56), 256), Image.Resampling.BILINEAR)

    step = CropAndWhole(224, least=256)

    np.testing.assert_array_equal(step(image), step(enlarged))


@pytest.fixture(scope="module")
def omnidfa() -> Backbone:
    """Keys and shapes alone."""
    backbone = create("omnidfa")
    with torch.device("meta"):
        backbone.network = backbone.build()
    return backbone


def test_omnidfas_two_parts_are_entries_of_one_file(omnidfa: Backbone) -> None:
    first, second = omnidfa.card.weights

    assert (first.file, first.optional, second.file, second.optional) == ("omnidfa.pth", False, "omnidfa.pth", True)
    assert [omnidfa.entries[file.part] for file in (first, second)] == ["model", "cl_model"]
    keys = list(omnidfa.part("net").state_dict())
    assert {key.split(".")[0] for key in keys} == {"backbone1", "backbone2", "mlp"}
    assert set(omnidfa.part("head").state_dict()) == {"center_real", "cosine_threshold"}


def test_a_file_without_the_centre_is_no_head_of_omnidfa(omnidfa: Backbone) -> None:
    with pytest.raises(WeightsError, match=r"missing keys \(center_real, cosine_threshold\)"):
        fill_strictly(omnidfa.part("head"), dict(omnidfa.part("net").state_dict()), ignorable=(), what="a file")


def test_omnidfas_logit_is_the_threshold_minus_the_cosine_to_the_centre() -> None:
    backbone = create("omnidfa")
    layers = torch.nn.ModuleDict({"backbone1": _Means(), "backbone2": _Means(), "mlp": torch.nn.Identity()})
    backbone.network = torch.nn.ModuleDict({"net": layers, "head": _centre()})
    batch = torch.zeros(2, 2, 3, 4, 4)
    batch[0, 0], batch[1, 1] = 1.0, 1.0  # the first along the centre, the second across it

    with_centre = backbone.features(batch)
    del backbone.network["head"]
    without = backbone.features(batch)

    torch.testing.assert_close(with_centre["logit"], torch.tensor([[0.8 - 1.0], [0.8 - 0.0]]))
    assert "logit" not in without
    torch.testing.assert_close(without["embedding"], torch.tensor([[1.0, 0.0], [0.0, 1.0]]))


class _Means(torch.nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.mean(dim=(1, 2, 3))[:, None]


def _centre() -> torch.nn.Module:
    centre = SphereCentre(2)
    with torch.no_grad():
        centre.center_real.copy_(torch.tensor([2.0, 0.0]))
        centre.cosine_threshold.fill_(0.8)
    return centre
