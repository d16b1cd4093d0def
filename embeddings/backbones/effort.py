"""Effort: CLIP ViT-L/14 tuned in the smallest singular direction of its attention (Yan et al., ICML 2025)."""

import re
from typing import Any, final

import torch
from torch import Tensor, nn

from fewshot.embeddings.backbones.base import Backbone
from fewshot.embeddings.card import BackboneCard, WeightFile
from fewshot.embeddings.inputs.opencv import OpencvSquash
from fewshot.embeddings.inputs.rule import InputRule
from fewshot.embeddings.inputs.transforms import CLIP_MEAN, CLIP_STD, CenterCrop, Step, TileTo
from fewshot.embeddings.networks.clip_hf import TEXT_TOWER, image_tower_l14
from fewshot.embeddings.weights.checkpoint import State

# UniversalFakeDetect_Benchmark/data/datasets.py and DeepfakeBench/training/demo.py
_STEPS: dict[str, tuple[Step, ...]] = {
    "ufd": (TileTo(256), CenterCrop(224, 224)),
    "deepfakebench": (OpencvSquash(224, 224),),
}
_OUTPUTS = {"ufd": 1, "deepfakebench": 2}
_TUNED = re.compile(r"(.*\.self_attn\.[a-z]+_proj\.)weight")


@final
class Effort(Backbone):
    """The pooled class token, before CLIP's projection; the residual W + U S V is merged at loading.

    ``ufd`` is the layout and input of the general detector, ``deepfakebench`` of the face detector and of the GenImage
    and Chameleon files.
    """

    name = "effort"
    variants = tuple(_STEPS)
    ignorable = (*TEXT_TOWER, r"model\.visual_projection\.weight")

    def make_card(self) -> BackboneCard:
        return BackboneCard(
            name=self.full_name,
            layers={"feature": 1024},
            layer="feature",
            input=InputRule(_STEPS[str(self.variant)], CLIP_MEAN, CLIP_STD),
            weights=(
                WeightFile(
                    f"effort_{self.variant}.pth",
                    licence="CC BY-NC 4.0",
                    non_commercial=True,
                    manual="take a checkpoint from the Google Drive links in the README of "
                    "github.com/YZY-stack/Effort-AIGI-Detection",
                ),
            ),
            has_logit=True,
            equality="golden" if self.variant == "ufd" else "code-equivalent",
            parameters=303_180_801 if self.variant == "ufd" else 303_181_826,
            gflops=162.03,
            paper="Yan et al., Orthogonal Subspace Decomposition for Generalizable Detection, ICML 2025",
            reference="YZY-stack/Effort-AIGI-Detection @ 96f5dea",
            licence="CC BY-NC 4.0",
            note="the authors' own demo loads without strictness, so files of another layout passed unseen; here not",
        )

    def build(self) -> nn.Module:
        vision = image_tower_l14().get_submodule("vision_model")
        outputs = _OUTPUTS[str(self.variant)]
        return nn.ModuleDict({"model": nn.ModuleDict({"vision_model": vision}), "fc": nn.Linear(1024, outputs)})

    def reference(self, part: nn.Module) -> State:
        """Split every attention matrix as the authors' files do: fixed part, and the residual's factors of rank 1."""
        names: State = {}
        for key, tensor in part.state_dict().items():
            tuned = _TUNED.fullmatch(key)
            if tuned is None:
                names[key] = tensor
                continue
            rows, columns = tensor.shape
            names[f"{tuned[1]}weight_main"] = tensor
            names[f"{tuned[1]}S_residual"] = tensor.new_zeros(1)
            names[f"{tuned[1]}U_residual"] = tensor.new_zeros(rows, 1)
            names[f"{tuned[1]}V_residual"] = tensor.new_zeros(1, columns)
        return names if self.variant == "ufd" else {_deepfakebench(key): tensor for key, tensor in names.items()}

    def adapt(self, state: State, *, part: str) -> State:
        merged: State = {}
        for key, tensor in state.items():
            own = _universal(key) if self.variant == "deepfakebench" else key
            base, _, leaf = key.rpartition(".")
            if leaf == "weight_main" and f"{base}.S_residual" in state:
                left, values, right = (state[f"{base}.{factor}_residual"] for factor in "USV")
                merged[own.removesuffix("_main")] = tensor + left @ torch.diag(values) @ right
            elif not leaf.endswith("_residual"):
                merged[own] = tensor
        if mixed := [key for key in state if key.endswith(".weight_main") and key.removesuffix("_main") in state]:
            raise ValueError(f"{mixed[0]} stands beside {mixed[0].removesuffix('_main')}")
        return merged

    def features(self, batch: Tensor) -> dict[str, Tensor]:
        vision: Any = self.network.get_submodule("model.vision_model")
        feature = vision(pixel_values=batch).pooler_output
        outputs = self.network.get_submodule("fc")(feature)
        # two outputs are natural and synthetic; their difference is the logit of the softmax
        logit = outputs if outputs.shape[1] == 1 else outputs[:, 1:] - outputs[:, :1]
        return {"feature": feature, "logit": logit}


def _deepfakebench(key: str) -> str:
    return key.replace("model.vision_model.", "backbone.").replace("fc.", "head.")


def _universal(key: str) -> str:
    return re.sub(r"^head\.", "fc.", re.sub(r"^backbone\.", "model.vision_model.", key))
