"""What our code answers for the golden files of FSD (teheperinko541/Few-Shot-AIGI-Detector @ 39ed162)."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from benchmarks.parity_peers_golden import Answer, Golden
from fewshot.embeddings.backbones.creation import create
from fewshot.embeddings.training.prototypical import episode_labels, episode_scores, prototypical_loss
from fewshot.stats.metrics import Ranked

_SIZES = ((240, 260), (224, 224), (200, 300), (150, 120))  # (height, width) of image k, in turn
_IMAGES, _SHOWN = 20, 4
_NOISE = {"real": 0.5, "fake": 0.35}
_TASKS, _SHOTS = 4, 5


def scores(golden: Golden) -> Answer:
    """The rule and the loss on episodes of random features, with gradients."""
    found: dict[str, Any] = {}
    for name, shape, shots in (("eval", (1, 20, 2, 16), 5), ("eval10", (1, 40, 2, 16), 10)):
        inputs = golden.normal(f"fsd/{name}", shape)
        inputs[:, :, 1] += 0.5
        found |= {f"{name}_{key}": value for key, value in _episode(inputs, shots=shots).items()}
    train = _episode(golden.normal("fsd/train", (3, 10, 3, 16)), shots=5)
    return found | {f"train_{key}": value for key, value in train.items()}


def _episode(inputs: Tensor, *, shots: int) -> Answer:
    embeddings = inputs.clone().requires_grad_()
    loss = prototypical_loss(embeddings, shots=shots)
    (gradient,) = torch.autograd.grad(loss, embeddings)
    found = {"inputs": inputs, "loss": loss.detach(), "grad": gradient}
    return {name: value.numpy() for name, value in found.items()} | _decision(inputs, shots=shots)


def _decision(embeddings: Tensor, *, shots: int) -> dict[str, NDArray[Any]]:
    """Return scores, probabilities, accuracy and exact average precision of episodes."""
    found = episode_scores(embeddings, shots=shots)
    labels = episode_labels(embeddings, shots=shots).numpy()
    probabilities = found.softmax(dim=1).numpy()
    precisions = [Ranked.of(column, labels == side).average_precision() for side, column in enumerate(probabilities.T)]
    return {
        "scores": found.numpy(),
        "labels": labels,
        "prob": probabilities,
        "acc": np.array(np.mean(probabilities.argmax(axis=1) == labels)),
        "ap_exact": np.array(np.mean(precisions)),
    }


def adapt(golden: Golden) -> Answer:
    """Five steps of Adam on episodes, through the loss."""
    network = nn.Sequential(nn.Linear(12, 24), nn.ReLU(), nn.Linear(24, 8))
    golden.fill(network, checked="fill_sum")
    inputs = golden.normal("fsd/steps", (5, 3, 40, 12))
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-2)
    schedule = torch.optim.lr_scheduler.StepLR(optimiser, step_size=3, gamma=0.5)
    found: dict[str, NDArray[Any]] = {"inputs": inputs.numpy()}
    losses = []
    for step, images in enumerate(inputs, start=1):
        embeddings = network(images).unflatten(1, (_TASKS, -1)).permute(1, 2, 0, 3)
        loss = prototypical_loss(embeddings, shots=_SHOTS)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch's
        if step == 1:
            found |= {f"grad0/{key}": _copy(value.grad) for key, value in network.named_parameters()}
        optimiser.step()
        schedule.step()
        losses.append(float(loss.detach()))
        if step in (1, len(inputs)):
            found |= {f"step{step}/{key}": _copy(value) for key, value in network.state_dict().items()}
    return found | {"losses": np.array(losses)}


def _copy(value: Tensor | None) -> NDArray[Any]:
    assert value is not None
    return value.detach().numpy().copy()


def network(golden: Golden) -> Answer:
    """The backbone on forty images, and one episode of them."""
    backbone = create("fsd").load(device="cpu", weights=golden.weights)
    golden.require_sum(backbone.network.state_dict())
    found: dict[str, NDArray[Any]] = {}
    of_each = []
    for side in _NOISE:
        batch = torch.from_numpy(np.stack([backbone.preprocess(image) for image in _images(golden, side)]))
        embeddings = torch.cat([backbone.embed(part)["embedding"] for part in torch.split(batch, _SHOWN)])
        of_each.append(embeddings)
        found |= {
            side: embeddings[:_SHOWN].numpy(),
            f"{side}_norms": embeddings.norm(dim=1).numpy(),
            f"{side}_first8": embeddings[:, :8].numpy(),
            f"input_{side}_sub": backbone.normalise(batch[:_SHOWN])[:, :, ::16, ::16].numpy(),
        }
    return found | _decision(torch.stack(of_each, dim=1)[None], shots=_SHOTS)


def _images(golden: Golden, side: str) -> Iterator[Image.Image]:
    share = _NOISE[side]
    for number in range(_IMAGES):
        height, width = _SIZES[number % len(_SIZES)]
        noise = golden.pixels(f"fsd/{side}/{number}", "noise", height, width).astype(np.float64)
        low = golden.pixels(f"fsd/{side}/{number}/low", "blocks", height, width).astype(np.float64)
        mixed = np.rint(share * noise + (1 - share) * low)
        yield Image.fromarray(np.clip(mixed, 0, 255).astype(np.uint8))


ANSWERS: Mapping[str, Callable[[Golden], Answer]] = {
    "fsd_scores": scores,
    "fsd_adapt": adapt,
    "fsd_network": network,
}
