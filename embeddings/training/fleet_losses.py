"""Fleet's losses: contrast of the embeddings, use of the routing's heads, and what adaptation must not move.

Fleet (ICML 2026, arXiv 2606.31082), ICTMCG/Fleet @ fab6b41. There fakes are labelled 0; here masks say which rows are
synthetic, and every loss is told both classes by them. Weights of the sum are the caller's.
"""

import torch
from torch import Tensor

TEMPERATURE = 0.07
_TINY = 1e-8  # inside the logarithm of the pretraining's form
_UNUSED = 1e-6  # inside the logarithm of the coverage


def pretraining_contrast(features: Tensor, synthetic: Tensor, *, temperature: float = TEMPERATURE) -> Tensor:
    """Return the mean over rows of log(sum of exp(s/t) over the others) minus the mean s/t over the row's own class.

    A row that is alone of its class is pushed from all others and drawn to none.

    Args:
        features: (n, D) floating, unit length; s are their inner products.
        synthetic: (n,) bool.
        temperature: t.
    """
    similarity, others, partners = _pairs(features, synthetic, temperature)
    spread = torch.log((similarity.exp() * others).sum(dim=1) + _TINY)
    return (spread - _mean_over(similarity, partners)).mean()


def contrast(features: Tensor, synthetic: Tensor, *, temperature: float = TEMPERATURE) -> Tensor:
    """Return the contrast of the adaptation: that of the pretraining without the constant in the logarithm.

    A row that is alone of its class counts with zero; the authors' form is not a number there.

    Args:
        features, synthetic, temperature: as in ``pretraining_contrast``.
    """
    similarity, others, partners = _pairs(features, synthetic, temperature)
    spread = torch.log((similarity.exp() * others).sum(dim=1, keepdim=True))
    return -_mean_over(similarity - spread, partners).mean()


def orthogonality(weights: Tensor, synthetic: Tensor) -> Tensor:
    """Return the inner product of both classes' mean routing weights (n, H), zero where a class is missing."""
    if synthetic.all() or not synthetic.any():
        return weights.sum() * 0.0
    return weights[synthetic].mean(dim=0) @ weights[~synthetic].mean(dim=0)


def coverage(weights: Tensor, synthetic: Tensor) -> Tensor:
    """Return minus the mean over heads of log(mean weight of naturals + mean weight of synthetics + 1e-6).

    Args:
        weights: (n, H) routing weights; synthetic: (n,) bool. A class that is missing adds nothing.
    """
    used = [weights[side].mean(dim=0) for side in (synthetic, ~synthetic) if side.any()]
    return -torch.log(torch.stack(used).sum(dim=0) + _UNUSED).mean()


def distillation(features: Tensor, targets: Tensor) -> Tensor:
    """Return the mean of 1 - cosine between rows (n, D), of unit length, and what they were before the adaptation."""
    return (1.0 - (features * targets).sum(dim=1)).mean()


def avoidance(weights: Tensor, synthetic: Tensor, *, synthetic_anchor: Tensor, natural_anchor: Tensor) -> Tensor:
    """Return how much the support is routed as the other class was before the adaptation.

    The mean inner product of synthetic rows with the anchor of naturals, plus that of natural rows with the anchor of
    synthetics; a class that is missing adds nothing.

    Args:
        weights: (n, H) routing weights of the support; synthetic: (n,) bool.
        synthetic_anchor, natural_anchor: (H,) mean weights of the replay images.
    """
    found = weights.sum() * 0.0
    for side, anchor in ((synthetic, natural_anchor), (~synthetic, synthetic_anchor)):
        if side.any():
            found = found + (weights[side] * anchor).sum(dim=1).mean()
    return found


def _pairs(features: Tensor, synthetic: Tensor, temperature: float) -> tuple[Tensor, Tensor, Tensor]:
    """Return (n, n) similarities over the temperature, which pairs are of two rows, and which of one class."""
    others = ~torch.eye(len(features), dtype=torch.bool, device=features.device)
    partners = others & (synthetic[:, None] == synthetic[None, :])
    return features @ features.T / temperature, others, partners


def _mean_over(values: Tensor, chosen: Tensor) -> Tensor:
    """Return (n,) the mean of every row's chosen values, zero where there is none."""
    return (chosen * values).sum(dim=1) / chosen.sum(dim=1).clamp(min=1)
