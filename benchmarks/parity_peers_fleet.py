"""What our code answers for the golden files of Fleet (ICTMCG/Fleet @ fab6b41).

Fleet labels fakes 0 and reals 1; ours are told apart by masks.
"""

import copy
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from benchmarks.parity_peers_golden import Answer, Golden
from benchmarks.parity_peers_positions import RescaledPositions
from fewshot.embeddings.backbones.fleet import Fleet as FleetBackbone
from fewshot.embeddings.backbones.fleet import (
    FleetNetwork,
    Prototypes,
    imagenet_normalised,
    own_names,
    published_names,
    two_inputs,
)
from fewshot.embeddings.networks.lora import LoraLinear
from fewshot.embeddings.networks.residuals import clamped_high_frequencies
from fewshot.embeddings.networks.routing import MultiHeadRouting, RoutedEmbedding, RoutingSizes
from fewshot.embeddings.networks.xception import Xception
from fewshot.embeddings.training import fleet_losses as losses
from fewshot.embeddings.training.fleet_adaptation import (
    AdaptationSettings,
    LabelledImages,
    Reference,
    adapt,
    reference_of,
)
from fewshot.embeddings.weights.checkpoint import fill_seeded, fill_strictly

_CACHED = {"support": 10, "memory": 32, "query": 15}  # images of each class
_WIDTHS = {"feature": 32, "signal": 24}
_UNUSED = (r"xception\.fc\..*", r"fc\..*")


def fleet_losses(golden: Golden) -> Answer:
    """Losses and their gradients by embeddings or routing weights."""
    features, original = (_unit(golden.normal(f"fleet/{name}", (12, 16))) for name in ("features", "original"))
    attention = golden.normal("fleet/logits", (12, 4)).softmax(dim=1)
    fake, real = (golden.normal(f"fleet/{name}_anchor", (4,)).softmax(dim=0) for name in ("fake", "real"))
    labels = torch.tensor([0] * 5 + [1] * 7)
    synthetic, alone = labels == 0, torch.arange(12) < 1
    anchors = {"synthetic_anchor": fake, "natural_anchor": real}
    pretraining, adaptation = losses.pretraining_contrast, losses.contrast
    computed: Mapping[str, tuple[Callable[[Tensor], Tensor], Tensor]] = {
        "pretrain_contrastive": (lambda rows: pretraining(rows, synthetic), features),
        "pretrain_contrastive_t05": (lambda rows: pretraining(rows, synthetic, temperature=0.5), features),
        "pretrain_contrastive_singleton": (lambda rows: pretraining(rows, alone), features),
        "fewshot_contrastive": (lambda rows: adaptation(rows, synthetic), features),
        "fewshot_contrastive_t05": (lambda rows: adaptation(rows, synthetic, temperature=0.5), features),
        "fewshot_contrastive_singleton": (lambda rows: adaptation(rows, alone), features),
        "orthogonal": (lambda rows: losses.orthogonality(rows, synthetic), attention),
        "coverage": (lambda rows: losses.coverage(rows, synthetic), attention),
        "distillation10": (lambda rows: 10 * losses.distillation(rows, original), features),
        "avoidance20": (lambda rows: 20 * losses.avoidance(rows, synthetic, **anchors), attention),
        "avoidance_fake_only": (lambda rows: losses.avoidance(rows[:5], synthetic[:5], **anchors), attention),
    }
    found = {
        "features": features, "original": original, "attention": attention, "labels": labels,
        "fake_anchor": fake, "real_anchor": real,
        "orthogonal_one_class": losses.orthogonality(attention, torch.ones(12, dtype=torch.bool)),
    }  # fmt: skip
    for name, (loss, at) in computed.items():
        point = at.clone().requires_grad_(True)
        found[name] = loss(point)
        (found[f"{name}_grad"],) = torch.autograd.grad(found[name], point)
    return _arrays(found)


