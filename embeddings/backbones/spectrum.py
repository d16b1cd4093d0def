"""Power spectrum and residual statistics: a cited baseline without weights."""

from typing import final

import torch
from torch import Tensor, nn

from fewshot.embeddings.backbones.base import Backbone
from fewshot.embeddings.card import BackboneCard
from fewshot.embeddings.inputs.detector_crops import CropAtMost
from fewshot.embeddings.inputs.rule import InputRule

BINS = 64
LARGEST_SIDE = 256
LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601
# Residual filters of Fridrich and Kodovsky 2012: first and second differences along rows and columns, the mixed
# difference (a 2x2 diagonal wavelet band), and the 3x3 square filter.
FILTERS = (
    ((0, 0, 0), (0, -1, 1), (0, 0, 0)),
    ((0, 0, 0), (0, -1, 0), (0, 1, 0)),
    ((0, 0, 0), (1, -2, 1), (0, 0, 0)),
    ((0, 1, 0), (0, -2, 0), (0, 1, 0)),
    ((0, 0, 0), (0, 1, -1), (0, -1, 1)),
    ((-1, 2, -1), (2, -4, 2), (-1, 2, -1)),
)
_STATISTICS = 4
_CACHED = 1 << 17  # elements that stay in a processor's cache through all filters
_FLOOR = 1e-12  # of powers, so that a flat image has a logarithm


@final
class Spectrum(Backbone):
    """Azimuthal mean of the luma's power spectrum, and moments of six high-pass residuals of each channel.

    Sources: Durall et al., Watch your Up-Convolution, CVPR 2020 (azimuthal mean); Fridrich and Kodovsky, Rich Models
    for Steganalysis, IEEE TIFS 2012 (residuals). Native pixels; nothing is resized, and nothing is padded.
    """

    name = "spectrum"

    def make_card(self) -> BackboneCard:
        residual = 3 * len(FILTERS) * _STATISTICS
        return BackboneCard(
            name=self.full_name,
            layers={"feature": BINS + residual, "radial": BINS, "residual": residual},
            layer="feature",
            input=InputRule((CropAtMost(LARGEST_SIDE),)),
            equality="code-equivalent",
            parameters=0,
            gflops=0.01,
            paper="Durall et al., Watch your Up-Convolution, CVPR 2020; Fridrich and Kodovsky, Rich Models, TIFS 2012",
            reference="written here",
            licence="Apache-2.0",
            note="no network: what simple statistics of native pixels can tell",
        )

    def build(self) -> nn.Module:
        return nn.Identity()

    def features(self, batch: Tensor) -> dict[str, Tensor]:
        exact = batch.double()
        radial = _radial(exact).float()
        residual = _residual_statistics(exact).float()
        return {"feature": torch.cat([radial, residual], dim=1), "radial": radial, "residual": residual}


def _radial(images: Tensor) -> Tensor:
    """Return (N, 64): log of the mean power in rings of equal width up to Nyquist, relative to the total power.

    A Hann window keeps the image's edges out of the spectrum.

    Args:
        images: (N, 3, H, W) float64 in [0, 1].
    """
    luma = (images * images.new_tensor(LUMA).view(3, 1, 1)).sum(dim=1)
    height, width = luma.shape[-2:]
    window = torch.outer(_hann(height, images), _hann(width, images))
    centred = (luma - luma.mean(dim=(1, 2), keepdim=True)) * window
    power = torch.fft.fft2(centred).abs().square().flatten(1)
    rings = _rings(height, width).to(images)
    total = power.mean(dim=1, keepdim=True)
    relative: Tensor = (power @ rings.T + _FLOOR) / (total + _FLOOR)
    return torch.log(relative)


def _hann(length: int, like: Tensor) -> Tensor:
    window: Tensor = torch.hann_window(length + 2, periodic=False, dtype=like.dtype, device=like.device)
    return window[1:-1]


def _rings(height: int, width: int) -> Tensor:
    """Return (64, H * W): each row averages one ring; a ring that a small image lacks repeats the nearest one."""
    rows, columns = torch.fft.fftfreq(height).abs(), torch.fft.fftfreq(width).abs()
    radius = torch.sqrt(rows[:, None].square() + columns[None, :].square()).flatten() * 2  # 1 = Nyquist along an axis
    ring = (radius * BINS).long().clamp(max=BINS - 1)
    inside = (radius > 0) & (radius <= 1)
    present = torch.unique(ring[inside])
    if len(present) == 0:  # a single pixel has no frequency but zero
        return torch.zeros(BINS, height * width)
    nearest = present[(torch.arange(BINS)[:, None] - present[None, :]).abs().argmin(dim=1)]
    member = ((ring[None, :] == nearest[:, None]) & inside[None, :]).double()
    rings: Tensor = member / member.sum(dim=1, keepdim=True)
    return rings


def _residual_statistics(images: Tensor) -> Tensor:
    """Return (N, 3 * 6 * 4): log standard deviation, flatness, and correlation with the right and lower neighbour.

    Args:
        images: (N, 3, H, W) float64 in [0, 1].
    """
    planes = images.flatten(0, 1)
    at_once = max(1, _CACHED // planes[0].numel()) if planes.device.type == "cpu" else len(planes)
    found = [_plane_statistics(some) for some in torch.split(planes, at_once)]
    return torch.cat(found).view(len(images), -1)


def _plane_statistics(planes: Tensor) -> Tensor:
    """Return (P, 24) of planes (P, H, W) float64."""
    padded = torch.nn.functional.pad(planes[:, None], (1, 1, 1, 1), mode="replicate")[:, 0]
    found = []
    for kernel in FILTERS:
        residual = _filtered(padded, kernel)
        residual -= residual.mean(dim=(1, 2), keepdim=True)
        variance = _product_mean(residual, residual) + _FLOOR
        found += [
            0.5 * torch.log(variance),
            residual.abs().mean(dim=(1, 2)) / variance.sqrt(),
            _correlation(residual, dimension=2) / variance,
            _correlation(residual, dimension=1) / variance,
        ]
    return torch.stack(found, dim=1)


def _filtered(padded: Tensor, kernel: tuple[tuple[int, ...], ...]) -> Tensor:
    """Return planes (P, H, W) from padded ones: its few terms added, ten times faster than a convolution."""
    height, width = padded.shape[1] - 2, padded.shape[2] - 2
    result = padded.new_zeros(len(padded), height, width)
    for row, weights in enumerate(kernel):
        for column, weight in enumerate(weights):
            if weight:
                result.add_(padded[:, row : row + height, column : column + width], alpha=weight)
    return result


def _correlation(residual: Tensor, *, dimension: int) -> Tensor:
    """Return (P,): the mean product of neighbours along one axis, counted over all pixels; the last meets the first."""
    length = residual.shape[dimension]
    inner = residual.narrow(dimension, 1, length - 1) * residual.narrow(dimension, 0, length - 1)
    around = residual.select(dimension, 0) * residual.select(dimension, length - 1)
    return (inner.sum(dim=(1, 2)) + around.sum(dim=1)) / residual[0].numel()


def _product_mean(one: Tensor, other: Tensor) -> Tensor:
    mean: Tensor = torch.linalg.vecdot(one.flatten(1), other.flatten(1)) / one[0].numel()
    return mean
