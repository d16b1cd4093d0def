"""OmniDFA's loss on natural images: all lie near one learned centre of the sphere, within a running angle.

Wu et al., arXiv 2509.25682; teheperinko541/OmniDFA @ 35b9052, model/loss.py.
"""

from typing import final

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

MOMENTUM = 0.99
_FENCE = 1.5  # interquartile ranges beyond the upper quartile (Tukey 1977)
_LARGEST_COSINE = 1.0 - 1e-7


@final
class SphereCentre(nn.Module):
    """A centre of the natural images, and the cosine to it from which on an image counts as natural.

    ``center_real`` (D,) is learned, ``cosine_threshold`` () follows what ``update_threshold`` is given; their names are
    those of the authors' checkpoints.

    Args:
        dimension: D, of the features.
        momentum: how much of the threshold is kept at every update.
    """

    cosine_threshold: Tensor

    def __init__(self, dimension: int, *, momentum: float = MOMENTUM) -> None:
        super().__init__()
        self.momentum = momentum
        self.center_real = nn.Parameter(torch.randn(dimension))
        self.register_buffer("cosine_threshold", torch.tensor(1.0))

    def cosines(self, features: Tensor) -> Tensor:
        """Return the cosine of every feature (N, D) to the centre: (N,)."""
        return normalize(features, dim=1) @ normalize(self.center_real, dim=0)

    def forward(self, natural: Tensor) -> Tensor:
        """Return the loss of features (N, D) of natural images: the mean of 1 - cosine."""
        return (1.0 - self.cosines(natural)).mean()

    @torch.no_grad()
    def update_threshold(self, natural: Tensor) -> None:
        """Move the threshold towards the widest angle among some natural images, outliers left out.

        An outlier is farther than 1.5 interquartile ranges above the upper quartile of the angles.

        Args:
            natural: (N, D) floating; of all devices, where several train together.
        """
        angles = torch.acos(self.cosines(natural).clamp(-_LARGEST_COSINE, _LARGEST_COSINE))
        lower, upper = torch.quantile(angles, angles.new_tensor([0.25, 0.75]))
        widest = angles[angles <= upper + _FENCE * (upper - lower)].max()
        moved = self.momentum * self.cosine_threshold + (1.0 - self.momentum) * torch.cos(widest)
        self.cosine_threshold.copy_(moved.clamp(-_LARGEST_COSINE, _LARGEST_COSINE))
