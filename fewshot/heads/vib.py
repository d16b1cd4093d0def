"""A variational information bottleneck, VIB-Net's head, scored by the mean of its latent."""

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor, nn

from fewshot.core.arrays import Float64Array, FloatArray
from fewshot.core.errors import OptionError
from fewshot.heads.base import Head
from fewshot.heads.state import Learned


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

    Attributes:
        input_weights_, input_bias_, hidden_weights_, hidden_bias_: the two hidden layers, (in, out) and (out,) float64.
        latent_weights_, latent_bias_: of the latent's mean; output_weights_, output_bias_: the read-out.
        n_iter_: steps made.
    """

    name: ClassVar[str] = "vib"
    learned: ClassVar[Mapping[str, Learned]] = {
        "input_weights_": Learned("D h"),
        "input_bias_": Learned("h"),
        "hidden_weights_": Learned("h h"),
        "hidden_bias_": Learned("h"),
        "latent_weights_": Learned("h l"),
        "latent_bias_": Learned("l"),
        "output_weights_": Learned("l"),
        "output_bias_": Learned(""),
    }
    input_weights_: Float64Array
    input_bias_: Float64Array
    hidden_weights_: Float64Array
    hidden_bias_: Float64Array
    latent_weights_: Float64Array
    latent_bias_: Float64Array
    output_weights_: Float64Array
    output_bias_: float

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
        for name in ("hidden", "latent", "steps"):
            if getattr(self, name) < 1:
                raise OptionError(f"{name} is {getattr(self, name)}; give 1 or more")
        batch = torch.tensor(np.asarray(rows, dtype=np.float64))
        labels = torch.tensor(positive, dtype=torch.float64)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.random_state)
            network = _Bottleneck(batch.shape[1], self.hidden, self.latent, self.dropout).double()
            optimiser = torch.optim.Adam(network.parameters(), lr=self.learning_rate)
            for _ in range(self.steps):
                optimiser.zero_grad()
                loss = network.loss(batch, labels, self.beta)
                torch.autograd.backward(loss)
                optimiser.step()
        self.n_iter_ = self.steps
        self._learn(network.weights())
        return self

    def decision_function(self, features: FloatArray) -> Float64Array:
        """Return (M,) log odds of synthetic at the latent's mean."""
        rows = np.asarray(self._check_query(features), dtype=np.float64)
        hidden = np.maximum(rows @ self.input_weights_ + self.input_bias_, 0.0)
        hidden = np.maximum(hidden @ self.hidden_weights_ + self.hidden_bias_, 0.0)
        latent = hidden @ self.latent_weights_ + self.latent_bias_
        return np.asarray(latent @ self.output_weights_ + self.output_bias_)


class _Bottleneck(nn.Module):
    def __init__(self, dimension: int, hidden: int, latent: int, dropout: float) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Dropout(dropout), nn.Linear(dimension, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU()
        )
        self.latent = nn.Linear(hidden, 2 * latent)
        self.read_out = nn.Linear(latent, 1)

    def weights(self) -> dict[str, Float64Array]:
        """Return what scores at the latent's mean are computed from, by the head's attributes."""
        state = {name: tensor.numpy() for name, tensor in self.state_dict().items()}
        latent = self.read_out.in_features
        return {
            "input_weights_": state["body.1.weight"].T,
            "input_bias_": state["body.1.bias"],
            "hidden_weights_": state["body.3.weight"].T,
            "hidden_bias_": state["body.3.bias"],
            "latent_weights_": state["latent.weight"][:latent].T,
            "latent_bias_": state["latent.bias"][:latent],
            "output_weights_": state["read_out.weight"][0],
            "output_bias_": state["read_out.bias"][0],
        }

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