def fleet_fft(golden: Golden) -> Answer:
    """What both branches receive."""
    kinds = (("noise", 300, 400), ("blocks", 320, 400), ("noise", 100, 90), ("blocks", 129, 127))
    images = [golden.image(f"fleet/{number}", *kind) for number, kind in enumerate(kinds)]
    backbone = FleetBackbone()
    stages = [backbone.stages(image) for image in images]
    whole, crop = (np.stack([each[name] for each in stages]) for name in ("dinov3", "xception"))
    fft = {
        name: imagenet_normalised(clamped_high_frequencies(golden.uniform(f"fleet/{name}", shape)[None], size=size))[0]
        for name, shape, size in (
            ("fft", (3, 128, 128), 128), ("fft_other", (3, 100, 140), 128), ("fft_small", (3, 16, 16), 16)
        )
    }  # fmt: skip
    return {
        **_arrays({"fft_sub": fft["fft"][:, ::8, ::8], "fft_other_sub": fft["fft_other"][:, ::8, ::8]}),
        "fft_16": fft["fft_small"].numpy(),
        "dinov3_sub": whole[:, :, ::16, ::16],
        "xception_sub": crop[:, :, ::8, ::8],
        "dinov3_stats": _stats(whole),
        "xception_stats": _stats(crop),
    }


def fleet_routing(golden: Golden) -> Answer:
    """The routing in two sizes and one layer with its update, with gradients."""
    small, full, layer = MultiHeadRouting(32, 4, 8), MultiHeadRouting(1024, 8, 128), nn.Linear(10, 7)
    updated = LoraLinear(layer, rank=3, alpha=6)
    for module, name in ((small, "fill_sum"), (full, "fill_sum_1024"), (updated, "fill_sum_lora")):
        golden.fill(module.eval(), checked=name)
    signal, feature, probe = (golden.normal(f"fleet/{name}", (6, 32)) for name in ("signal", "feature", "probe"))
    signal.requires_grad_(True)
    feature.requires_grad_(True)
    output, weights = small(signal, feature)
    torch.autograd.backward((output * probe).sum() + (weights**2).sum())
    large = [golden.normal(f"fleet/{name}1024", (4, 1024)) for name in ("signal", "feature")]
    output_full, weights_full = full(*large)
    rows = golden.normal("fleet/lora", (5, 10))
    updated_rows = updated(rows)
    torch.autograd.backward((updated_rows * golden.normal("fleet/lora_probe", (5, 7))).sum())
    return _arrays(
        {
            "signal": signal, "feature": feature, "probe": probe, "output": output, "weights": weights,
            "signal_grad": signal.grad, "feature_grad": feature.grad,
            **{f"grad/{key}": value.grad for key, value in small.named_parameters()},
            "output1024": output_full, "weights1024": weights_full, "lora_x": rows, "lora_y": updated_rows,
            "lora_A_grad": updated.lora_A.grad, "lora_B_grad": updated.lora_B.grad,
        }
    )  # fmt: skip


def fleet_xception(golden: Golden) -> Answer:
    """Pooled features of the Xception."""
    network = Xception().eval()
    golden.fill(network)
    with torch.no_grad():
        return _arrays({"pooled": network(golden.normal("fleet/xception", (3, 3, 128, 128)))})


def fleet_model(golden: Golden) -> Answer:
    """The whole network on a small DINOv3, read in three ways, and its score against two prototypes."""
    whole, crop = _inputs(golden, "model_dino", "model_xcep", 3)
    found: dict[str, Any] = {}
    for name, blocks, final_norm in (("norm3", 3, True), ("raw3", 3, False), ("last", 4, True)):
        network = tiny_network(golden, blocks=blocks, final_norm=final_norm).eval()
        with torch.no_grad():
            found[f"projected_{name}"], found[f"weights_{name}"] = network(whole, crop)
        if name == "norm3":
            with torch.no_grad():
                found["cls_norm3"] = network.class_token(whole)
            found |= _validation(golden, network)
    return _arrays(found)


