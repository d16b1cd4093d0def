"""Fleet: DINOv3 after 20 blocks, routed by an Xception that sees the high frequencies (Fleet, ICML 2026)."""

import re
from collections.abc import Mapping
from typing import Any, Self, cast, final

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from fewshot.embeddings.backbones.base import HEAD, Backbone
from fewshot.embeddings.card import BackboneCard, WeightFile
from fewshot.embeddings.inputs.detector_crops import SquashBesideCrop
from fewshot.embeddings.inputs.rule import InputRule
from fewshot.embeddings.inputs.transforms import IMAGENET_MEAN, IMAGENET_STD
from fewshot.embeddings.layer_key import LOGIT
from fewshot.embeddings.networks import dinov3
from fewshot.embeddings.networks.lora import add_lora
from fewshot.embeddings.networks.residuals import clamped_high_frequencies
from fewshot.embeddings.networks.routing import Routed, RoutedEmbedding, RoutingSizes
from fewshot.embeddings.networks.xception import Xception
from fewshot.embeddings.weights.checkpoint import State, renamed

NET = "net"
WHOLE, CROP = 224, 128  # pixels of a side of what the branches see
FIRST_BLOCKS = 20  # of 24: the branch reads hidden_states[20]
RANK, ALPHA = 8, 16  # of the updates of every Linear layer in a block's MLP
_BRANCHES = ("dinov3.", "dinov3_proj.", "xception.")
_BLOCK = re.compile(r"dinov3\.(?:model\.)?layer\.(\d+)\.")
_ADDRESS = "huggingface.co/wangjiaan/Fleet, or pan.baidu.com/s/1o07s69fOXVWUcJLiO3YftA?pwd=b6un"


@final
class Fleet(Backbone):
    """Both branches, what the routing makes of them, and the difference of cosines to two fixed prototypes.

    ``dino`` is the class token after block 20 behind DINOv3's final norm, ``signal`` the Xception's features after
    their Linear layer, ``fused`` the routed segments, ``embedding`` of unit length, ``route`` the weights of the eight
    segments. ``branches`` are ``dino`` and the Xception's pooled features side by side: what the head ``route`` adapts.
    The logit is the cosine to the fakes' prototype minus that to the reals', the negative of the authors' score.

    The crop is the middle one, as the authors evaluate; the updates of the MLPs are applied beside their layers.
    """

    name = "fleet"
    # the Xception's classifier and DINOv3's last four blocks, which nothing here reads
    ignorable = (r"xception\.fc\.(weight|bias)", r"dinov3\.(model\.)?layer\.2[0-3]\..*")

    def make_card(self) -> BackboneCard:
        return BackboneCard(
            name=self.full_name,
            layers={"embedding": 256, "dino": 1024, "signal": 1024, "fused": 1024, "route": 8, "branches": 3072},
            layer="embedding",
            input=InputRule((SquashBesideCrop(WHOLE, CROP),)),
            weights=(
                WeightFile(
                    "fleet-pretrain_model.pth",
                    part=NET,
                    licence="DINOv3 licence (its trunk); of the rest not stated",
                    manual=f"take the pretrained model from {_ADDRESS}",
                ),
                WeightFile(
                    "fleet-prototypes.safetensors",
                    part=HEAD,
                    licence="not stated",
                    optional=True,
                    manual=f"take both .npy files of prototypes from {_ADDRESS}, and save them as one safetensors file "
                    "under the names fake_prototype and real_prototype (docs/how-to/run-fleet.md)",
                ),
            ),
            has_logit=True,
            equality="code-equivalent",
            parameters=281_386_408,
            gflops=117.21,
            paper="Fleet: few-shot adaptation of detectors by routing, ICML 2026, arXiv 2606.31082",
            reference="ICTMCG/Fleet @ fab6b41",
            licence="Apache-2.0 (code), DINOv3 (trunk)",
            note="the weights could not be had here, so their hash and key names are not known to us",
        )

    def build(self) -> nn.Module:
        network = FleetNetwork(dinov3.build("vitl16", first_blocks=FIRST_BLOCKS), RoutingSizes())
        return nn.ModuleDict({NET: network, HEAD: Prototypes(RoutingSizes().embedding)})

    def reference(self, part: nn.Module) -> State:
        return published_names(part.state_dict())

    def adapt(self, state: State, *, part: str) -> State:
        return own_names(state) if part == NET else state

    def features(self, batch: Tensor) -> dict[str, Tensor]:
        assert isinstance(self.network, nn.ModuleDict)
        network = cast(FleetNetwork, self.network[NET])
        dino, signal = network.branches(*two_inputs(batch))
        routed = network.routed(dino, signal)
        found = {
            "dino": dino,
            "branches": torch.cat([dino, signal], dim=1),
            "signal": routed.signal,
            "fused": routed.fused,
            "embedding": routed.embedding,
            "route": routed.weights,
        }
        if HEAD in self.network:
            found[LOGIT] = cast(Tensor, self.network[HEAD](routed.embedding))
        return found

    def stages(self, image: Image.Image) -> dict[str, NDArray[Any]]:
        """Add what both branches receive: ``dinov3`` (3, 224, 224) and ``xception`` (3, 128, 128) float32."""
        batch = self.normalise(torch.from_numpy(np.asarray(self.preprocess(image)))[None])
        whole, crop = (part[0].cpu().numpy() for part in two_inputs(batch))
        return {"input": batch[0].cpu().numpy(), "dinov3": whole, "xception": crop}


