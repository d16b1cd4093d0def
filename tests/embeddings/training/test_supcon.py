"""Supervised contrast against its definition, written as loops."""

import numpy as np
import pytest
import torch

from fewshot.embeddings.training.supcon import supcon_loss


def by_definition(features: np.ndarray, labels: list[int], temperature: float) -> float:
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    losses = []
    for i, label in enumerate(labels):
        others = [j for j in range(len(labels)) if j != i]
        shares = np.exp([unit[i] @ unit[j] / temperature for j in others])
        own = [-np.log(share / shares.sum()) for j, share in zip(others, shares, strict=True) if labels[j] == label]
        losses.append(np.mean(own) if own else 0.0)  # alone in its class
    return float(np.mean(losses))


@pytest.mark.parametrize("temperature", [0.07, 0.5])
def test_the_loss_is_that_of_its_definition(temperature: float) -> None:
    features = np.random.default_rng(0).normal(size=(9, 4))
    labels = [0, 0, 0, 1, 1, 2, 2, 2, 7]

    found = supcon_loss(torch.from_numpy(features), torch.tensor(labels), temperature=temperature)

    assert float(found) == pytest.approx(by_definition(features, labels, temperature), rel=1e-12)


def test_similarities_beyond_the_range_of_exp_give_a_finite_loss_and_gradient() -> None:
    features = torch.tensor([[1.0, 0.0], [1.0, 1e-3], [-1.0, 0.0]], requires_grad=True)

    loss = supcon_loss(features, torch.tensor([0, 0, 1]), temperature=1e-3)
    (gradient,) = torch.autograd.grad(loss, features)

    assert torch.isfinite(loss)
    assert torch.isfinite(gradient).all()
