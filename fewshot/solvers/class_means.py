"""Distances to the class means of many supports at once; see ``heads/euclid.py`` and ``prepared_pool.py``."""

import torch

from fewshot.core.arrays import FloatArray
from fewshot.solvers.prepared_pool import PreparedPool, Supports


def euclid_scores(supports: Supports) -> FloatArray:
    """Return the squared distance to the natural mean minus that to the synthetic mean, per trial.

    |q - a|^2 - |q - b|^2 = 2 <q, b - a> + |a|^2 - |b|^2 is linear in the query, so a trial is one direction and one
    bias. It does not change when all images are moved, and the pool is centred, which keeps the products small.

    Returns:
        (T, N) float32, or float64 where the pool is small; larger = more likely synthetic.
    """
    pool = PreparedPool.of(supports)
    weights = torch.zeros_like(supports.signs)
    bias = torch.zeros(len(weights), dtype=weights.dtype, device=weights.device)
    for part in pool.trial_blocks():
        gram = pool.support_products(part)
        for sign in (-1.0, 1.0):
            member = (supports.signs[part] == sign).to(gram.dtype)
            share = member / member.sum(dim=1, keepdim=True)
            weights[part] += 2 * sign * share
            bias[part] -= sign * torch.einsum("ts,tsr,tr->t", share, gram, share)
    return pool.linear_scores(weights, bias)
