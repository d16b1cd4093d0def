"""The random scale of positions that Fleet's recorded training steps were made with, found again from their losses.

DINOv3 of transformers multiplies the coordinates of its patches by a random number whenever it is in train mode, and
the authors put the whole model there. The recording holds no such number, but three losses of every step; one number
per step must give all three.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from torch import Tensor, nn

from fewshot.embeddings.backbones.fleet import FleetNetwork

_LARGEST = 2.0  # ``pos_embed_rescale`` of the configuration: between its inverse and itself
_TRIED = 41  # factors over the whole range, before the search around the best of them
_PRECISION = 1e-7  # of the factor

Losses = Callable[[Tensor, Tensor], list[float]]


class RescaledPositions(nn.Module):
    """A network whose trunk sees, in train mode, the positions scaled as the recorded step's were.

    Args:
        network: what is trained.
        recorded: the losses of one step after another.
        losses: gives them, of the embeddings and routing weights of a step.
    """

    def __init__(self, network: FleetNetwork, recorded: NDArray[np.float64], losses: Losses) -> None:
        super().__init__()
        self.network = network
        self.recorded: Iterator[NDArray[np.float64]] = iter(recorded)
        self.losses = losses

    def forward(self, whole: Tensor, crop: Tensor) -> tuple[Tensor, Tensor]:
        """Return embeddings and routing weights; every call in train mode is the next recorded step."""
        rope: Any = self.network.get_submodule("dinov3.rope_embeddings")
        frequencies = rope.inv_freq
        try:
            signal = self.network.xception(crop)
            if self.training:
                factor = self._factor(whole, signal.detach(), next(self.recorded), frequencies)
                rope.inv_freq = frequencies * factor
            return self._behind(whole, signal)
        finally:
            rope.inv_freq = frequencies

    def _behind(self, whole: Tensor, signal: Tensor) -> tuple[Tensor, Tensor]:
        found = self.network.routed(self.network.dinov3_proj(self.network.class_token(whole)), signal)
        return found.embedding, found.weights

    def _factor(self, whole: Tensor, signal: Tensor, recorded: NDArray[np.float64], frequencies: Tensor) -> float:
        """Return the factor whose losses come nearest to the recorded ones."""
        rope: Any = self.network.get_submodule("dinov3.rope_embeddings")

        def error(factor: float) -> float:
            rope.inv_freq = frequencies * factor
            with torch.no_grad():
                return float(np.abs(self.losses(*self._behind(whole, signal)) - recorded).max())

        tried = np.geomspace(1 / _LARGEST, _LARGEST, _TRIED)
        best = int(np.argmin([error(factor) for factor in tried]))
        around = (tried[max(best - 1, 0)], tried[min(best + 1, len(tried) - 1)])
        return float(minimize_scalar(error, bounds=around, method="bounded", options={"xatol": _PRECISION}).x)
