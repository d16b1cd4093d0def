"""Run loaded networks faster with the same results to rounding: channels last in memory, and compiled."""

from collections.abc import Iterable
from contextlib import suppress

import torch
from torch import nn

from fewshot.embeddings.backbones.base import Backbone
from fewshot.embeddings.pipeline.memory import cheap, trial_batch

_TOLERANCE = 1e-3  # relative; rounding moves features by some 1e-7


def lay_channels_last(backbones: Iterable[Backbone]) -> frozenset[str]:
    """Put convolutional networks channels last in memory; return the names of those that take it.

    A network takes it when it has several convolutions and gives the same features of a trial image in both layouts.
    Measured on one core: 1.2 to 2.8 times the speed (benchmarks/README.md).
    """
    return frozenset(backbone.card.name for backbone in backbones if _takes_channels_last(backbone))


def put_channels_last(backbones: Iterable[Backbone], names: frozenset[str]) -> frozenset[str]:
    """Put the named backbones' networks channels last, as they were when their features were recorded."""
    for backbone in backbones:
        if backbone.card.name in names:
            backbone.network.to(memory_format=torch.channels_last)
    return names


def _takes_channels_last(backbone: Backbone) -> bool:
    convolutions = sum(isinstance(part, nn.Conv2d) for part in backbone.network.modules())
    batch = trial_batch(backbone) if convolutions > 1 and cheap(backbone) else torch.empty(0)
    if batch.dim() != 4:
        return False
    with suppress(RuntimeError):  # a view of a tensor whose channels lie elsewhere, or no memory for the trial
        before = backbone.embed(batch)
        backbone.network.to(memory_format=torch.channels_last)
        after = backbone.embed(batch.contiguous(memory_format=torch.channels_last))
        if all(_near(before[layer], after[layer]) for layer in before):
            return True
    backbone.network.to(memory_format=torch.contiguous_format)
    return False


def _near(one: torch.Tensor, other: torch.Tensor) -> bool:
    scale = float(one.abs().max())
    return bool((one - other).abs().max() <= _TOLERANCE * scale)


def compile_networks(backbones: Iterable[Backbone]) -> None:
    """Have ``torch.compile`` compile each network at its first batch; that takes a minute or so for each."""
    for backbone in backbones:
        setattr(backbone, "features", torch.compile(backbone.features))  # noqa: B010  # a method of this one object
