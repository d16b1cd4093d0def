"""DINOv3 as Meta released it: the control that tells what FiSeR's training adds (Siméoni et al. 2025)."""

from typing import final

from torch import Tensor, nn

from fewshot.embeddings.backbones.base import Backbone
from fewshot.embeddings.card import BackboneCard, WeightFile
from fewshot.embeddings.inputs.rule import InputRule
from fewshot.embeddings.inputs.transforms import IMAGENET_MEAN, IMAGENET_STD, FloatSquash
from fewshot.embeddings.networks import dinov3
from fewshot.embeddings.weights.checkpoint import State

# variant: parameters, GFLOPs of one 224-pixel image, fixed layer (the block that is to this size what 18 of 24 is to L)
_FACTS: dict[str, tuple[int, float, str]] = {
    "vitl16": (303_129_600, 125.68, "l18"),
    "vitb16": (85_660_416, 35.86, "l9"),
    "vits16": (21_596_544, 9.40, "l9"),
    "vits16plus": (28_692_864, 12.24, "l9"),
    "vith16plus": (840_592_640, 344.23, "l24"),
}


@final
class Dinov3(Backbone):
    """Class tokens after the last ten blocks, un-normed, and the normed last one; the very path of ``fiser``."""

    name = "dinov3"
    variants = tuple(_FACTS)

    def make_card(self) -> BackboneCard:
        size = str(self.variant)
        parameters, gflops, layer = _FACTS[size]
        repository = f"facebook/dinov3-{size}-pretrain-lvd1689m"
        return BackboneCard(
            name=self.full_name,
            layers=dinov3.layer_dimensions(size),
            layer=layer,
            input=InputRule((FloatSquash(224, 224),), IMAGENET_MEAN, IMAGENET_STD),
            weights=(
                WeightFile(
                    f"dinov3-{size}.safetensors",
                    repository=repository,
                    hub_file="model.safetensors",
                    licence="DINOv3 licence",
                    manual=f"accept the licence at huggingface.co/{repository}, run `hf auth login`, fetch again",
                ),
            ),
            equality="code-equivalent",
            parameters=parameters,
            gflops=gflops,
            paper="Siméoni et al., DINOv3, arXiv 2508.10104",
            reference="facebookresearch/dinov3 through transformers DINOv3ViTModel",
            licence="DINOv3 licence",
            note="a control: never trained to detect anything; the files are behind a form",
        )

    def build(self) -> nn.Module:
        return dinov3.build(str(self.variant))

    def reference(self, part: nn.Module) -> State:
        return dinov3.published_names(part)

    def adapt(self, state: State, *, part: str) -> State:
        return dinov3.own_names(state)

    def features(self, batch: Tensor) -> dict[str, Tensor]:
        return dinov3.class_tokens(self.network, batch)
