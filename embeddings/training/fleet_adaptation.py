"""Fleet's loops over any module that gives unit embeddings and routing weights: pretraining, and adaptation.

Fleet (ICML 2026, arXiv 2606.31082), ICTMCG/Fleet @ fab6b41: 640 steps on a few labelled images of a new generator, each
beside a batch of replayed images whose embeddings are held where they were. Whether the module is a whole network or
what stands behind cached features is the caller's affair.

At the first step the distillation is at its minimum, so what gets a gradient from it alone moves by the rounding of
that gradient, which AdamW scales up.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from fewshot.core.errors import EpisodeError
from fewshot.embeddings.training import fleet_losses as losses


@dataclass(frozen=True)
class LabelledImages:
    """Images as a module takes them.

    Args:
        inputs: the module's arguments, each (n, ...).
        synthetic: (n,) bool.
    """

    inputs: tuple[Tensor, ...]
    synthetic: Tensor

    def __len__(self) -> int:
        return len(self.synthetic)

    def __getitem__(self, rows: Tensor | slice) -> "LabelledImages":
        return LabelledImages(tuple(given[rows] for given in self.inputs), self.synthetic[rows])

    def batches(self, size: int) -> Iterator["LabelledImages"]:
        """Yield them in order, so many at a time; the last may be smaller."""
        for start in range(0, len(self), size):
            yield self[start : start + size]


@dataclass(frozen=True)
class AdaptationSettings:
    """Every choice of an adaptation, with the authors' values.

    Args:
        epochs: passes over the replayed images.
        epochs_without_contrast: the first of them.
        contrast, distillation, avoidance: weights of the losses.
        temperature: of the contrast.
        batch_size: replayed images a step, beside the whole support.
        learning_rate, weight_decay: of AdamW.
    """

    epochs: int = 20
    epochs_without_contrast: int = 5
    contrast: float = 5.0
    distillation: float = 10.0
    avoidance: float = 20.0
    temperature: float = losses.TEMPERATURE
    batch_size: int = 32
    learning_rate: float = 3e-5
    weight_decay: float = 0.01


@dataclass(frozen=True)
class PretrainingSettings:
    """Every choice of a pretraining: the authors' weights of losses, rate and batch.

    Args:
        steps: batches, drawn anew where the images are used up.
        orthogonality, coverage: weights beside the contrast.
        temperature, batch_size, learning_rate, weight_decay: as in ``AdaptationSettings``.
    """

    steps: int = 200
    orthogonality: float = 0.1
    coverage: float = 1e-4
    temperature: float = losses.TEMPERATURE
    batch_size: int = 256
    learning_rate: float = 1e-4
    weight_decay: float = 0.01


class EpochLosses(NamedTuple):
    """Means over the steps of one epoch: the sum, the unweighted contrast, and the weighted other two."""

    total: float
    contrast: float
    distillation: float
    avoidance: float


@dataclass(frozen=True)
class Reference:
    """What a module says of the replayed images before it is adapted.

    Args:
        embeddings: (r, D) unit length, where the adaptation holds them.
        synthetic_anchor, natural_anchor: (H,) the classes' mean routing weights.
        synthetic_prototype, natural_prototype: (D,) the classes' mean embeddings, not of unit length.
    """

    embeddings: Tensor
    synthetic_anchor: Tensor
    natural_anchor: Tensor
    synthetic_prototype: Tensor
    natural_prototype: Tensor


def reference_of(module: nn.Module, replay: LabelledImages, *, batch_size: int = 32) -> Reference:
    """Return what a module in eval mode says of replayed images.

    Raises:
        EpisodeError: they are of one class.
    """
    synthetic = replay.synthetic
    if synthetic.all() or not synthetic.any():
        raise EpisodeError(
            f"the {len(replay)} replay images are all {'synthetic' if synthetic.any() else 'natural'}; "
            f"choose images of both classes"
        )
    module.eval()
    with torch.no_grad():
        found = [module(*batch.inputs) for batch in replay.batches(batch_size)]
    embeddings, weights = (torch.cat(parts) for parts in zip(*found, strict=True))
    means = [values[side].mean(dim=0) for values in (weights, embeddings) for side in (synthetic, ~synthetic)]
    return Reference(embeddings, *means)


def adapt(
    module: nn.Module, support: LabelledImages, replay: LabelledImages, settings: AdaptationSettings
) -> tuple[EpochLosses, ...]:
    """Move a module's trainable parameters in place, and return the losses of every epoch.

    The targets and anchors are the module's own, in eval mode; it learns in train mode and is left in eval mode. Each
    step sees the whole support and one batch of the replayed images, in their order.

    Args:
        module: gives embeddings (n, D) of unit length and routing weights (n, H).
        support: labelled images of the new domain; replay: of the old one, of both classes.
        settings: the schedule.

    Raises:
        EpisodeError: the replayed images are of one class.
    """
    before = reference_of(module, replay, batch_size=settings.batch_size)
    optimiser = _optimiser(module, settings.learning_rate, settings.weight_decay)
    module.train()
    log = []
    for epoch in range(settings.epochs):
        contrast = 0.0 if epoch < settings.epochs_without_contrast else settings.contrast
        targets = torch.split(before.embeddings, settings.batch_size)
        steps = [
            _adaptation_step(module, optimiser, _Step(support, batch, target, before, contrast), settings)
            for batch, target in zip(replay.batches(settings.batch_size), targets, strict=True)
        ]
        log.append(EpochLosses(*torch.tensor(steps, dtype=torch.float64).mean(dim=0).tolist()))
    module.eval()
    return tuple(log)


def pretrain(
    module: nn.Module, images: LabelledImages, settings: PretrainingSettings, *, generator: torch.Generator
) -> None:
    """Train a module's parameters in place by contrast, orthogonality and coverage; leave it in eval mode.

    Args:
        module: as in ``adapt``.
        images: of both classes.
        settings: the schedule.
        generator: of the order of the images, on the CPU.
    """
    optimiser = _optimiser(module, settings.learning_rate, settings.weight_decay)
    module.train()
    for rows in _shuffled(len(images), settings.batch_size, settings.steps, generator):
        batch = images[rows.to(images.synthetic.device)]
        embeddings, weights = module(*batch.inputs)
        loss = (
            losses.pretraining_contrast(embeddings, batch.synthetic, temperature=settings.temperature)
            + settings.orthogonality * losses.orthogonality(weights, batch.synthetic)
            + settings.coverage * losses.coverage(weights, batch.synthetic)
        )
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
    module.eval()


class _Step(NamedTuple):
    support: LabelledImages
    replay: LabelledImages
    targets: Tensor
    before: Reference
    contrast: float


def _adaptation_step(
    module: nn.Module, optimiser: torch.optim.Optimizer, step: _Step, settings: AdaptationSettings
) -> Sequence[float]:
    """Make one step, and return its four losses as in ``EpochLosses``."""
    both = [torch.cat(pair) for pair in zip(step.support.inputs, step.replay.inputs, strict=True)]
    synthetic = torch.cat([step.support.synthetic, step.replay.synthetic])
    embeddings, weights = module(*both)
    count = len(step.support)
    contrast = losses.contrast(embeddings, synthetic, temperature=settings.temperature)
    distillation = settings.distillation * losses.distillation(embeddings[count:], step.targets)
    avoidance = settings.avoidance * losses.avoidance(
        weights[:count],
        step.support.synthetic,
        synthetic_anchor=step.before.synthetic_anchor,
        natural_anchor=step.before.natural_anchor,
    )
    total = step.contrast * contrast + distillation + avoidance
    optimiser.zero_grad()
    torch.autograd.backward(total)
    optimiser.step()
    return torch.stack([total, contrast, distillation, avoidance]).tolist()


def _optimiser(module: nn.Module, learning_rate: float, weight_decay: float) -> torch.optim.Optimizer:
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    return torch.optim.AdamW(trained, lr=learning_rate, weight_decay=weight_decay)


def _shuffled(count: int, size: int, batches: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Yield so many batches of row numbers; every row once before any comes again, a rest too small for a batch not."""
    size = min(size, count)
    made = 0
    while made < batches:
        rows = torch.randperm(count, generator=generator)
        for start in range(0, count - size + 1, size):
            if made < batches:
                yield rows[start : start + size]
            made += 1
