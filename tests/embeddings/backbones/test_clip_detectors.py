"""Detectors on CLIP ViT-L/14: every layout of their files loads strictly; values are compared by the golden outputs."""

from pathlib import Path

import pytest
import torch

from fewshot.core.errors import WeightsError
from fewshot.embeddings.backbones.base import HEAD, Backbone, create
from fewshot.embeddings.checkpoint import State, fill_strictly, read_checkpoint


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
    with pytest.raises(WeightsError, match=r"1 keys too many \(backbone\.extra\)"):
        fill(effort, {**state, "backbone.extra": torch.zeros(1)})


def test_effort_of_deepfakebench_has_other_names_and_two_outputs() -> None:
    effort = on_meta("effort:deepfakebench")
    state = saved(effort)
    assert {key.partition(".")[0] for key in state} == {"backbone", "head"}
    assert tuple(state["head.weight"].shape) == (2, 1024)
    fill(effort, state)


def test_effort_files_of_one_layout_are_refused_by_the_other_variant() -> None:
    with pytest.raises(WeightsError, match="keys too few"):
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


def test_c2pclip_file_loads_and_lora_of_a_retrained_one_is_named() -> None:
    c2pclip = on_meta("c2pclip")
    state = saved(c2pclip)
    assert {"model.fc.weight", "model.visual_projection.weight"} < set(state)
    fill(c2pclip, state)
    lora = "model.vision_model.encoder.layers.0.self_attn.q_proj.lora_A.default.weight"
    with pytest.raises(WeightsError, match=r"q_proj\.lora_A\.default\.weight"):
        fill(c2pclip, {**state, lora: torch.zeros(6, 1024)})


def test_real_head_of_rine_fits_its_variant_only(shared: Path) -> None:
    file = read_checkpoint(shared / "weights" / "model_2class_trainable.pth")
    head = {key: tensor.to("meta") for key, tensor in file.items()}
    fill(on_meta("rine:2class"), head, part=HEAD)
    with pytest.raises(WeightsError, match=r"shapes differ .*alpha \(1, 24, 128\) for \(1, 24, 1024\)"):
        fill(on_meta("rine:1class"), head, part=HEAD)
    with pytest.raises(WeightsError, match=r"8 keys too many \(proj1\.7\.weight"):
        fill(on_meta("rine:4class"), head, part=HEAD)
