"""Which backbones a contract is asked of, by discovery: a new one cannot be forgotten.

A test that takes ``spec`` runs for every variant; one that takes ``spec`` and ``device`` runs the network, once for
each backbone and device, the heavy ones in the slow group. All tests of one network stand in a row: it is loaded once.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import pytest
import torch

from fewshot.embeddings.backbones.base import BACKBONES, Backbone
from fewshot.embeddings.backbones.creation import create
from fewshot.embeddings.card import RandomWeights

# Generic adapters are tried on small models; others in all their variants.
SAMPLES = {
    "clip": ("clip:RN50:openai",),
    "timm": ("timm:test_vit.r160_in1k", "timm:test_resnet.r160_in1k"),
    "torchvision": ("torchvision:mobilenet_v3_small", "torchvision:swin_v2_t"),
}
HEAVY_PARAMETERS = 60_000_000
HEAVY_GFLOPS = 40.0
GPU_GFLOPS = 5_000.0  # half an hour an image on two CPU cores


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if {"spec", "device"} <= set(metafunc.fixturenames):
        metafunc.parametrize(("spec", "device"), _runs(), scope="module")  # pytest sorts by what has a wider scope
    elif "spec" in metafunc.fixturenames:
        metafunc.parametrize("spec", all_specs())


@lru_cache
def all_specs() -> tuple[str, ...]:
    """Every variant of every backbone, as users type it."""
    found: list[str] = []
    for name in BACKBONES.names():
        member: type[Backbone] = BACKBONES.load(name)
        found += SAMPLES.get(name) or [f"{name}:{variant}" for variant in member.variants] or [name]
    return tuple(found)


@lru_cache
def _runs() -> list[Any]:
    """One variant of every backbone on every device; what would take half an hour an image on a GPU only."""
    seen: set[str] = set()
    found = []
    for spec in all_specs():
        name = spec.partition(":")[0]
        if name in seen and name not in SAMPLES:
            continue
        seen.add(name)
        # cards of generic adapters run their network on shapes: not while tests are collected
        known_light = name in SAMPLES
        gflops = 0.0 if known_light else create(spec).card.gflops or 0.0
        if gflops <= GPU_GFLOPS:
            slow = [] if known_light or not is_heavy(spec) else [pytest.mark.slow]
            found.append(pytest.param(spec, "cpu", marks=slow, id=f"{spec}-cpu"))
        found.append(pytest.param(spec, "cuda", marks=[pytest.mark.gpu], id=f"{spec}-cuda"))
    return found


def is_heavy(spec: str) -> bool:
    card = create(spec).card
    return (card.parameters or 0) > HEAVY_PARAMETERS or (card.gflops or 0) > HEAVY_GFLOPS


@pytest.fixture(scope="module")
def heavy(spec: str) -> bool:
    """Whether one image takes seconds on a CPU."""
    return is_heavy(spec)


@pytest.fixture(scope="module")
def loaded(spec: str, device: str, quickly_filled: Callable[..., Backbone]) -> Backbone:
    """The backbone with seeded values, ready to run; let go before the next one is loaded."""
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("needs CUDA, and this machine has none")
    return quickly_filled(spec, device) if is_heavy(spec) else create(spec).load(device=device, weights=RandomWeights())
