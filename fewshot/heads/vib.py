"""A variational information bottleneck, VIB-Net's head, scored by the mean of its latent."""

from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor, nn

from fewshot.core.arrays import Float64Array, FloatArray
from fewshot.heads.base import Head


class Vib(Head):
    """Two hidden layers, a Gaussian latent, a linear read-out (VIB-Net, CVPR 2025, after Alemi et al., ICLR 2017).

    Dropout 0.5, D-1024-1024-(256 means, 256 deviations softplus(s - 5)), linear 256-1 (oceanzhf/VIBAIGCDetect
    @ 6f097ea, models/clip_models.py). The public evaluation samples the latent at test time, so its scores are random;
    here the mean is used, and the same image has one score.

    Args:
        hidden, latent: widths.
        beta: weight of the divergence from the standard normal.
        dropout: share of the input dropped in training.
        steps: full-batch steps of Adam.
        learning_rate: of Adam.
        random_state: seed of initialisation, dropout and sampling.
    """

    name: ClassVar[str] = "vib"

    def __init__(  # scikit-learn: one parameter per choice
        self,
        hidden: int = 1024,
        latent: int = 256,
        beta: float = 1e-3,
        dropout: float = 0.5,
        steps: int = 100,
        learning_rate: float = 1e-3,
        random_state: int = 0,
    ) -> None:
        self.hidden = hidden
        self.latent = latent
        self.beta = beta
        self.dropout = dropout
        self.steps = steps
        self.learning_rate = learning_rate
        self.random_state = random_state

    def fit(self, features: FloatArray, y: Any) -> Self:
        """Train on the support: features (n, D) floating, (n,) two classes."""
        rows, positive = self._check_support(features, y)
        batch = torch.tensor(np.asarray(rows, dtype=np.float64))
        labels = torch.tensor(positive, dtype=torch.float64)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.random_state)
            self.network_ = _Bottleneck(batch.shape[1], self.hidden, self.latent, self.dropout).double()
            optimiser = torch.optim.Adam(self.network_.parameters(), lr=self.learning_rate)
            for _ in range(self.steps):
                optimiser.zero_grad()
                loss = self.network_.loss(batch, labels, self.beta)
                torch.autograd.backward(loss)
                optimiser.step()
        self.n_iter_ = self.steps
        self.network_.eval()
        return self

    def decision_function(self, features: FloatArray) -> Float64Array:
        """Return (M,) log odds of synthetic at the latent's mean."""
        rows = np.asarray(self._check_query(features), dtype=np.float64)
        with torch.inference_mode():
            scores = self.network_(torch.tensor(rows))
        return np.asarray(scores.numpy(), dtype=np.float64)


class _Bottleneck(nn.Module):
    def __init__(self, dimension: int, hidden: int, latent: int, dropout: float) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Dropout(dropout), nn.Linear(dimension, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU()
        )
        self.latent = nn.Linear(hidden, 2 * latent)
        self.read_out = nn.Linear(latent, 1)

    def forward(self, batch: Tensor) -> Tensor:
        mean, _ = self.latent(self.body(batch)).chunk(2, dim=1)
        scores: Tensor = self.read_out(mean)[:, 0]
        return scores

    def loss(self, batch: Tensor, labels: Tensor, beta: float) -> Tensor:
        """Cross-entropy at a sampled latent plus ``beta`` times the mean divergence from the standard normal."""
        mean, raw = self.latent(self.body(batch)).chunk(2, dim=1)
        deviation = nn.functional.softplus(raw - 5)
        sample = mean + deviation * torch.randn_like(deviation)
        entropy = nn.functional.binary_cross_entropy_with_logits(self.read_out(sample)[:, 0], labels)
        return entropy + beta * divergence(mean, deviation).mean()


def divergence(mean: Tensor, deviation: Tensor) -> Tensor:
    """Return the Kullback-Leibler divergence of N(mean, deviation^2) from N(0, 1), summed over the latent: (n,)."""
    return 0.5 * (mean**2 + deviation**2 - 1 - 2 * torch.log(deviation.clamp_min(1e-12))).sum(1)
