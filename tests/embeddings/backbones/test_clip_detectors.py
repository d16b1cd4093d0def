"""Detectors on CLIP ViT-L/14: every layout of their files loads strictly; values are compared by the golden outputs."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from fewshot.core.errors import WeightsError
from fewshot.embeddings.backbones.base import HEAD, Backbone
from fewshot.embeddings.backbones.creation import create
from fewshot.embeddings.weights.checkpoint import State, fill_strictly, read_checkpoint


def on_meta(spec: str) -> Backbone:
    """The backbone with a network that has shapes and no values, so that a ViT-L costs nothing."""
    backbone = create(spec)
    with torch.device("meta"):
        backbone.network = backbone.build()
    return backbone


def fill(backbone: Backbone, state: State, *, part: str = "net") -> None:
    adapted = backbone.adapt(state, part=part)
    fill_strictly(backbone.part(part), adapted, ignorable=backbone.ignorable, what="a file")


def saved(backbone: Backbone) -> State:
    with torch.device("meta"):
        return backbone.reference(backbone.network)


def test_effort_of_the_universal_benchmark_brings_a_text_tower_that_is_left() -> None:
    effort = on_meta("effort")
    state = saved(effort)
    assert "model.vision_model.encoder.layers.3.self_attn.out_proj.U_residual" in state
    text = {"model.text_model.embeddings.token_embedding.weight": torch.zeros(1), "model.logit_scale": torch.zeros(1)}
    fill(effort, {**state, **text, "model.visual_projection.weight": torch.zeros(1)})
    with pytest.raises(WeightsError, match=r"1 unexpected keys \(backbone\.extra\)"):
        fill(effort, {**state, "backbone.extra": torch.zeros(1)})


def test_effort_of_deepfakebench_has_other_names_and_two_outputs() -> None:
    effort = on_meta("effort:deepfakebench")
    state = saved(effort)
    assert {key.partition(".")[0] for key in state} == {"backbone", "head"}
    assert tuple(state["head.weight"].shape) == (2, 1024)
    fill(effort, state)


def test_effort_files_of_one_layout_are_refused_by_the_other_variant() -> None:
    with pytest.raises(WeightsError, match="missing keys"):
        fill(on_meta("effort"), saved(on_meta("effort:deepfakebench")))


def test_effort_merges_the_residual_into_the_fixed_matrix() -> None:
    generator = torch.Generator().manual_seed(0)
    whole = torch.randn(6, 6, generator=generator)
    left, values, right = torch.linalg.svd(whole)
    name = "model.vision_model.encoder.layers.0.self_attn.q_proj."
    state = {
        f"{name}weight_main": left[:, :5] @ torch.diag(values[:5]) @ right[:5],
        f"{name}U_residual": left[:, 5:],
        f"{name}S_residual": values[5:],
        f"{name}V_residual": right[5:],
        f"{name}bias": torch.ones(6),
    }
    merged = create("effort").adapt(state, part="net")
    assert set(merged) == {f"{name}weight", f"{name}bias"}
    torch.testing.assert_close(merged[f"{name}weight"], whole)


def test_c2pclip_file_loads() -> None:
    c2pclip = on_meta("c2pclip")
    state = saved(c2pclip)
    assert {"model.fc.weight", "model.visual_projection.weight"} < set(state)
    fill(c2pclip, state)


LAYER = "model.vision_model.encoder.layers.0.self_attn.q_proj"


def with_lora(state: State, *, rank: int) -> State:
    """The same file as peft saves it while the adapter of one layer is not merged."""
    generator = torch.Generator().manual_seed(0)
    tuned = {key: value for key, value in state.items() if not key.startswith(f"{LAYER}.")}
    return {
        **{
            key.replace("model.vision_model.", "model.base_model.model.vision_model."): value
            for key, value in tuned.items()
        },
        f"{LAYER}.base_layer.weight": torch.ones(1024, 1024),
        f"{LAYER}.base_layer.bias": torch.zeros(1024),
        f"{LAYER}.lora_A.default.weight": torch.randn(rank, 1024, generator=generator),
        f"{LAYER}.lora_B.default.weight": torch.randn(1024, rank, generator=generator),
    }


def test_lora_of_a_retrained_c2pclip_is_merged() -> None:
    c2pclip = on_meta("c2pclip")
    state = with_lora(saved(c2pclip), rank=6)

    merged = c2pclip.adapt(state, part="net")

    down, up = state[f"{LAYER}.lora_A.default.weight"].numpy(), state[f"{LAYER}.lora_B.default.weight"].numpy()
    np.testing.assert_allclose(merged[f"{LAYER}.weight"].numpy(), 1 + np.einsum("or,ri->oi", up, down), atol=1e-4)
    assert set(merged) == set(saved(c2pclip))


def test_lora_of_an_unknown_scale_is_refused_with_the_way_out() -> None:
    c2pclip = on_meta("c2pclip")

    with pytest.raises(WeightsError, match=r"q_proj' .* wanted weight, lora_A and lora_B of rank 6 .*merge_and_unload"):
        c2pclip.adapt(with_lora(saved(c2pclip), rank=8), part="net")


def test_spai_leaves_out_what_its_recording_counts_beyond_the_network_and_no_more() -> None:
    spai = on_meta("spai")
    state = saved(spai)
    block = {
        key.replace("blocks.11", "cls_blocks.0"): tensor for key, tensor in state.items() if "vit.blocks.11" in key
    }
    norms = {
        f"mfvit.vit.intermediate_fc_norm.{number}.{kind}": 768 for number in range(12) for kind in ("weight", "bias")
    }
    sizes = {"head.weight": 2 * 12 * 768, "head.bias": 2, "cls_pos_embed": 197 * 768, "actual_cls_token": 768}
    sizes |= {"fc_norm.weight": 768, "fc_norm.bias": 768}
    flat = norms | {f"mfvit.vit.{key}": size for key, size in sizes.items()}
    unused = block | {key: torch.zeros(size) for key, size in flat.items()}
    with np.load(Path(__file__).parents[2] / "golden" / "spai_any_res.npz") as golden:
        recorded = json.loads(str(golden["__meta__"]))["fill"]["numel"]

    fill(spai, {**state, **unused})

    filled = sum(tensor.numel() for key, tensor in {**state, **unused}.items() if key != "mfvit.frequencies_mask")
    assert filled == recorded
    with pytest.raises(WeightsError, match=r"1 unexpected keys \(mfvit\.vit\.cls_norm\.weight\)"):
        fill(spai, {**state, "mfvit.vit.cls_norm.weight": torch.zeros(1)})


def test_real_head_of_rine_fits_its_variant_only(shared: Path) -> None:
    file = read_checkpoint(shared / "weights" / "model_2class_trainable.pth")
    head = {key: tensor.to("meta") for key, tensor in file.items()}
    fill(on_meta("rine:2class"), head, part=HEAD)
    with pytest.raises(WeightsError, match=r"shapes differ .*alpha \(1, 24, 128\) for \(1, 24, 1024\)"):
        fill(on_meta("rine:1class"), head, part=HEAD)
    with pytest.raises(WeightsError, match=r"8 unexpected keys \(proj1\.7\.weight"):
        fill(on_meta("rine:4class"), head, part=HEAD)
