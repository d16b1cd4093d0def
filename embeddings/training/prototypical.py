"""FSD's episodic loss: every class is the mean of a few embeddings, and the nearest mean should be the right one.

Snell, Swersky, Zemel, Prototypical Networks, NeurIPS 2017, equations 1 and 2; Wu et al., Few-Shot Learner
Generalizes Across AI-Generated Image Detection, ICML 2025 (teheperinko541/Few-Shot-AIGI-Detector @ 39ed162), whose
embeddings are raw, not of unit length.
"""

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy


def class_scores(support: Tensor, query: Tensor) -> Tensor:
    """Return minus the squared Euclidean distance of every query to the mean of every class.

    Args:
        support: (E, S, C, D) floating: S embeddings of each of C classes in E episodes.
        query: (E, Q, D) floating: of any class.

    Returns:
        (E, Q, C) floating; its softmax is the probability of the classes.
    """
    means = support.mean(dim=1)
    return -(query[:, :, None] - means[:, None]).square().sum(dim=-1)


def episode_scores(embeddings: Tensor, *, shots: int) -> Tensor:
    """Return the scores of every query of some episodes, the first ``shots`` embeddings of a class being its support.

    Args:
        embeddings: (E, S + Q, C, D) floating, with S ``shots``.

    Returns:
        (E * Q * C, C): in the order of episodes, then queries, then true classes.
    """
    classes = embeddings.shape[2]
    support, query = embeddings[:, :shots], embeddings[:, shots:].flatten(1, 2)
    return class_scores(support, query).reshape(-1, classes)


def episode_labels(embeddings: Tensor, *, shots: int) -> Tensor:
    """Return the true class of every row of ``episode_scores``: (E * Q * C,) int64, from 0 to C - 1."""
    episodes, images, classes, _ = embeddings.shape
    return torch.arange(classes, device=embeddings.device).repeat(episodes * (images - shots))


def prototypical_loss(embeddings: Tensor, *, shots: int) -> Tensor:
    """Return the mean cross-entropy of the queries of some episodes; see ``episode_scores`` for the shapes."""
    return cross_entropy(episode_scores(embeddings, shots=shots), episode_labels(embeddings, shots=shots))