class FleetNetwork(nn.Module):
    """Both branches and what stands behind them (DualBranchContrastiveModel of ICTMCG/Fleet @ fab6b41).

    The trunk stays in eval mode when the rest is trained: in train mode transformers scales its positions by a random
    number in every pass, which moves the authors' targets of distillation away from what is compared with them.

    Args:
        trunk: a DINOv3 of transformers, cut behind the block that is read; every Linear layer of its MLPs gets an
            update of rank 8, which is trained where the trunk itself is frozen.
        sizes: of the routing. A trunk of another width is projected to ``feature`` by a frozen Linear layer.
        final_norm: whether the trunk's last norm stands behind its class token.
    """

    def __init__(self, trunk: nn.Module, sizes: RoutingSizes, *, final_norm: bool = True) -> None:
        super().__init__()
        self.dinov3 = add_lora(trunk.requires_grad_(False), containing="mlp", rank=RANK, alpha=ALPHA)
        width = int(cast(Any, trunk).config.hidden_size)
        self.dinov3_proj: nn.Module = nn.Identity()
        if width != sizes.feature:
            self.dinov3_proj = nn.Linear(width, sizes.feature).requires_grad_(False)
        self.xception = Xception()
        self.behind = RoutedEmbedding(sizes)
        self.final_norm = final_norm

    def train(self, mode: bool = True) -> Self:
        """Put all but the trunk in train mode, or all in eval mode."""
        super().train(mode)
        self.dinov3.eval()
        return self

    def branches(self, whole: Tensor, crop: Tensor) -> tuple[Tensor, Tensor]:
        """Return the class tokens (N, D) and the Xception's pooled features (N, 2048).

        Args:
            whole: (N, 3, 224, 224) normalised; crop: (N, 3, 128, 128), high frequencies, normalised.
        """
        return self.dinov3_proj(self.class_token(whole)), self.xception(crop)

    def class_token(self, whole: Tensor) -> Tensor:
        """Return the trunk's class token (N, width), behind its last norm or before it."""
        before: list[Tensor] = []
        trunk: Any = self.dinov3
        hook = trunk.norm.register_forward_pre_hook(lambda _, given: before.append(given[0][:, 0]))
        try:
            after = trunk(pixel_values=whole).last_hidden_state[:, 0]
        finally:
            hook.remove()
        return cast(Tensor, after if self.final_norm else before[0])

    def routed(self, dino: Tensor, signal: Tensor) -> Routed:
        """Return every stage behind both branches' outputs."""
        return self.behind.routed(dino, signal)

    def forward(self, whole: Tensor, crop: Tensor) -> tuple[Tensor, Tensor]:
        """Return the unit embeddings (N, 256) and the routing weights (N, 8)."""
        found = self.routed(*self.branches(whole, crop))
        return found.embedding, found.weights


class Prototypes(nn.Module):
    """Two fixed directions; gives the cosine to the fakes' minus the cosine to the reals': (N, 1)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fake_prototype = nn.Parameter(torch.empty(width))
        self.real_prototype = nn.Parameter(torch.empty(width))

    def forward(self, embedding: Tensor) -> Tensor:
        both = torch.stack([self.fake_prototype, self.real_prototype])
        fake, real = torch.nn.functional.cosine_similarity(embedding[:, None], both[None], dim=2).unbind(dim=1)
        return (fake - real)[:, None]


def two_inputs(batch: Tensor) -> tuple[Tensor, Tensor]:
    """Return what both branches receive of images as the input rule gives them, scaled to [0, 1].

    Args:
        batch: (N, 3, 224, 352): the whole image, beside it the crop.

    Returns:
        (N, 3, 224, 224) with ImageNet's mean and deviation; (N, 3, 128, 128), the crop's high frequencies
        with the same.
    """
    crop = clamped_high_frequencies(batch[:, :, :CROP, WHOLE:], size=CROP)
    return imagenet_normalised(batch[..., :WHOLE]), imagenet_normalised(crop)


def published_names(state: Mapping[str, Tensor]) -> State:
    """Return the tensors of a ``FleetNetwork`` by the authors' key names, blocks as ``dinov3.model.layer.N``."""

    def published(key: str) -> str:
        return _BLOCK.sub(r"dinov3.model.layer.\1.", key.removeprefix("behind."))

    return renamed(state, published)


def own_names(state: State) -> State:
    """Return the authors' tensors by the key names of ``FleetNetwork``, whichever transformers saved them."""
    prefix = "dinov3."
    trunk = dinov3.own_names({key.removeprefix(prefix): state[key] for key in state if key.startswith(prefix)})
    behind = {key: value for key, value in state.items() if not key.startswith(prefix)}
    return {
        **{prefix + key: value for key, value in trunk.items()},
        **renamed(behind, lambda key: key if key.startswith(_BRANCHES) else f"behind.{key}"),
    }


def imagenet_normalised(images: Tensor) -> Tensor:
    """Return images (N, 3, H, W) of values 0 to 1 by ImageNet's mean and deviation."""
    mean, std = (images.new_tensor(values).view(-1, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
    return (images - mean) / std
