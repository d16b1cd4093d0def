"""What our code answers for the golden file of OmniDFA (teheperinko541/OmniDFA @ 35b9052)."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.parity_peers_golden import Answer, Golden
from fewshot.embeddings.backbones.creation import create
from fewshot.embeddings.training.sphere_centre import SphereCentre
from fewshot.embeddings.training.supcon import supcon_loss
from fewshot.protocols.sources.prototypes import episode_measures, prototype_answers

_CLASS_SIZES = (4, 3, 4, 2, 1)
_EPISODES, _WAYS, _SHOTS, _QUERIES = 2, 3, 4, 2
_DIGITS = 4  # to which their two measures are printed


def omnidfa(golden: Golden) -> Answer:
    """Both losses, attribution by prototypes, and the network."""
    return {**_supcon(golden), **_centre(golden), **_attribution(golden), "embedding": _embedding(golden)}


def _supcon(golden: Golden) -> Answer:
    features = golden.normal("omnidfa/features", (14, 16)).requires_grad_()
    labels = torch.repeat_interleave(torch.arange(len(_CLASS_SIZES)), torch.tensor(_CLASS_SIZES))
    loss = supcon_loss(features, labels)
    (gradient,) = torch.autograd.grad(loss, features)
    return {
        "features": features.detach().numpy(),
        "labels": labels.numpy(),
        "supcon": loss.detach().numpy(),
        "supcon_grad": gradient.numpy(),
    }


def _centre(golden: Golden) -> Answer:
    """Three losses of the same images, the threshold moving after each."""
    centre = SphereCentre(16)
    golden.fill(centre)
    real = golden.normal("omnidfa/real", (20, 16))
    real[:, 0] += 3
    features = real.clone().requires_grad_()
    losses, thresholds = [], [float(centre.cosine_threshold)]
    for _ in range(3):
        loss = centre(features)
        centre.update_threshold(features)
        losses.append(loss)
        thresholds.append(float(centre.cosine_threshold))
    of_real, of_centre = torch.autograd.grad(losses[-1], [features, centre.center_real])
    return {
        "real": real.numpy(),
        "center": centre.center_real.detach().numpy(),
        "center_losses": np.array([float(loss.detach()) for loss in losses]),
        "thresholds": np.array(thresholds),
        "real_grad": of_real.numpy(),
        "center_grad": of_centre.numpy(),
    }


def _attribution(golden: Golden) -> Answer:
    """Their accuracy is a mean over the classes of all episodes together, which is ours, classes being as large."""
    rows, images = _EPISODES * _WAYS, _SHOTS + _QUERIES
    spread = golden.normal("omnidfa/episodes", (rows, images, 3, 1, 4))
    centres = golden.normal("omnidfa/centres", (rows, 1, 3, 1, 4))
    features = (spread + 0.8 * centres).flatten(2).numpy()
    measures = [
        episode_measures(prototype_answers(episode[:, :_SHOTS], episode[:, _SHOTS:]))
        for episode in features.reshape(_EPISODES, _WAYS, images, -1)
    ]
    accuracy, macro_f1 = np.mean([(one.accuracy, one.macro_f1) for one in measures], axis=0)
    return {
        "episodes": features,
        "accuracy": np.array(round(float(accuracy), _DIGITS)),
        "macro_f1": np.array(round(float(macro_f1), _DIGITS)),
    }


def _embedding(golden: Golden) -> NDArray[Any]:
    backbone = create("omnidfa", layers=("embedding",)).load(device="cpu", weights=golden.weights)
    golden.require_sum(backbone.part("net").state_dict())
    crop, whole = (golden.normal(f"omnidfa/{view}", (2, 3, 224, 224)) for view in ("crop", "global"))
    return backbone.embed(torch.stack([crop, whole], dim=1))["embedding"].numpy()


ANSWERS: Mapping[str, Callable[[Golden], Answer]] = {"omnidfa": omnidfa}
