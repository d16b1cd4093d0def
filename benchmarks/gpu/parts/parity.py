"""Every light backbone and one ViT-L: features on the CPU in fp32 against those on the device in fp32, bf16 and fp16.

Weights are drawn from seeds, so that both sides have the same; the error is ||device - cpu|| / ||cpu|| over two images,
the largest of all layers. The bounds are those of arithmetic: TF32 convolutions keep 10 bits of the mantissa, fp16 10,
bf16 7, and errors add up over a network's depth.
"""

from collections.abc import Iterator

import numpy as np
import torch
from PIL import Image

from benchmarks.gpu.line import Line
from benchmarks.gpu.sizes import Sizes
from fewshot.embeddings.backbones.base import BACKBONES, Backbone
from fewshot.embeddings.backbones.creation import create
from fewshot.embeddings.card import RandomWeights
from fewshot.embeddings.pipeline.forward import Device

VIT_L = "clip:ViT-L-14:openai"
SMALL = ("clip:RN50:openai", "timm:test_vit.r160_in1k", "torchvision:mobilenet_v3_small")
LIGHT_PARAMETERS, LIGHT_GFLOPS = 60_000_000, 40.0
BOUNDS = {"fp32": 5e-3, "fp16": 2e-2, "bf16": 1e-1}


def lines(sizes: Sizes) -> Iterator[Line]:
    """Yield one line per backbone."""
    for spec in sizes.specs or (*light(), VIT_L):
        try:
            yield compared(spec, sizes)
        except Exception as error:  # one backbone that cannot run is a missed line, not the end
            yield Line(spec, {"error": f"{type(error).__name__}: {str(error)[:200]}"}, wanted="features", met=False)


def light() -> tuple[str, ...]:
    """Return every light backbone of ours, in its default variant, and small models for the generic adapters."""
    generic = {spec.partition(":")[0] for spec in SMALL}
    own = [name for name in BACKBONES.names() if name not in generic]
    return (*(name for name in own if _is_light(name)), *SMALL)


def _is_light(name: str) -> bool:
    try:
        card = create(name).card
    except ImportError:  # a package that this machine lacks; the line of the backbone would only repeat it
        return False
    return (card.parameters or 0) <= LIGHT_PARAMETERS and (card.gflops or 0) <= LIGHT_GFLOPS


def compared(spec: str, sizes: Sizes) -> Line:
    """Return the line of one backbone."""
    backbone = create(spec)
    backbone.load(device="cpu", weights=RandomWeights())
    pixels = np.random.default_rng(0).integers(0, 256, (2, 384, 384, 3), dtype=np.uint8)
    batch = torch.from_numpy(np.stack([backbone.preprocess(Image.fromarray(image)) for image in pixels]))
    reference = features(backbone, batch, Device(torch.device("cpu"), "fp32", 2))
    there = torch.device(sizes.device)
    backbone.network.to(there)
    backbone.device = there
    precisions = ("fp32", "bf16") if sizes.dry else ("fp32", "bf16", "fp16")  # the CPU has no fp16
    errors = {
        precision: largest_error(features(backbone, batch.to(there), Device(there, precision, 2)), reference)
        for precision in precisions
    }
    met = all(errors[precision] <= BOUNDS[precision] for precision in precisions)
    return Line(spec, errors, wanted=", ".join(f"{name} <= {BOUNDS[name]:g}" for name in precisions), met=met)


def features(backbone: Backbone, batch: torch.Tensor, device: Device) -> dict[str, torch.Tensor]:
    """Return {layer: (2, D) float64 on the CPU}."""
    with device.autocast():
        found = backbone.embed(batch)
    return {layer: rows.detach().to("cpu", torch.float64) for layer, rows in found.items()}


def largest_error(found: dict[str, torch.Tensor], reference: dict[str, torch.Tensor]) -> float:
    """Return the largest relative error of any layer; NaN anywhere is infinite."""
    errors = [float((found[layer] - rows).norm() / rows.norm().clamp_min(1e-30)) for layer, rows in reference.items()]
    return max(error if error == error else float("inf") for error in errors)
