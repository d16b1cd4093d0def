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

    Every 2x2 block loses its top-left pixel; an odd last row or column is cut off first. Source: NPR (Tan et al., CVPR
    2024), chuangchuangtan/NPR-DeepfakeDetection @ 781ced3, networks/resnet.py ``interpolate``.
    """
    height, width = images.shape[-2] // 2 * 2, images.shape[-1] // 2 * 2
    images = images[..., :height, :width]
    kept = images[..., ::2, ::2]
    return images - kept.repeat_interleave(2, dim=-2).repeat_interleave(2, dim=-1)


def median_residual(images: Tensor) -> Tensor:
    """Return images minus the median of their zero-padded 3x3 neighbourhood, its centre counted as zero.

    Source: FerretNet ("Efficient Synthetic Image Detection via Local Pixel Dependencies"), xigua7105/FerretNet
    @ 9572e1b, src/model/lpd.py ``MaskMedianValues``.

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


# Eight neighbours of the centre, row by row and around the clock.
_NEIGHBOURS = ((-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1))
_CLOCKWISE = ((-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1))
_SQUARE_3 = ((-1, 2, -1), (2, -4, 2), (-1, 2, -1))
_SQUARE_5 = ((-1, 2, -2, 2, -1), (2, -6, 8, -6, 2), (-2, 8, -12, 8, -2), (2, -6, 8, -6, 2), (-1, 2, -2, 2, -1))


def srm_filters() -> Tensor:
    """Return the 30 filters of the spatial rich model, each divided by its largest entry: (30, 5, 5) float32.

    Eight first and four second differences, eight third differences, four 3x3 edges, four 5x5 edges, and both squares
    (Fridrich and Kodovsky 2012; the order is that of AIDE's models/srm_filter_kernel.py).
    """
    first = [{(0, 0): -1.0, (y, x): 1.0} for y, x in _NEIGHBOURS]
    second = [{(y, x): 1.0, (0, 0): -2.0, (-y, -x): 1.0} for y, x in _NEIGHBOURS[:4]]
    third = [{(2 * y, 2 * x): -1.0, (y, x): 3.0, (0, 0): -3.0, (-y, -x): 1.0} for y, x in _CLOCKWISE]
    points = [_from_points(filter_) for filter_ in (*first, *second, *third)]
    square_3 = torch.nn.functional.pad(torch.tensor(_SQUARE_3, dtype=torch.float32), (1, 1, 1, 1))
    square_5 = torch.tensor(_SQUARE_5, dtype=torch.float32)
    filters = torch.stack([*points, *_edges(square_3), *_edges(square_5), square_3, square_5])
    return filters / filters.abs().amax(dim=(1, 2), keepdim=True)


def _from_points(values: dict[tuple[int, int], float]) -> Tensor:
    found = torch.zeros(5, 5)
    for (y, x), value in values.items():
        found[2 + y, 2 + x] = value
    return found


def _edges(square: Tensor) -> list[Tensor]:
    """Return the square without what lies below, left of, above and right of its middle."""
    found = [square.clone() for _ in range(4)]
    found[0][3:, :] = found[1][:, :2] = found[2][:2, :] = found[3][:, 3:] = 0
    return found


def clamped_high_frequencies(images: Tensor, *, size: int) -> Tensor:
    """Return the high half of each channel's spectrum, clamped to [0, 1]: (N, C, size, size).

    Frequencies further from zero than a disc of half the spectrum's area stay; the negative part of what they make is
    cut off. Images of another size are resized first, bilinear. Source: Fleet (ICML 2026), ICTMCG/Fleet @ fab6b41.

    Args:
        images: (N, C, H, W) floating, values 0 to 1.
    """
    if images.shape[-2:] != (size, size):
        images = torch.nn.functional.interpolate(images, size=(size, size), mode="bilinear", align_corners=False)
    offsets = torch.arange(size, dtype=torch.float64, device=images.device) - size // 2
    distance = torch.hypot(offsets[:, None], offsets[None, :])
    kept = torch.fft.ifftshift(distance > (size * size * 0.5 / torch.pi) ** 0.5)
    filtered: Tensor = torch.fft.ifft2(torch.fft.fft2(images) * kept)
    return filtered.real.clamp(0.0, 1.0)
