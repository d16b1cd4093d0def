"""Fleet: its input, its key names, and its layers against a second writing on a small trunk."""

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from fewshot.embeddings.backbones.fleet import Fleet, FleetNetwork, Prototypes, own_names, published_names, two_inputs
from fewshot.embeddings.card import RandomWeights
from fewshot.embeddings.inputs.detector_crops import SquashBesideCrop
from fewshot.embeddings.networks.routing import RoutingSizes
from fewshot.embeddings.weights.checkpoint import fill_seeded

MEAN, STD = (np.array(values).reshape(3, 1, 1) for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))


def trunk(blocks: int) -> Any:
    from transformers import DINOv3ViTConfig, DINOv3ViTModel

    shape: Any = {"hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 2, "num_register_tokens": 4}
    config = DINOv3ViTConfig(num_hidden_layers=blocks, image_size=224, patch_size=16, **shape)
    made: Any = DINOv3ViTModel(config)
    return made.eval()


def picture(width: int, height: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(width).integers(0, 256, (height, width, 3), dtype=np.uint8))


@pytest.fixture(scope="module")
def small() -> Fleet:
    """The backbone on a trunk of two blocks, 32 wide, with seeded weights."""
    backbone = Fleet()
    sizes = RoutingSizes(feature=32, width=32, heads=4, hidden=24, embedding=16)
    network = nn.ModuleDict({"net": FleetNetwork(trunk(2), sizes), "head": Prototypes(16)})
    fill_seeded(network.state_dict(), RandomWeights())
    backbone.network = network
    return backbone.freeze("cpu")


def high_frequencies(pixels: Any) -> Any:
    """The clamped high half of the spectrum, in NumPy: (3, 128, 128)."""
    rows, columns = np.mgrid[:128, :128] - 64
    kept = rows**2 + columns**2 > 128 * 128 * 0.5 / np.pi
    spectrum = np.fft.fftshift(np.fft.fft2(pixels), axes=(1, 2)) * kept
    return np.clip(np.fft.ifft2(np.fft.ifftshift(spectrum, axes=(1, 2))).real, 0, 1)


@pytest.mark.parametrize(("width", "height"), [(300, 201), (100, 90), (129, 127), (31, 400)])
def test_both_branches_see_what_a_second_writing_makes_of_the_image(width: int, height: int) -> None:
    image = picture(width, height)
    found = Fleet().stages(image)

    whole = np.asarray(image.resize((224, 224), Image.Resampling.BILINEAR)).transpose(2, 0, 1) / 255
    if min(image.size) < 128:
        scale = 128 / min(image.size)
        image = image.resize((int(width * scale), int(height * scale)), Image.Resampling.BILINEAR)
    left, top = (image.width - 128) // 2, (image.height - 128) // 2
    crop = np.asarray(image)[top : top + 128, left : left + 128].transpose(2, 0, 1) / 255

    np.testing.assert_allclose(found["dinov3"], (whole - MEAN) / STD, atol=1e-5)
    np.testing.assert_allclose(found["xception"], (high_frequencies(crop) - MEAN) / STD, atol=1e-5)


def test_a_crop_wider_than_the_whole_is_refused() -> None:
    with pytest.raises(ValueError, match="a crop of 300 pixels does not stand beside an image of 224"):
        SquashBesideCrop(224, 300)


@pytest.mark.second_writing("fleet")
def test_layers_equal_a_second_writing_with_merged_updates(small: Fleet) -> None:
    network: Any = small.network["net"]  # type: ignore[index]  # a ModuleDict
    batch = torch.rand(2, 3, 224, 352, generator=torch.Generator().manual_seed(0))
    whole, crop = two_inputs(batch)
    found = small.embed(batch)

    merged = trunk(3)  # one block more, which the layer read is before
    state = {key.removeprefix("dinov3."): value for key, value in network.state_dict().items()}
    names = {key for key in state if key.endswith("original_layer.weight")}
    own = {key.replace("original_layer.", ""): value for key, value in state.items()}
    for name in names:
        layer = name.removesuffix("original_layer.weight")
        own[f"{layer}weight"] = state[name] + 2 * state[f"{layer}lora_B"] @ state[f"{layer}lora_A"]
    merged.load_state_dict({key: value for key, value in own.items() if key in merged.state_dict()}, strict=False)
    with torch.no_grad():
        states = merged(pixel_values=whole, output_hidden_states=True).hidden_states
        dino = merged.norm(states[2])[:, 0]
        pooled = network.xception(crop)
    with torch.no_grad():
        expected = _behind(dino.double(), pooled.double(), network.behind.double().state_dict())
        network.behind.float()
    fake, real = (small.network.state_dict()[f"head.{name}_prototype"].double() for name in ("fake", "real"))
    cosines = [expected["embedding"] @ each / each.norm() for each in (fake, real)]

    for layer, values in {**expected, "branches": torch.cat([dino, pooled], dim=1), "dino": dino}.items():
        torch.testing.assert_close(found[layer].double(), values.double(), atol=2e-4, rtol=2e-4)
    torch.testing.assert_close(found["logit"][:, 0].double(), cosines[0] - cosines[1], atol=2e-4, rtol=2e-4)


def _behind(dino: Tensor, pooled: Tensor, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """What stands behind both branches, written with matrices."""

    def linear(rows: Tensor, name: str) -> Tensor:
        return rows @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    def norm(rows: Tensor, name: str) -> Tensor:
        centred = rows - rows.mean(1, keepdim=True)
        unit = centred / (centred.var(1, unbiased=False, keepdim=True) + 1e-5).sqrt()
        return (unit * weights[f"{name}.weight"] + weights[f"{name}.bias"]).clamp(min=0)

    signal = linear(pooled, "xception_fc")
    query = linear(norm(linear(signal, "routing.q_proj.0"), "routing.q_proj.1"), "routing.q_proj.4")
    keys, values = (linear(dino, f"routing.{name}").reshape(2, 4, 8) for name in ("k_proj", "v_proj"))
    route = torch.softmax(torch.einsum("nq,nhq->nh", query, keys) / 8**0.5, dim=1)
    fused = linear(torch.einsum("nh,nhq->nhq", route, values).reshape(2, 32), "routing.out_proj")
    raw = linear(norm(linear(fused, "projection.0"), "projection.1"), "projection.4")
    return {"signal": signal, "route": route, "fused": fused, "embedding": raw / raw.norm(dim=1, keepdim=True)}


@pytest.mark.parametrize("written", ["dinov3.model.layer.", "dinov3.layer."])
def test_keys_of_both_forms_of_transformers_are_read(small: Fleet, written: str) -> None:
    own = small.network["net"].state_dict()  # type: ignore[index]  # a ModuleDict
    published = published_names(own)
    theirs = {key.replace("dinov3.model.layer.", written): value for key, value in published.items()}

    assert "routing.q_proj.0.weight" in theirs
    assert f"{written}0.mlp.up_proj.lora_A" in theirs
    assert own_names(theirs).keys() == own.keys()


def test_without_prototypes_there_is_no_logit(small: Fleet) -> None:
    assert "logit" not in Fleet().available_layers(["net"])
    assert "logit" in small.available_layers(["net", "head"])


def test_the_trunk_stays_in_eval_mode_when_the_rest_is_trained() -> None:
    network = FleetNetwork(trunk(1), RoutingSizes(feature=32, width=32, heads=4, hidden=24, embedding=16)).train()
    whole = torch.rand(1, 3, 224, 224)

    assert network.xception.training
    assert torch.equal(network.class_token(whole), network.class_token(whole))
    trained = {name for name, value in network.named_parameters() if value.requires_grad}
    assert {name for name in trained if name.startswith("dinov3.")} == {
        f"dinov3.{key}" for key in network.dinov3.state_dict() if "lora_" in key
    }
