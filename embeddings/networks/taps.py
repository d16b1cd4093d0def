"""Read the output of any module of a network by name, as one vector per image.

A layer is named ``MODULE.cls`` or ``MODULE.mean``: ``blocks.5.cls`` is the class token after block 5, ``blocks.5.mean``
the mean of its patch tokens (class and register tokens left out), ``layer3.mean`` the mean over a feature map. A module
that gives one vector already, such as a norm after pooling, is named alone. Outputs are raw: no later norm is applied.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

POOLED = "pooled"
CLS, MEAN = "cls", "mean"


@dataclass(frozen=True)
class Shapes:
    """What every module of a network gives for one image, found without weights.

    Args:
        layers: layer name -> dimension, for every module whose output has a meaning as one vector.
        pooled: dimension of the network's own output.
        gflops: 2 x multiply-adds of the forward pass.
        parameters: their number.
    """

    layers: Mapping[str, int]
    pooled: int
    gflops: float
    parameters: int

    @property
    def blocks(self) -> dict[str, int]:
        """The layers of the outermost numbered blocks, the pooled output first."""
        found: dict[str, int] = {POOLED: self.pooled}
        for layer, dimension in self.layers.items():
            module = _module_of(layer)
            outer = module.rpartition(".")[0]
            numbered = re.search(r"\d$", module) and not re.search(r"\d(\.|$)", outer)
            if numbered and any(other.startswith(f"{module}.") for other in self.layers):
                found[layer] = dimension
        return found


@dataclass(frozen=True)
class Tokens:
    """How a network lays out its outputs.

    Args:
        prefix: tokens before the patch tokens (class and registers); the first is the class token.
        channels_last: whether feature maps are (N, H, W, C).
    """

    prefix: int = 0
    channels_last: bool = False

    def vectors(self, output: Tensor) -> dict[str, Tensor]:
        """Return {"", "cls" or "mean": (N, D)} of one module's output, empty when it has no such meaning."""
        if output.ndim == 2:
            return {"": output}
        if output.ndim == 4:
            return {MEAN: output.mean(dim=(1, 2) if self.channels_last else (2, 3))}
        if output.ndim != 3 or output.shape[1] <= self.prefix:
            return {}
        cls = {CLS: output[:, 0]} if self.prefix else {}
        return {**cls, MEAN: output[:, self.prefix :].mean(dim=1)}


def shapes(network: nn.Module, *, size: tuple[int, int], tokens: Tokens) -> Shapes:
    """Return what each module of a network on the meta device gives, by one forward pass that computes nothing."""
    from torch.utils.flop_counter import FlopCounterMode

    layers: dict[str, int] = {}

    def note(name: str, output: Tensor) -> None:
        for token, vector in tokens.vectors(output).items():
            layers.setdefault(_layer(name, token), vector.shape[1])

    network.eval().requires_grad_(False)
    with _hooks(network, [name for name, _ in network.named_modules() if name], note), torch.no_grad():
        images = torch.zeros(1, 3, *size, device="meta")
        with FlopCounterMode(display=False) as counter:
            pooled = network(images)
    return Shapes(
        layers=MappingProxyType(layers),
        pooled=int(pooled.shape[1]),
        gflops=counter.get_total_flops() / 1e9,
        parameters=sum(parameter.numel() for parameter in network.parameters()),
    )


@dataclass
class Taps:
    """The wanted layers of one network, read while it runs.

    Args:
        network: its own output is the layer ``pooled``.
        tokens: how it lays out its outputs.
    """

    network: nn.Module
    tokens: Tokens = field(default_factory=Tokens)

    def read(self, images: Tensor, layers: tuple[str, ...]) -> dict[str, Tensor]:
        """Return {layer: (N, D)} of images (N, 3, H, W)."""
        found: dict[str, Tensor] = {}

        def keep(name: str, output: Tensor) -> None:
            # pooled at once, for a later module may write into the output
            for token, vector in self.tokens.vectors(output).items():
                layer = _layer(name, token)
                if layer in layers and layer not in found:
                    found[layer] = vector.clone()

        with _hooks(self.network, sorted({_module_of(layer) for layer in layers if layer != POOLED}), keep):
            found[POOLED] = self.network(images)
        return found


@contextmanager
def _hooks(network: nn.Module, names: list[str], receive: Any) -> Iterator[None]:
    def hook(name: str) -> Any:
        def call(module: nn.Module, inputs: Any, output: Any) -> None:
            if isinstance(output, Tensor):
                receive(name, output)

        return call

    handles = [network.get_submodule(name).register_forward_hook(hook(name)) for name in names]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _layer(module: str, token: str) -> str:
    return f"{module}.{token}" if token else module


def _module_of(layer: str) -> str:
    module, _, token = layer.rpartition(".")
    return module if token in (CLS, MEAN) else layer
