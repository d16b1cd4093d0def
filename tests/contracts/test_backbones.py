"""What every registered backbone keeps, found by discovery: a new one cannot be forgotten."""

import pickle  # noqa: TID251  # rules travel to worker processes
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode

from fewshot.core.errors import UnknownNameError, WeightsError
from fewshot.embeddings.backbones.base import BACKBONES, Backbone, create
from fewshot.embeddings.transforms import CenterCrop
from fewshot.embeddings.weights import RandomWeights, resolve

# Generic adapters are tried on small models; others in all their variants.
SAMPLES = {
    "clip": ("clip:RN50:openai",),
    "timm": ("timm:test_vit.r160_in1k", "timm:test_resnet.r160_in1k"),
    "torchvision": ("torchvision:mobilenet_v3_small", "torchvision:swin_v2_t"),
}
HEAVY_PARAMETERS = 60_000_000
HEAVY_GFLOPS = 40.0
COSTLY_GFLOPS = 200.0
GPU_GFLOPS = 5_000.0  # half an hour an image on two CPU cores
TOLERANCE = 1e-4


def specs() -> list[str]:
    found: list[str] = []
    for name in BACKBONES.names():
        member: type[Backbone] = BACKBONES.load(name)
        found += SAMPLES.get(name) or [f"{name}:{variant}" for variant in member.variants] or [name]
    return found


def heavy(backbone: Backbone) -> bool:
    card = backbone.card
    return (card.parameters or 0) > HEAVY_PARAMETERS or (card.gflops or 0) > HEAVY_GFLOPS


def first_variants() -> list[Any]:
    """One spec per backbone to run; the heavy ones in the slow group."""
    seen: set[str] = set()
    found = []
    for spec in specs():
        name = spec.partition(":")[0]
        if name in seen and name not in SAMPLES:
            continue
        seen.add(name)
        backbone = create(spec)
        needs_gpu = (backbone.card.gflops or 0) > GPU_GFLOPS
        marks = [pytest.mark.gpu] if needs_gpu else [pytest.mark.slow] if heavy(backbone) else []
        found.append(pytest.param(spec, marks=marks))
    return found


@lru_cache(maxsize=1)
def loaded(spec: str, device: str) -> Backbone:
    """The backbone with torch's own seeded initial values: cheaper than the filler, and as good for these questions."""
    backbone = create(spec)
    torch.manual_seed(0)
    if heavy(backbone):
        backbone.device = torch.device(device)
        backbone.network = backbone.build().eval().requires_grad_(False).to(device)
        backbone.loaded()
        return backbone
    return backbone.load(device=device, weights=RandomWeights())