def _validation(golden: Golden, network: FleetNetwork) -> dict[str, Any]:
    prototypes = {
        f"{name}_prototype": length * _unit(golden.normal(f"fleet/{name}_prototype", (256,))[None])[0]
        for name, length in (("fake", 0.7), ("real", 0.4))
    }
    head = Prototypes(256)
    head.load_state_dict(prototypes)
    images = [golden.image(f"fleet/val/{number}", "noise" if number < 4 else "blocks", 200, 180) for number in range(8)]
    backbone = FleetBackbone()
    batch = backbone.normalise(torch.from_numpy(np.stack([backbone.preprocess(image) for image in images])))
    with torch.no_grad():
        confidences = -head(network(*two_inputs(batch))[0])[:, 0].double()
    right = torch.cat([confidences[:4] <= 0, confidences[4:] > 0]).double() * 100
    return {
        **prototypes, "val_confidences": confidences,
        "val_total": right.mean(), "val_fake": right[:4].mean(), "val_real": right[4:].mean(),
    }  # fmt: skip


def fleet_adapt(golden: Golden) -> Answer:
    """The adaptation behind cached features: six epochs, every weight, and scores before and after."""
    sizes = RoutingSizes(feature=32, signal=24, width=32, heads=4, hidden=20, embedding=12, dropout=0.0)
    module = RoutedEmbedding(sizes)
    golden.fill(module, checked="fill_sum")
    support, memory, query = (_cached(golden, name, count) for name, count in _CACHED.items())
    memory = memory[golden.permutation("fleet/memory_order", 64)]
    before = reference_of(module, memory)
    found: dict[str, Any] = {
        **_cached_arrays(zip(_CACHED, (support, memory, query), strict=True)),
        "fake_anchor": before.synthetic_anchor, "real_anchor": before.natural_anchor,
        "fake_prototype": before.synthetic_prototype, "real_prototype": before.natural_prototype,
        "memory_original": before.embeddings, "query_before": _their_score(module, query, before),
    }  # fmt: skip
    settings = AdaptationSettings(epochs_without_contrast=3, learning_rate=3e-3, batch_size=32)
    for epochs in (1, 6):
        adapted = copy.deepcopy(module)
        log = adapt(adapted, support, memory, replace(settings, epochs=epochs))
        found |= {f"epoch{epochs}/{key}": value for key, value in adapted.state_dict().items()}
    with torch.no_grad():
        found |= {"log": np.array(log), "query_after": _their_score(adapted, query, before)}
        found["support_weights_after"] = adapted(*support.inputs)[1]
    return _arrays(found)


def fleet_adapt_tiny(golden: Golden) -> Answer:
    """The adaptation of the whole small network: two epochs of one batch, in train mode, without dropout.

    The random scale of the trunk's positions, which the recording does not hold, is found from its losses.
    """
    network = tiny_network(golden, blocks=3, dropout=0.0)
    labels = torch.tensor([0, 1, 0, 1])
    support, memory = (
        LabelledImages(_inputs(golden, f"tiny/{name}/d", f"tiny/{name}/x", 4), labels == 0)
        for name in ("support", "memory")
    )
    before = reference_of(network, memory)
    recorded = golden.arrays["log"][:, 1:]
    module = RescaledPositions(network, recorded, lambda found, weights: _step_losses(found, weights, labels, before))
    log = adapt(module, support, memory, AdaptationSettings(epochs=2, epochs_without_contrast=1))
    with torch.no_grad():
        projected, weights = network(*memory.inputs)
    state = published_names(network.state_dict())
    return _arrays(
        {
            "log": np.array(log), "fake_anchor": before.synthetic_anchor, "real_anchor": before.natural_anchor,
            "original": before.embeddings, "projected": projected, "weights": weights,
            "bn1_running_mean": state["xception.bn1.running_mean"],
            "bn4_running_var": state["xception.bn4.running_var"][::16],
            "q_proj0": state["routing.q_proj.0.weight"][::16, ::64],
            "lora_B": state["dinov3.model.layer.0.mlp.up_proj.lora_B"],
        }
    )  # fmt: skip


