"""Supervised contrastive loss: images of a class attract each other, all others repel.

Khosla et al., Supervised Contrastive Learning, NeurIPS 2020, equation 2; as OmniDFA trains with one class per generator
(Wu et al., arXiv 2509.25682; teheperinko541/OmniDFA @ 35b9052).
"""

import torch
from torch import Tensor
from torch.nn.functional import normalize

TEMPERATURE = 0.07  # OmniDFA's, and the paper's for its smaller experiments


def supcon_loss(features: Tensor, labels: Tensor, *, temperature: float = TEMPERATURE) -> Tensor:
    """Return the mean over all images of minus the mean log-probability of the others of its class.

    An image that is alone in its class has no positive and adds nothing, but it counts in the mean, as theirs does.

    Args:
        features: (N, D) floating, of any length; they are brought to unit length here.
        labels: (N,) integers.
        temperature: what similarities are divided by.

    Returns:
        () floating.
    """
    unit = normalize(features, dim=1)
    similarity = unit @ unit.T / temperature
    itself = torch.eye(len(labels), dtype=torch.bool, device=features.device)
    positive = (labels[:, None] == labels[None, :]) & ~itself
    others = torch.logsumexp(similarity.masked_fill(itself, -torch.inf), dim=1)
    log_probability = similarity - others[:, None]
    positives = positive.sum(dim=1)
    of_each = (log_probability * positive).sum(dim=1) / positives.clamp_min(1)
    return -of_each.mean()
