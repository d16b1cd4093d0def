"""The models that a data curve compares: attribution to one class, and references on the same images."""

from abc import ABC
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, final

import numpy as np

from fewshot.core.arrays import BoolArray, FloatArray, IntArray
from fewshot.core.device import torch_device
from fewshot.core.errors import unknown_name
from fewshot.embeddings.store.reader import FeatureStore
from fewshot.heads.base import HEADS
from fewshot.protocols.curve.fisher import FisherRatio
from fewshot.protocols.curve.model import Features, FittedModel, Model, Scored, Subset
from fewshot.protocols.curve.settings import CurveSettings
from fewshot.protocols.curve.split import Split
from fewshot.reconstruction.trained import Trained
from fewshot.reconstruction.training import Advance, TrainingRows, train

EXACT_SVM_ROWS = 20_000  # above this an exact RBF SVM takes hours
LANDMARKS = 1000
PROBE_LEARNING_RATE = 1e-4  # UnivFD's head: AdamW without decay, which is Adam


@dataclass(frozen=True)
class TrainedModel(Model, ABC):
    """A model that is trained in steps, side by side with others of equal size."""

    def _train(
        self, subsets: Sequence[Subset], *, synthetic: bool, attribution: bool, advance: Advance
    ) -> list[Trained]:
        rows = [self._training_rows(subset) for subset in subsets]
        sizes = {(len(entry.class_rows), len(entry.other_rows)) for entry in rows}
        device = torch_device(self.device)
        groups = [rows] if len(sizes) == 1 and self.training.stop == "steps" else [[entry] for entry in rows]
        options: dict[str, Any] = {"fit_on_synthetic": synthetic, "attribution": attribution, "device": device}
        return [one for group in groups for one in train(group, self.training, **options, advance=advance)]

    def _training_rows(self, subset: Subset) -> TrainingRows:
        fitted = self.fitted_class(subset.training)
        validation = None
        if len(subset.validation):
            validation = self.features.read(subset.validation), self.features.synthetic(subset.validation)
        return TrainingRows(
            self.features.read_stored,
            subset.training[fitted],
            subset.training[~fitted],
            subset.seed,
            validation=validation,
        )


@final
@dataclass(frozen=True)
class AcmModel(TrainedModel):
    """ACM fitted on one class; ``synthetic`` says which."""

    synthetic: bool = False

    def fit(self, subsets: Sequence[Subset], *, advance: Advance) -> list[FittedModel]:
        """Train encoder-decoders and classifiers, side by side where the subsets are of equal size."""
        trained = self._train(subsets, synthetic=self.synthetic, attribution=True, advance=advance)
        return [FittedModel(self.name, self._scorer(one), one.steps, one.kept_step) for one in trained]

    def fitted_class(self, rows: IntArray) -> BoolArray:
        """Return which of some rows are of the attributed class: (n,) bool."""
        return np.asarray(self.features.synthetic(rows) == self.synthetic, dtype=bool)

    def _scorer(self, trained: Trained) -> Callable[[IntArray], Scored]:
        def score(rows: IntArray) -> Scored:
            scores, deviations = [], []
            before, after = FisherRatio(), FisherRatio()
            for block, synthetic in self.features.blocks(rows):
                deviation = trained.deviation(block)
                before.add(block, synthetic)
                after.add(deviation, synthetic)
                scores.append(trained.logits(block))
                deviations.append(deviation.mean(axis=1))
            return Scored(
                np.concatenate(scores),
                {"fisher_ratio_features": before.value(), "fisher_ratio_deviation": after.value()},
                {"deviation": np.concatenate(deviations)},
            )

        return score


@final
@dataclass(frozen=True)
class ProbeModel(TrainedModel):
    """UnivFD's linear probe on the same rows, steps and validation."""

    def fit(self, subsets: Sequence[Subset], *, advance: Advance) -> list[FittedModel]:
        """Train the classifier on the features themselves."""
        trained = self._train(subsets, synthetic=True, attribution=False, advance=advance)
        return [FittedModel(self.name, self._scorer(one), one.steps, one.kept_step) for one in trained]

    def _scorer(self, trained: Trained) -> Callable[[IntArray], Scored]:
        return lambda rows: Scored(np.concatenate([trained.logits(block) for block, _ in self.features.blocks(rows)]))