def photograph(seed: int, *, height: int = 290, width: int = 330) -> Image.Image:
    """A smooth gradient with texture, so that no branch sees pure noise."""
    generator = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:height, 0:width]
    waves = [np.sin(rows / (5 + seed) + channel) + np.cos(columns / (9 + channel)) for channel in range(3)]
    pixels = 128 + 40 * np.stack(waves, axis=-1) + generator.normal(0, 8, size=(height, width, 3))
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def relative(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    return float((ours - theirs).abs().max() / theirs.abs().max().clamp(min=1e-12))


@pytest.mark.parametrize("spec", specs())
def test_card_states_every_fact_without_weights(spec: str) -> None:
    backbone = create(spec)
    card = backbone.card

    assert card.name in (spec, spec.partition(":")[0])
    assert card.layer in card.layers
    assert all(dimension > 0 for dimension in card.layers.values())
    assert all((card.paper, card.reference, card.licence, card.note))
    assert None not in (card.parameters, card.gflops)
    assert card.equality in ("golden", "code-equivalent", "unverified")
    for file in card.weights:
        assert file.licence
        assert file.url or file.repository or file.package or file.manual, f"{file.file}: nobody could find it"
    assert len({file.part for file in card.weights}) == len(card.weights)


@pytest.mark.parametrize("spec", [spec for spec in specs() if spec.partition(":")[0] not in SAMPLES])
def test_parameters_and_operations_are_those_of_the_network(spec: str) -> None:
    backbone = create(spec)
    image = np.asarray(backbone.preprocess(photograph(1, height=300, width=400)))
    with torch.device("meta"):
        backbone.network = backbone.build().eval().requires_grad_(False)
    backbone.device = torch.device("meta")

    assert sum(parameter.numel() for parameter in backbone.network.parameters()) == backbone.card.parameters
    if backbone.name in ("lgrad", "dire"):  # a gradient inside the pass; forty passes, counted in test_diffusion.py
        return
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        backbone.features(backbone.normalise(torch.from_numpy(image)[None].to("meta")))

    assert counter.get_total_flops() / 1e9 == pytest.approx(backbone.card.gflops, rel=0.03, abs=0.01)


@pytest.mark.parametrize("spec", specs())
def test_input_rule_travels_to_workers_and_takes_any_size(spec: str) -> None:
    rule = create(spec).card.input

    travelled = pickle.loads(pickle.dumps(rule))

    assert travelled == rule
    assert hash(travelled) == hash(rule)
    for height, width in ((31, 31), (1, 1), (40, 5000), (300, 257)):
        image = photograph(1, height=height, width=width)
        prepared = np.asarray(travelled(image))
        np.testing.assert_array_equal(prepared, np.asarray(rule(image)))
        if rule.fixed_size is not None:
            assert prepared.shape[-2:] == rule.fixed_size


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
@pytest.mark.parametrize("spec", first_variants())
def test_rows_do_not_depend_on_batch_order_or_run(spec: str, device: str) -> None:
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("needs CUDA")
    backbone = loaded(spec, device)
    # seconds an image: two images instead of seven, and not a second run
    costly = (backbone.card.gflops or 0) > COSTLY_GFLOPS
    count = 2 if costly else 7
    last = count - 1
    batch = torch.from_numpy(np.stack([prepared(backbone, photograph(seed)) for seed in range(count)]))

    together = backbone.embed(batch)

    alone = backbone.embed(batch[last:])
    again = alone if costly else backbone.embed(batch[last:])
    for layer, values in together.items():
        assert values.shape == (count, backbone.dimension(layer))
        assert torch.isfinite(values).all()
        assert relative(alone[layer][0], values[last]) <= TOLERANCE, layer
        assert torch.equal(alone[layer], again[layer]), layer
    if not heavy(backbone):
        order = [6, 3, 0, 5, 1, 4, 2]
        permuted = backbone.embed(batch[order])
        assert all(relative(permuted[layer], together[layer][order]) <= TOLERANCE for layer in together)
    # other images must lie further off than the same image in another batch, or the above says nothing
    layer = backbone.card.layer
    assert relative(together[layer][0], together[layer][1]) > 10 * relative(alone[layer][0], together[layer][last])
    assert set(together) == set(backbone.layers)


def prepared(backbone: Backbone, image: Image.Image) -> NDArray[np.generic]:
    return np.asarray(backbone.preprocess(image))


@pytest.mark.parametrize("spec", specs())
def test_a_backbone_without_weights_never_runs_on_random_ones(spec: str, tmp_path: Path) -> None:
    card = create(spec).card
    needed = [file for file in card.weights if not file.optional and not file.package]

    if needed:
        with pytest.raises(WeightsError, match=r"which is not in .*--weights .*=PATH"):
            resolve(card, cache=tmp_path)
        with pytest.raises(WeightsError, match="which is not"):
            create(spec).load(device="cpu", weights={})
    else:
        resolve(card, cache=tmp_path)


@pytest.mark.parametrize("spec", [param for param in first_variants() if create(param.values[0]).card.weights])
def test_a_checkpoint_of_another_network_is_refused(spec: str, tmp_path: Path) -> None:
    path = tmp_path / "other.pth"
    torch.save({"model": {"somewhere.weight": torch.ones(3, 3)}}, path)
    backbone = create(spec)

    with pytest.raises(WeightsError, match=r"other\.pth for backbone .* does not fit the network"):
        backbone.load(device="cpu", weights={file.part: path for file in backbone.card.weights})


def test_unknown_names_variants_and_layers_are_named_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="there is no backbone 'ferretnt'; did you mean 'ferretnet'"):
        create("ferretnt")
    with pytest.raises(UnknownNameError, match="no variant of npr 'crop22'; did you mean 'crop224'"):
        create("npr:crop22")
    with pytest.raises(UnknownNameError, match="no layer of npr 'featur'; did you mean 'feature'"):
        create("npr", layers=("featur",))


def test_names_of_default_variants_are_short() -> None:
    assert create("npr:resize256").card.name == create("npr").card.name == "npr"
    assert create("npr:crop224").card.name == "npr:crop224"
    assert create("npr:crop224").card.input.steps == (CenterCrop(224, 224),)
