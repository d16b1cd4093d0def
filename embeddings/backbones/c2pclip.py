"""C2P-CLIP: CLIP ViT-L/14 tuned with category prompts (Tan et al., AAAI 2025)."""

import re
from typing import Any, final

from torch import Tensor, nn
from torch.nn.functional import normalize

from fewshot.core.errors import WeightsError
from fewshot.embeddings.backbones.base import Backbone
from fewshot.embeddings.card import BackboneCard, WeightFile
from fewshot.embeddings.inputs.rule import InputRule
from fewshot.embeddings.inputs.transforms import CLIP_MEAN, CLIP_STD, CenterCrop, ShorterSide
from fewshot.embeddings.networks.clip_hf import TEXT_TOWER, image_tower_l14
from fewshot.embeddings.weights.checkpoint import State, renamed

# peft's names of a tuned layer: the fixed matrix, and two factors under the adapter's name
_FIXED = re.compile(r"(.*)\.base_layer\.(weight|bias)")
_FACTOR = re.compile(r"(.*)\.lora_([AB])\.[^.]+\.weight")
RANK = 6  # FiSeR's retrain: r 6, alpha 6, so that the factors' product is added unscaled


@final
class C2pclip(Backbone):
    """The projected embedding at unit length, which is what its linear head reads.

    The released file has LoRA merged; a retrained one that keeps it by peft's names is merged at loading.
    """

    name = "c2pclip"
    variants = ("resize224crop224",)
    ignorable = TEXT_TOWER

    def make_card(self) -> BackboneCard:
        return BackboneCard(
            name=self.full_name,
            layers={"feature": 768, "penultimate": 1024},
            layer="feature",
            input=InputRule((ShorterSide(224), CenterCrop(224, 224)), CLIP_MEAN, CLIP_STD),
            weights=(
                WeightFile(
                    "C2P_CLIP_release_20240901.zip",
                    licence="none stated",
                    manual="take it from the link (now61.com) in the README of "
                    "github.com/chuangchuangtan/C2P-CLIP-DeepfakeDetection; the zip itself is the torch file",
                ),
            ),
            has_logit=True,
            equality="golden",
            parameters=303_966_977,
            gflops=162.03,
            paper="Tan et al., C2P-CLIP: Injecting Category Common Prompt in CLIP, AAAI 2025",
            reference="chuangchuangtan/C2P-CLIP-DeepfakeDetection @ 5c1a66c",
            licence="none stated",
            note="the released file has LoRA merged; its published GenImage numbers were not reproduced with it",
        )

    def build(self) -> nn.Module:
        tower = image_tower_l14()
        tower.add_module("fc", nn.Linear(768, 1))
        return nn.ModuleDict({"model": tower})

    def adapt(self, state: State, *, part: str) -> State:
        """Add the product of LoRA's factors to each matrix they belong to.

        Raises:
            WeightsError: factors of another rank than 6, whose scale the file does not say, or one without the other.
        """
        named = renamed(state, lambda key: key.replace("base_model.model.", ""))
        factors = {found.groups(): tensor for key, tensor in named.items() if (found := _FACTOR.fullmatch(key))}
        others = {key: tensor for key, tensor in named.items() if not _FACTOR.fullmatch(key)}
        merged = renamed(others, lambda key: _FIXED.sub(r"\1.\2", key))
        for layer in sorted({layer for layer, _ in factors}):
            down, up = factors.get((layer, "A")), factors.get((layer, "B"))
            weight = merged.get(f"{layer}.weight")
            if down is None or up is None or weight is None or len(down) != RANK:
                raise WeightsError(
                    f"the checkpoint for {self.card.name!r} keeps LoRA in {layer!r} in a form that cannot be merged: "
                    f"wanted weight, lora_A and lora_B of rank {RANK} (alpha {RANK}); merge it with peft's "
                    f"merge_and_unload() and save the state_dict"
                )
            merged[f"{layer}.weight"] = weight + up @ down
        return merged

    def features(self, batch: Tensor) -> dict[str, Tensor]:
        model: Any = self.network.get_submodule("model")
        penultimate = model.vision_model(pixel_values=batch).pooler_output
        feature = normalize(model.visual_projection(penultimate), dim=-1)
        return {"feature": feature, "penultimate": penultimate, "logit": model.fc(feature)}