def _step_losses(embeddings: Tensor, weights: Tensor, labels: Tensor, before: Reference) -> list[float]:
    """Return the contrast, and the weighted distillation and avoidance, of support and memory of the same labels."""
    anchors = {"synthetic_anchor": before.synthetic_anchor, "natural_anchor": before.natural_anchor}
    return [
        float(losses.contrast(embeddings, torch.cat([labels, labels]) == 0)),
        float(10 * losses.distillation(embeddings[len(labels) :], before.embeddings)),
        float(20 * losses.avoidance(weights[: len(labels)], labels == 0, **anchors)),
    ]


def _cached_arrays(images: Iterable[tuple[str, LabelledImages]]) -> dict[str, Tensor]:
    return {
        f"{name}_{part}": values
        for name, each in images
        for part, values in zip((*_WIDTHS, "labels"), (*each.inputs, (~each.synthetic).long()), strict=True)
    }


def _cached(golden: Golden, name: str, each: int) -> LabelledImages:
    feature, signal = (golden.normal(f"fleet/{name}/{part}", (2 * each, width)) for part, width in _WIDTHS.items())
    synthetic = torch.arange(2 * each) < each
    for rows in (feature, signal):
        rows[synthetic, :8] += 1.0
    return LabelledImages((feature, signal), synthetic)


def _their_score(module: nn.Module, images: LabelledImages, before: Reference) -> Tensor:
    """Return (n,) cosine to the reals' prototype minus cosine to the fakes', the authors' sign."""
    with torch.no_grad():
        embeddings = module(*images.inputs)[0]
    cosine = torch.nn.functional.cosine_similarity
    return cosine(embeddings, before.natural_prototype[None]) - cosine(embeddings, before.synthetic_prototype[None])


def tiny_network(golden: Golden, *, blocks: int, final_norm: bool = True, dropout: float = 0.1) -> FleetNetwork:
    """Return the recipe's small network, filled: 64 wide, cut behind some of its four blocks."""
    from transformers import DINOv3ViTConfig, DINOv3ViTModel

    def trunk(count: int) -> nn.Module:
        shape: Any = {"hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 4, "num_register_tokens": 4}
        config = DINOv3ViTConfig(num_hidden_layers=count, image_size=224, patch_size=16, **shape)
        made: nn.Module = DINOv3ViTModel(config)
        return made

    network = FleetNetwork(trunk(blocks), RoutingSizes(dropout=dropout), final_norm=final_norm)
    filled = own_names(fill_seeded(published_names(network.state_dict()), golden.weights))
    fill_strictly(network, filled, ignorable=_UNUSED, what="the recipe's network")
    return network


def _inputs(golden: Golden, whole: str, crop: str, images: int) -> tuple[Tensor, Tensor]:
    return (
        golden.normal(f"fleet/{whole}", (images, 3, 224, 224)),
        golden.normal(f"fleet/{crop}", (images, 3, 128, 128)),
    )


def _unit(rows: Tensor) -> Tensor:
    unit: Tensor = rows / rows.norm(dim=1, keepdim=True)
    return unit


def _stats(images: NDArray[Any]) -> NDArray[np.float64]:
    exact = images.astype(np.float64).reshape(len(images), -1)
    return np.stack([exact.mean(axis=1), exact.std(axis=1, ddof=1), np.abs(exact).sum(axis=1)], axis=1)


def _arrays(found: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    return {name: value.detach().numpy() if isinstance(value, Tensor) else value for name, value in found.items()}


ANSWERS: Mapping[str, Callable[[Golden], Answer]] = {
    "fleet_losses": fleet_losses,
    "fleet_fft": fleet_fft,
    "fleet_routing": fleet_routing,
    "fleet_xception": fleet_xception,
    "fleet_model": fleet_model,
    "fleet_adapt": fleet_adapt,
    "fleet_adapt_tiny": fleet_adapt_tiny,
}