@final
@dataclass(frozen=True)
class SvmModel(Model):
    """The RBF SVM on the raw features of the whole subset: exact, or Nystroem above ``EXACT_SVM_ROWS``."""

    def steps(self, subset: Subset) -> int:
        """Return 1: it is solved in one go."""
        return 1

    def fit(self, subsets: Sequence[Subset], *, advance: Advance) -> list[FittedModel]:
        """Solve one machine per subset."""
        return [self._fit_one(subset) for subset in subsets]

    def refit_without_validation(self, subset: Subset, fitted: FittedModel) -> FittedModel:
        """Return the machine without the validation images, which the subset's own one learns from."""
        apart = np.setdiff1d(subset.rows, subset.validation)
        return fitted if len(apart) == len(subset.rows) else self._fit_one(replace(subset, rows=apart))

    def _fit_one(self, subset: Subset) -> FittedModel:
        if len(subset.rows) > EXACT_SVM_ROWS:
            return self._fit_nystroem(subset)
        head = HEADS.load("svm")().fit(
            self.features.read(subset.rows), self.features.synthetic(subset.rows).astype(int)
        )
        return FittedModel(self.name, self._scorer(head))

    def _fit_nystroem(self, subset: Subset) -> FittedModel:
        generator = np.random.default_rng([subset.seed, 4])
        landmarks = np.sort(generator.choice(subset.rows, size=LANDMARKS, replace=False))

        def blocks() -> Iterator[tuple[FloatArray, FloatArray]]:
            for block, synthetic in self.features.blocks(subset.rows):
                yield block, np.where(synthetic, 1.0, -1.0)

        head = HEADS.load("nystrom-svm")().fit_blocks(blocks, self.features.read(landmarks))
        warning = (
            f"{self.name} on {len(subset.rows)} images is a linear SVM on Nystroem features of {LANDMARKS} landmarks; "
            f"the exact machine is used up to {EXACT_SVM_ROWS} images"
        )
        return FittedModel(self.name, self._scorer(head), warnings=(warning,))

    def _scorer(self, head: Any) -> Callable[[IntArray], Scored]:
        def score(rows: IntArray) -> Scored:
            parts = [head.decision_function(block) for block, _ in self.features.blocks(rows)]
            return Scored(np.concatenate(parts))

        return score


def models(features: Features, divided: Split, settings: CurveSettings) -> tuple[Model, ...]:
    """Return the attributed classes and, per distinct set of training images, the references.

    Raises:
        UnknownNameError: a source that does not train.
    """
    found: list[Model] = []
    whole_set = False
    for name in settings.fit_on:
        synthetic, takes = _attributed(features.store, divided, name)
        model = AcmModel(f"acm:{name}", features, takes, settings.training, settings.device, synthetic=synthetic)
        found.append(model)
        if takes.all():
            whole_set = True
        else:
            found += _references(f":{name}", features, takes, settings)
    if whole_set:
        found += _references("", features, np.ones(len(features.store), bool), settings)
    return tuple(found)


def _references(tail: str, features: Features, takes: BoolArray, settings: CurveSettings) -> list[Model]:
    training, device = settings.training, settings.device
    probe = replace(training, learning_rate=PROBE_LEARNING_RATE, classifier="linear")
    kinds: dict[str, Callable[[], Model]] = {
        "linear-probe": lambda: ProbeModel(f"linear-probe{tail}", features, takes, probe, device),
        "rbf-svm": lambda: SvmModel(f"rbf-svm{tail}", features, takes, training, device),
    }
    return [kinds[name]() for name in settings.references]


def _attributed(store: FeatureStore, divided: Split, name: str) -> tuple[bool, BoolArray]:
    """Return whether the attributed class is synthetic, and which rows of the store may train.

    A source is attributed against the opposite class under the same source name where there is one (ForenSynths),
    else against all images of the opposite class.
    """
    if name in ("natural", "synthetic"):
        return name == "synthetic", np.ones(len(store), bool)
    of_source = store.source == name
    labels = set(store.synthetic[divided.training][of_source[divided.training]].tolist())
    if not labels:
        sources = sorted(set(store.source[divided.training]))
        raise unknown_name("class or training source", name, ("natural", "synthetic", *sources))
    if len(labels) == 2:
        return True, of_source
    synthetic = labels.pop()
    return synthetic, of_source | (store.synthetic != synthetic)
