"""Train encoder-decoders on one class and classifiers on their deviation, several side by side.

The attribution loss does not contain the classifier, and the classifier's loss is not propagated into the
encoder-decoder (arXiv 2603.00717v2, formulas 4 and 5): two optimisers that share rows, with a stop between them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fewshot.core.arrays import BoolArray, FloatArray, IntArray
from fewshot.core.errors import OptionError
from fewshot.reconstruction import losses
from fewshot.reconstruction.adam import Adam
from fewshot.reconstruction.perceptron import PerceptronStack
from fewshot.reconstruction.stream import WINDOW_BYTES, ReadRows, RowStream
from fewshot.reconstruction.trained import Trained
from fewshot.reconstruction.training_settings import SMALLEST_LEARNING_RATE, Budget, TrainingSettings, budget, segments

Advance = Callable[[int, str], None]

CLASSIFIER_STD = 0.02  # UnivFD's head starts normal with this deviation, bias zero
REPORT_EVERY_STEPS = 50


@dataclass(frozen=True)
class TrainingRows:
    """What one model learns from.

    Args:
        read: gives the features of some rows.
        class_rows: (c,) int64 rows of the class the encoder-decoder is fitted on, ascending.
        other_rows: (o,) int64 rows of the classifier's second class, ascending.
        seed: what start and batches follow from.
        validation: features (v, D) and labels (v,) held out of the rows, True = synthetic; None keeps the last step.
    """

    read: ReadRows
    class_rows: IntArray
    other_rows: IntArray
    seed: int
    validation: tuple[FloatArray, BoolArray] | None = None


def train(
    rows: Sequence[TrainingRows],
    settings: TrainingSettings,
    *,
    fit_on_synthetic: bool,
    attribution: bool = True,
    device: str | torch.device = "cpu",
    advance: Advance | None = None,
    window_bytes: int = WINDOW_BYTES,
) -> list[Trained]:
    """Train one model per entry of ``rows``, all side by side; each comes out as it would alone.

    Args:
        rows: the models' training rows, of equal numbers; one only under ``plateau``.
        settings: how.
        fit_on_synthetic: whether the fitted class is the synthetic one.
        attribution: False trains the classifier on the features themselves: UnivFD's linear probe.
        advance: called with (steps, a note with the losses) now and then.

    Raises:
        OptionError: models of unequal size side by side, or a plateau without validation.
    """
    budgets = {budget(settings, class_rows=len(r.class_rows), other_rows=len(r.other_rows)) for r in rows}
    if len(budgets) != 1:
        raise OptionError(f"models train side by side only with equal budgets, not {sorted(map(str, budgets))}")
    if settings.stop == "plateau" and (len(rows) > 1 or rows[0].validation is None):
        raise OptionError("stop='plateau' needs one model at a time and a validation set; use stop='steps'")
    trainer = _Trainer(rows, settings, budgets.pop(), fit_on_synthetic, attribution, device, window_bytes)
    with torch.no_grad():
        trainer.run(advance)
    return trainer.results()


class _Trainer:
    """The networks, their optimisers and their rows while they train."""

    def __init__(
        self,
        rows: Sequence[TrainingRows],
        settings: TrainingSettings,
        plan: Budget,
        fit_on_synthetic: bool,
        attribution: bool,
        device: str | torch.device,
        window_bytes: int,
    ) -> None:
        self.rows, self.settings, self.plan, self.device = rows, settings, plan, torch.device(device)
        self._open_streams(window_bytes)  # first: they read while the networks are made
        dimension = self.class_streams[0].dimension
        seeds = [entry.seed for entry in rows]
        self.autoencoder = self._autoencoder(dimension, seeds) if attribution else None
        widths, relu = settings.classifier_widths(dimension)
        classifier_seeds = [seed + (1 << 32) for seed in seeds]
        self.classifier = PerceptronStack(widths, relu=relu, seeds=classifier_seeds, std=CLASSIFIER_STD, device=device)
        stacks = [stack for stack in (self.autoencoder, self.classifier) if stack is not None]
        self.adams = [Adam(stack.parameters, learning_rate=settings.learning_rate) for stack in stacks]
        self.targets = torch.full((len(rows), 2 * plan.half, 1), float(not fit_on_synthetic), device=device)
        self.targets[:, : plan.half] = float(fit_on_synthetic)
        self.losses = [torch.zeros((plan.steps, len(rows)), device=device) for _ in range(2)]
        self.made = [0, 0]  # steps of the encoder-decoder and of the classifier
        self.checked = self.reported = 0
        self.best: list[_Kept | None] = [None] * len(rows)
        self.checks_without_best = 0

    def _autoencoder(self, dimension: int, seeds: Sequence[int]) -> PerceptronStack:
        widths, relu = self.settings.autoencoder(dimension)
        return PerceptronStack(widths, relu=relu, seeds=seeds, device=self.device)

    def _open_streams(self, window_bytes: int) -> None:
        def streams(part: str, number: int) -> list[RowStream]:
            return [
                RowStream(
                    entry.read,
                    getattr(entry, part),
                    seed=(entry.seed, number),
                    device=self.device,
                    window_bytes=window_bytes,
                )
                for entry in self.rows
            ]

        self.class_streams = streams("class_rows", 0)
        # Outside the per-batch schedule the classifier sees the same batches later, from streams of the same seed.
        shared = self.settings.schedule == "batch"
        self.replay_streams = self.class_streams if shared else streams("class_rows", 0)
        self.other_streams = streams("other_rows", 1)

    def run(self, advance: Advance | None) -> None:
        """Make all steps of the schedule, looking at the validation sets on the way."""
        if self.settings.schedule == "batch":
            self._run_by_batch(advance)
            return
        for attribution_steps, classifier_steps in segments(self.settings, self.plan):
            for _ in range(attribution_steps):
                batch = self._batch(self.class_streams)
                self._attribution_step(batch, self._rebuilt(batch))
                self._report(advance)
            for _ in range(classifier_steps):
                features = self._both_classes(self._batch(self.replay_streams))
                self._classifier_step(self._deviation(features))
                if not self._continues(advance):
                    return

    def _run_by_batch(self, advance: Advance | None) -> None:
        """Alternate the two steps on every batch.

        The classifier sees a batch, and the encoder-decoder the batch after it, with the same weights: they pass
        forward together.
        """
        batch = self._batch(self.class_streams)
        rebuilt = self._rebuilt(batch)
        for step in range(self.plan.steps):
            self._attribution_step(batch, rebuilt)
            features = deviation = self._both_classes(batch)
            if step + 1 < self.plan.steps:
                batch = self._batch(self.class_streams)
            if self.autoencoder is not None:
                rebuilt, outputs = self.autoencoder.forward_each([batch, features], keep=True)
                deviation = (features - outputs).abs_()
            self._classifier_step(deviation)
            if not self._continues(advance):
                return

    def _continues(self, advance: Advance | None) -> bool:
        """Report a step of the classifier and look at the validation sets when due; return whether to continue."""
        self._report(advance)
        done, ended = self.made[1], self.made[1] == self.plan.steps
        if done - self.checked < self.plan.check and not ended:
            return True
        self.checked = done
        return self._check()

    def _report(self, advance: Advance | None) -> None:
        total = sum(self.made) // 2
        if advance is not None and (total - self.reported >= REPORT_EVERY_STEPS or self.made[1] == self.plan.steps):
            advance(total - self.reported, self._note())
            self.reported = total

    def _batch(self, streams: Sequence[RowStream]) -> Tensor:
        taken = [stream.take(self.plan.half) for stream in streams]
        return taken[0].unsqueeze(0) if len(taken) == 1 else torch.stack(taken)

    def _both_classes(self, batch: Tensor) -> Tensor:
        return torch.cat([batch, self._batch(self.other_streams)], dim=1)

    def _rebuilt(self, batch: Tensor) -> Tensor:
        return batch if self.autoencoder is None else self.autoencoder.forward(batch, keep=True)

    def _deviation(self, features: Tensor) -> Tensor:
        return features if self.autoencoder is None else (features - self.autoencoder.forward(features)).abs_()

    def _attribution_step(self, batch: Tensor, rebuilt: Tensor) -> None:
        """Step the encoder-decoder, given what it just made of the batch."""
        if self.autoencoder is not None:
            values, gradient = losses.attribution(batch - rebuilt, self.settings.norm)
            self.losses[0][self.made[0]] = values
            self.autoencoder.backward(gradient)
            self.adams[0].step()
        self.made[0] += 1

    def _classifier_step(self, deviation: Tensor) -> None:
        logits = self.classifier.forward(deviation, keep=True)
        values, gradient = losses.cross_entropy(logits, self.targets)
        self.losses[1][self.made[1]] = values
        self.classifier.backward(gradient)
        self.adams[-1].step()
        self.made[1] += 1

    def _note(self) -> str:
        reconstruction, classification = (
            float(loss[max(made - 1, 0)].mean()) for loss, made in zip(self.losses, self.made, strict=True)
        )
        before = f"reconstruction {reconstruction:.4g}, " if self.autoencoder is not None else ""
        return f"loss: {before}classification {classification:.4g}"

    def _check(self) -> bool:
        """Look at every validation set, keep what is best there, and return whether to continue."""
        better = False
        for network, entry in enumerate(self.rows):
            if entry.validation is None:
                continue
            now = self._kept(network, *entry.validation)
            before = self.best[network]
            if before is None or now.rank > before.rank:
                better = better or before is None or now.accuracy > before.accuracy
                self.best[network] = now
        if self.settings.stop == "steps":
            return True
        self.checks_without_best = 0 if better else self.checks_without_best + 1
        return self.checks_without_best < self.settings.patience or self._lower_rate()

    def _lower_rate(self) -> bool:
        self.checks_without_best = 0
        for adam in self.adams:
            adam.learning_rate /= 10
        return self.adams[-1].learning_rate >= SMALLEST_LEARNING_RATE

    def _kept(self, network: int, features: FloatArray, synthetic: BoolArray) -> "_Kept":
        trained = self._result(network, self.made[1])
        logits = trained.logits(features)
        accuracy = float(np.mean((logits > 0) == synthetic))
        loss = float(np.mean(np.logaddexp(0.0, np.where(synthetic, -logits, logits))))
        return _Kept(accuracy, loss, trained)

    def _result(self, network: int, step: int) -> Trained:
        made = self.made[1]
        return Trained(
            autoencoder=None if self.autoencoder is None else self.autoencoder.copy(network),
            classifier=self.classifier.copy(network),
            steps=made,
            kept_step=step,
            attribution_loss=self.losses[0][:made, network].cpu().numpy() if self.autoencoder else np.empty(0, "f4"),
            classification_loss=self.losses[1][:made, network].cpu().numpy(),
        )

    def results(self) -> list[Trained]:
        """Return the models: the best on validation, and the last where there is none."""
        found = []
        for network, kept in enumerate(self.best):
            last = self._result(network, self.made[1])
            if kept is None:
                found.append(last)
                continue
            best = kept.trained
            found.append(
                Trained(
                    autoencoder=best.autoencoder,
                    classifier=best.classifier,
                    steps=last.steps,
                    kept_step=best.kept_step,
                    attribution_loss=last.attribution_loss,
                    classification_loss=last.classification_loss,
                )
            )
        return found


@dataclass(frozen=True)
class _Kept:
    """A model with its validation accuracy and loss; the loss decides between equal accuracies."""

    accuracy: float
    loss: float
    trained: Trained

    @property
    def rank(self) -> tuple[float, float]:
        return (self.accuracy, -self.loss)
