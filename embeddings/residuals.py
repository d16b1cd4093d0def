"""High-pass residuals that detectors put before their networks."""

import torch
from torch import Tensor

# Comparators that leave the median of nine values in place 4 (Smith, "Implementing median filters in XC4000E FPGAs",
# 1996); the result is one of the values, so it equals a sort exactly.
_MEDIAN_OF_NINE = (
    (1, 2), (4, 5), (7, 8), (0, 1), (3, 4), (6, 7), (1, 2), (4, 5), (7, 8), (0, 3),
    (5, 8), (4, 7), (3, 6), (1, 4), (2, 5), (4, 7), (4, 2), (6, 4), (4, 2),
)  # fmt: skip


def nearest_residual(images: Tensor) -> Tensor:
    """Return images minus their nearest-neighbour down- and up-sampling by two: (N, C, H, W) with even H and W.

    Every 2x2 block loses its top-left pixel; an odd last row or column is cut off first. Source: NPR, Tan et al. 2024,
    networks/resnet.py ``interpolate`` (specs/backbones.md 4.5).
    """
    height, width = images.shape[-2] // 2 * 2, images.shape[-1] // 2 * 2
    images = images[..., :height, :width]
    kept = images[..., ::2, ::2]
    return images - kept.repeat_interleave(2, dim=-2).repeat_interleave(2, dim=-1)


def median_residual(images: Tensor) -> Tensor:
    """Return images minus the median of their zero-padded 3x3 neighbourhood, its centre counted as zero.

    Source: FerretNet, xigua7105/FerretNet (specs/backbones.md 4.19).

    Args:
        images: (N, C, H, W) floating.
    """
    height, width = images.shape[-2:]
    padded = torch.nn.functional.pad(images, (1, 1, 1, 1))
    values = [padded[..., top : top + height, left : left + width] for top in range(3) for left in range(3)]
    values[4] = torch.zeros_like(images)
    for low, high in _MEDIAN_OF_NINE:
        values[low], values[high] = torch.minimum(values[low], values[high]), torch.maximum(values[low], values[high])
    return images - values[4]
