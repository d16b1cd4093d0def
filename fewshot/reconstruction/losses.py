"""The two losses of attribution training per network, with their gradients, rounded as PyTorch's own."""

import torch
from torch import Tensor

from fewshot.reconstruction.training_settings import Norm


def attribution(residual: Tensor, norm: Norm) -> tuple[Tensor, Tensor]:
    """Return formula 4 as a mean over D per network (S,), and its gradient with respect to D(E(f)).

    Args:
        residual: (S, n, D) f - D(E(f)); overwritten.
        norm: ``l1``, or ``l2`` squared.
    """
    size = residual.shape[1] * residual.shape[2]
    if norm == "l1":
        return residual.abs().mean((1, 2)), residual.sign_().mul_(-1.0 / size)
    return residual.square().mean((1, 2)), residual.mul_(-2.0 / size)


def cross_entropy(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Return formula 5 per network (S,), and its gradient (S, n, 1), rounded as PyTorch's own loss does.

    The loss is (1 - y) z - log sigmoid(z).
    """
    log_sigmoid, buffer = torch.ops.aten.log_sigmoid_forward(logits)
    losses = ((1 - targets) * logits - log_sigmoid).mean((1, 2))
    share = torch.full_like(logits, 1 / logits.shape[1])
    gradient = (1 - targets) * share - torch.ops.aten.log_sigmoid_backward(share, logits, buffer)
    return losses, gradient
