"""The weights of several blocks of features in one head, from what the support alone shows of each."""

from typing import Literal, get_args

import numpy as np

from fewshot.core.arrays import Float64Array
from fewshot.core.errors import unknown_name

Weigh = Literal["auroc", "alignment", "uniform"]
TIED = 1e-9  # scores of equal images differ by rounding, and by what a solver leaves
_FLAT = 1e-12  # a kernel that varies less tells no two images apart


def kernel_weights(evidence: Float64Array, spread: Float64Array) -> Float64Array:
    """Return the weights of kernels: the square of the evidence, divided by how much the kernel varies.

    Args:
        evidence: (..., B) float64, at most 1; 0 and less is none.
        spread: (..., B) float64, standard deviation of the kernel's off-diagonal entries.

    Returns:
        (..., B) float64, 0 or more, adding up to 1; all equal where no block shows anything.
    """
    usable = spread > _FLAT
    found = np.where(usable, np.maximum(evidence, 0.0) ** 2 / np.where(usable, spread, 1.0), 0.0)
    total = found.sum(axis=-1, keepdims=True)
    blocks = found.shape[-1]
    return np.where(total > 0, found / np.where(total > 0, total, 1.0), 1.0 / blocks)


def require_weigh(weigh: str) -> None:
    """Raise unless there is such a way of weighing.

    Raises:
        UnknownNameError: there is not.
    """
    if weigh not in get_args(Weigh):
        raise unknown_name("way of weighing backbones", str(weigh), get_args(Weigh))
