"""A trained encoder-decoder with its classifier: the deviation of features, and their logits."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from fewshot.core.arrays import Float32Array, Float64Array, FloatArray
from fewshot.reconstruction.perceptron import PerceptronStack

_BLOCK_ROWS = 4096


@dataclass(frozen=True)
class Trained:
    """One trained model.

    Args:
        autoencoder: the single network D(E(f)); None for a classifier on the features themselves.
        classifier: the single network C; its output is the logit of "synthetic".
        steps: optimiser steps made.
        kept_step: the step whose weights these are.
        attribution_loss: (steps,) float32, formula 4 as a mean over D; empty without an autoencoder.
        classification_loss: (steps,) float32, formula 5.
    """

    autoencoder: PerceptronStack | None
    classifier: PerceptronStack
    steps: int
    kept_step: int
    attribution_loss: Float32Array = field(repr=False)
    classification_loss: Float32Array = field(repr=False)

    def deviation(self, features: FloatArray) -> Float32Array:
        """Return |f - D(E(f))|, formula 3: (n, D) float32."""
        return _blocks(features, self._deviation, self.classifier.parameters.device)

    def logits(self, features: FloatArray) -> Float64Array:
        """Return the classifier's logit of "synthetic": (n,) float64."""
        device = self.classifier.parameters.device
        scores = _blocks(features, lambda block: self.classifier.outputs(0, self._deviation(block)), device)
        return scores[:, 0].astype(np.float64)

    def _deviation(self, block: Tensor) -> Tensor:
        return block if self.autoencoder is None else (block - self.autoencoder.outputs(0, block)).abs_()


def _blocks(features: FloatArray, function: Callable[[Tensor], Tensor], device: torch.device) -> Float32Array:
    parts = []
    with torch.no_grad():
        for start in range(0, len(features), _BLOCK_ROWS):
            block = torch.from_numpy(np.ascontiguousarray(features[start : start + _BLOCK_ROWS], dtype=np.float32))
            parts.append(function(block.to(device)).cpu().numpy())
    return np.concatenate(parts) if parts else np.empty((0, 0), np.float32)
