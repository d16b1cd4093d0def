"""DINOv3 vision transformers from transformers, under the key names of the published checkpoints."""

from contextlib import ExitStack
from typing import Any, cast

import torch
from torch import Tensor, nn

from fewshot.embeddings.weights.checkpoint import State, renamed

LAST = "last"
# transformers < 5 names the blocks ``layer.N``, as every published file does; later versions ``model.layer.N``.
_BLOCKS = ("layer.", "model.layer.")
_UPPER_BLOCKS = 10

# facebookresearch/dinov3, hubconf.py and the config.json of each Hugging Face repository: width, blocks, heads, MLP
# width, whether the MLP is gated (SwiGLU).
_SIZES: dict[str, tuple[int, int, int, int, bool]] = {
    "vits16": (384, 12, 6, 1536, False),
    "vits16plus": (384, 12, 6, 1536, True),
    "vitb16": (768, 12, 12, 3072, False),
    "vitl16": (1024, 24, 16, 4096, False),
    "vith16plus": (1280, 32, 20, 5120, True),
}


def layer_dimensions(size: str) -> dict[str, int]:
    """Return {layer: width}: the un-normed class token after each of the last ten blocks, and the normed last one.

    ``l18`` is ``hidden_states[18]`` of transformers: index 0 are the embeddings, index i is after block i.
    """
    width, blocks, *_ = _SIZES[size]
    return {**{f"l{block}": width for block in range(blocks - _UPPER_BLOCKS + 1, blocks + 1)}, LAST: width}


def build(size: str, *, first_blocks: int | None = None) -> nn.Module:
    """Return the transformer of one size with unset weights, for 224-pixel images and 4 register tokens.

    Args:
        size: for example ``vitl16``.
        first_blocks: how many of the blocks to build, all when None; the final norm then stands behind the last of
            them.
    """
    from transformers import DINOv3ViTConfig, DINOv3ViTModel

    width, blocks, heads, mlp, gated = _SIZES[size]
    config = DINOv3ViTConfig(
        hidden_size=width,
        num_hidden_layers=first_blocks or blocks,
        num_attention_heads=heads,
        intermediate_size=mlp,
        use_gated_mlp=gated,
        hidden_act="silu" if gated else "gelu",
        num_register_tokens=4,
    )
    return cast(nn.Module, DINOv3ViTModel(config))


def class_tokens(network: nn.Module, images: Tensor) -> dict[str, Tensor]:
    """Return the layers of ``layer_dimensions``, {layer: (N, width)}, of normalised images (N, 3, 224, 224)."""
    blocks = [module for module in network.modules() if type(module).__name__ == "DINOv3ViTLayer"]
    states: list[Tensor] = []

    def keep(_module: nn.Module, _inputs: Any, output: Any) -> None:
        states.append((output if isinstance(output, Tensor) else output[0])[:, 0].clone())

    with ExitStack() as hooks:
        for block in blocks[-_UPPER_BLOCKS:]:
            hooks.callback(block.register_forward_hook(keep).remove)
        last = network(pixel_values=images).last_hidden_state[:, 0]
    first = len(blocks) - _UPPER_BLOCKS + 1
    return {**{f"l{first + number}": state for number, state in enumerate(states)}, LAST: last}


def published_names(network: nn.Module) -> State:
    """Return the network's own tensors by the key names of the published checkpoints."""
    return {key.removeprefix("model."): tensor for key, tensor in network.state_dict().items()}


def own_names(state: State) -> State:
    """Return a checkpoint in the key names of the installed transformers, without the prefixes of training wrappers.

    Source: fiser/models.py of heyongxin233/FiSeR @ ad2637c (``encoder.``, ``model.``).
    """
    with torch.device("meta"):
        blocks = _BLOCKS[any(key.startswith("model.") for key in build("vits16").state_dict())]

    def own(key: str) -> str:
        while key.startswith(("encoder.", "model.", "module.", "_orig_mod.")):
            key = key.partition(".")[2]
        return blocks + key.removeprefix("layer.") if key.startswith("layer.") else key

    return renamed(state, own)
