"""How an encoder-decoder and its classifier are trained: every choice in one value, and the budget that follows.

Sources: arXiv 2603.00717v2 (formulas 3 to 5, Adam, its rate, the batch). What the paper leaves open follows code that
it builds on: the widths VIB-Net's (oceanzhf/VIBAIGCDetect @ 6f097ea, models/clip_models.py), the plateau and the linear
classifier UnivFD's (WisconsinAIVision/UniversalFakeDetect @ 76a0e3e, train.py and networks/trainer.py).
"""

import math
from dataclasses import dataclass
from typing import Literal, get_args

from fewshot.core.errors import OptionError, unknown_name

Norm = Literal["l1", "l2"]
Activation = Literal["relu", "none"]
Classifier = Literal["linear", "mlp"]
Schedule = Literal["batch", "epoch", "two-stage"]
Stop = Literal["steps", "plateau"]

PUBLISHED_WIDTH = 1024  # VIB-Net's encoder, 768-1024-1024-256, by the same group
PUBLISHED_LATENT = 256
LEAST_STEPS = 2000
LEAST_EPOCHS = 20
PLATEAU_EPOCHS = 100
CHECK_STEPS = 100
SMALLEST_LEARNING_RATE = 1e-6  # UnivFD ends when the rate falls below this


@dataclass(frozen=True)
class TrainingSettings:
    """The training of one attribution model.

    Args:
        latent: width of the bottleneck; None is 256, and a third of D where D is under 768.
        widths: hidden widths of the encoder, mirrored in the decoder; None is two of 1024, in proportion where D is
            under 768; empty for a linear encoder-decoder.
        activation: between the layers; none stands at the latent and at the end.
        norm: of the deviation in the attribution loss, formula 4: ``l1``, or ``l2`` squared.
        classifier: ``linear`` (D, 1) or ``mlp`` (D, 256, 1) on the deviation.
        schedule: what alternates: every batch, every epoch, or the encoder-decoder to its end before the classifier.
        learning_rate: of Adam (0.9, 0.999) for both parts.
        batch_size: rows of a step, half of them of the fitted class.
        steps: optimiser steps; None is the larger of 2,000 steps and 20 epochs.
        stop: ``steps`` runs them all; ``plateau`` is UnivFD's rule on validation accuracy: five checks without a new
            best divide the rate by ten, and below 1e-6 the training ends (at most 100 epochs).
        patience: checks without a new best before the rate falls.
    """

    latent: int | None = None
    widths: tuple[int, ...] | None = None
    activation: Activation = "relu"
    norm: Norm = "l1"
    classifier: Classifier = "linear"
    schedule: Schedule = "batch"
    learning_rate: float = 2e-4
    batch_size: int = 256
    steps: int | None = None
    stop: Stop = "steps"
    patience: int = 5

    def __post_init__(self) -> None:
        for name, kind in _CHOICES.items():
            if getattr(self, name) not in get_args(kind):
                raise unknown_name(name, str(getattr(self, name)), get_args(kind))
        if self.batch_size < 2:
            raise OptionError(f"a batch needs a row of each class, so batch_size {self.batch_size} must be 2 or more")
        for name in ("latent", "steps"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise OptionError(f"{name} is {value}; give 1 or more, or nothing for the default")
        if self.learning_rate <= 0:
            raise OptionError(f"learning_rate is {self.learning_rate}; give a positive number, for example 2e-4")

    def autoencoder(self, dimension: int) -> tuple[tuple[int, ...], tuple[bool, ...]]:
        """Return (widths from D over the latent back to D, whether a ReLU stands after each layer)."""
        latent = self.latent or min(PUBLISHED_LATENT, max(1, dimension // 3))
        hidden = self.widths
        if hidden is None:
            hidden = (min(PUBLISHED_WIDTH, max(32, dimension * 4 // 3)),) * 2
        widths = (dimension, *hidden, latent, *reversed(hidden), dimension)
        rectified = (*(True for _ in hidden), False, *(True for _ in hidden), False)
        return widths, tuple(on and self.activation == "relu" for on in rectified)

    def classifier_widths(self, dimension: int) -> tuple[tuple[int, ...], tuple[bool, ...]]:
        """Return (widths from D to 1, whether a ReLU stands after each layer)."""
        if self.classifier == "linear":
            return (dimension, 1), (False,)
        return (dimension, 256, 1), (True, False)


_CHOICES = {"norm": Norm, "activation": Activation, "classifier": Classifier, "schedule": Schedule, "stop": Stop}


@dataclass(frozen=True)
class Budget:
    """What training settings mean for some rows: rows of each class in a batch, steps of an epoch, steps in all."""

    half: int
    epoch: int
    steps: int

    @property
    def check(self) -> int:
        """Steps between two looks at the validation set: an epoch, and at least 100."""
        return max(self.epoch, CHECK_STEPS)


def budget(settings: TrainingSettings, *, class_rows: int, other_rows: int) -> Budget:
    """Return the budget of training settings on so many rows of the fitted class and of the other.

    >>> budget(TrainingSettings(), class_rows=180, other_rows=180)  # the paper's smallest point, 0.05 % of 720,000
    Budget(half=128, epoch=2, steps=2000)
    >>> budget(TrainingSettings(), class_rows=360_000, other_rows=360_000)
    Budget(half=128, epoch=2813, steps=56260)
    """
    larger = max(class_rows, other_rows)
    half = min(settings.batch_size // 2, larger)
    epoch = math.ceil(larger / half)
    epochs = PLATEAU_EPOCHS if settings.stop == "plateau" else LEAST_EPOCHS
    return Budget(half=half, epoch=epoch, steps=settings.steps or max(epochs * epoch, LEAST_STEPS))


def segments(settings: TrainingSettings, plan: Budget) -> list[tuple[int, int]]:
    """Return (encoder-decoder steps, classifier steps) in turns, for the schedules by epoch and in two stages."""
    if settings.schedule == "two-stage":
        return [(plan.steps, 0), *_epochs(0, plan)]
    return _epochs(1, plan)


def _epochs(attribution: int, plan: Budget) -> list[tuple[int, int]]:
    whole, rest = divmod(plan.steps, plan.epoch)
    lengths = [plan.epoch] * whole + ([rest] if rest else [])
    return [(attribution * length, length) for length in lengths]
