"""What a data curve compares: attribution to one class, and references on the same images."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from fewshot.core.arrays import BoolArray, Float64Array, FloatArray, IntArray
from fewshot.core.device import torch_device
from fewshot.core.errors import EpisodeError, unknown_name
from fewshot.draws.fractions import hold_out
from fewshot.embeddings.store.reader import FeatureStore
from fewshot.heads.base import HEADS
from fewshot.protocols.curve.fisher import FisherRatio
from fewshot.protocols.curve.split import Split
from fewshot.reconstruction.recipe import Recipe, budget
from fewshot.reconstruction.training import Advance, Trained, TrainingRows, train

EXACT_SVM_ROWS = 20_000  # above this an exact RBF SVM takes hours; the bound
LANDMARKS = 1000
PROBE_LEARNING_RATE = 1e-4  # UnivFD's head: AdamW without decay, which is Adam
_BLOCK_ROWS = 4096


@dataclass(frozen=True)
class Subset:
    """The images of one fraction of one draw.

    Args:
        rows: (s,) int64 all of them, ascending: what the fraction counts.
        training: (t,) int64 those that train.
        validation: (v,) int64 those that choose the step; carved from ``rows`` or apart from them.
        seed: what training follows from.
    """

    rows: IntArray
    training: IntArray
    validation: IntArray
    seed: int


@dataclass(frozen=True)
class Scored:
    """Scores of the query: (q,) float64, with further numbers and per-image arrays."""

    scores: Float64Array
    facts: Mapping[str, float] = field(default_factory=dict)
    arrays: Mapping[str, FloatArray] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """A fitted contestant: the head's name as reported, how to score rows, and how it was trained."""

    head: str
    score: Callable[[IntArray], Scored]
    steps: int = 0
    kept_step: int = 0
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Features:
    """One layer of a store, with its labels."""

    store: FeatureStore
    backbone: str
    layer: str

    def read(self, rows: IntArray) -> FloatArray:
        """Return the features of some rows: (n, D) float32."""
        return self.store.read(rows, self.backbone, self.layer)

    def read_stored(self, rows: IntArray) -> FloatArray:
        """Return the same in the type of the store: (n, D) float16 or float32."""
        return self.store.read_stored(rows, self.backbone, self.layer)

    def blocks(self, rows: IntArray) -> Iterator[tuple[FloatArray, BoolArray]]:
        """Yield features and labels of some rows, a few thousand at a time."""
        for start in range(0, len(rows), _BLOCK_ROWS):
            part = rows[start : start + _BLOCK_ROWS]
            yield self.read(part), self.store.synthetic[part]


@dataclass(frozen=True)
class Contestant(ABC):
    """One line of the curve: which training images it takes, and how it is fitted on them.

    Args:
        name: as reported, for example ``acm:natural``.
        features: where features are read.
        takes_rows: (N,) bool over the store: which images it may train on.
        recipe: the training.
        device: where to train.
        carves: whether it validates on a part of each subset even where other images are held out.
    """

    name: str
    features: Features
    takes_rows: BoolArray
    recipe: Recipe
    device: str
    carves: bool = False

    @abstractmethod
    def fit(self, subsets: Sequence[Subset], *, advance: Advance) -> list[Outcome]:
        """Fit one model per subset."""

    def unseen(self, subset: Subset, outcome: Outcome) -> Outcome:
        """Return the outcome, or one like it that was not fitted to the validation images."""
        return outcome

    def takes(self, rows: IntArray) -> BoolArray:
        """Return which of some rows it may train on: (n,) bool."""
        return self.takes_rows[rows]

    def subset(self, rows: IntArray, *, held: IntArray, carve: float, seed: int, trial: int) -> Subset:
        """Return the subset of some rows; ``held`` validates, else a part ``carve`` of the rows.

        Raises:
            EpisodeError: the rows lack a class.
        """
        synthetic = self.features.store.synthetic[rows]
        if synthetic.all() or not synthetic.any():
            raise EpisodeError(
                f"{self.name}: {int((~synthetic).sum())} natural and {int(synthetic.sum())} synthetic training images, "
                f"and both are needed; raise the fraction or change --train"
            )
        validation, training = held, rows
        if not len(held) and carve:
            carved = hold_out(synthetic, share=carve, seed=seed, trial=trial)
            validation, training = rows[carved], rows[~carved]
        return Subset(rows, training, validation, seed=(seed << 16) + trial)

    def carving(self) -> "Contestant":
        """Return the same contestant, validated on a part of each subset."""
        return replace(self, name=f"{self.name}, carved", carves=True)

    def steps(self, subset: Subset) -> int:
        """Return how many optimiser steps a subset takes."""
        fitted = self._fitted(subset.training)
        return budget(self.recipe, class_rows=int(fitted.sum()), other_rows=int((~fitted).sum())).steps

    def _fitted(self, rows: IntArray) -> BoolArray:
        return self.features.store.synthetic[rows]

    def _training_rows(self, subset: Subset) -> TrainingRows:
        fitted = self._fitted(subset.training)
        held = None
        if len(subset.validation):
            held = self.features.read(subset.validation), self.features.store.synthetic[subset.validation]
        return TrainingRows(
            self.features.read_stored, subset.training[fitted], subset.training[~fitted], subset.seed, validation=held
        )

    def _train(
        self, subsets: Sequence[Subset], *, synthetic: bool, attribution: bool, advance: Advance
    ) -> list[Trained]:
        rows = [self._training_rows(subset) for subset in subsets]
        sizes = {(len(entry.class_rows), len(entry.other_rows)) for entry in rows}
        device = torch_device(self.device)
        groups = [rows] if len(sizes) == 1 and self.recipe.stop == "steps" else [[entry] for entry in rows]
        return [
            trained
            for group in groups
            for trained in train(
                group, self.recipe, fit_on_synthetic=synthetic, attribution=attribution, device=device, advance=advance
            )
        ]


@dataclass(frozen=True)
class AcmContestant(Contestant):
    """ACM fitted on one class; ``synthetic`` says which."""

    synthetic: bool = False

    def fit(self, subsets: Sequence[Subset], *, advance: Advance) -> list[Outcome]:
        """Train encoder-decoders and classifiers, side by side where the subsets are of equal size."""
        models = self._train(subsets, synthetic=self.synthetic, attribution=True, advance=advance)
        return [Outcome(self.name, self._scorer(model), model.steps, model.kept_step) for model in models]

    def _fitted(self, rows: IntArray) -> BoolArray:
        return np.asarray(self.features.store.synthetic[rows] == self.synthetic, dtype=bool)

    def _scorer(self, model: Trained) -> Callable[[IntArray], Scored]:
        def score(rows: IntArray) -> Scored:
            scores, deviations = [], []
            before, after = FisherRatio(), FisherRatio()
            for block, synthetic in self.features.blocks(rows):
                deviation = model.deviation(block)
                before.add(block, synthetic)
                after.add(deviation, synthetic)
                scores.append(model.logits(block))
                deviations.append(deviation.mean(axis=1))
            return Scored(
                np.concatenate(scores),
                {"fisher_ratio_features": before.value(), "fisher_ratio_deviation": after.value()},
                {"deviation": np.concatenate(deviations)},
            )

        return score


@dataclass(frozen=True)
class ProbeContestant(Contestant):
    """UnivFD's linear probe on the same rows, steps and validation."""

    def fit(self, subsets: Sequence[Subset], *, advance: Advance) -> list[Outcome]:
        """Train the classifier on the features themselves."""
        models = self._train(subsets, synthetic=True, attribution=False, advance=advance)
        return [Outcome(self.name, self._scorer(model), model.steps, model.kept_step) for model in models]

    def _scorer(self, model: Trained) -> Callable[[IntArray], Scored]:
        return lambda rows: Scored(np.concatenate([model.logits(block) for block, _ in self.features.blocks(rows)]))


@dataclass(frozen=True)
class SvmContestant(Contestant):
    """The RBF SVM on the raw features of the whole subset: exact, or Nystroem above ``EXACT_SVM_ROWS``."""

    def steps(self, subset: Subset) -> int:
        """Return 1: it is solved in one go."""
        return 1

    def fit(self, subsets: Sequence[Subset], *, advance: Advance) -> list[Outcome]:
        """Solve one machine per subset."""
        return [self._fit_one(subset) for subset in subsets]

    def unseen(self, subset: Subset, outcome: Outcome) -> Outcome:
        """Return the machine without the validation images, which the subset's own one learns from."""
        apart = np.setdiff1d(subset.rows, subset.validation)
        return outcome if len(apart) == len(subset.rows) else self._fit_one(replace(subset, rows=apart))

    def _fit_one(self, subset: Subset) -> Outcome:
        if len(subset.rows) <= EXACT_SVM_ROWS:
            head = HEADS.load("svm")().fit(
                self.features.read(subset.rows), self.features.store.synthetic[subset.rows].astype(int)
            )
            return Outcome(self.name, self._scorer(head))
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
        return Outcome(self.name, self._scorer(head), warnings=(warning,))

    def _scorer(self, head: Any) -> Callable[[IntArray], Scored]:
        def score(rows: IntArray) -> Scored:
            parts = [head.decision_function(block) for block, _ in self.features.blocks(rows)]
            return Scored(np.concatenate(parts))

        return score


def contestants(
    features: Features,
    divided: Split,
    *,
    fit_on: Sequence[str],
    references: Sequence[str],
    recipe: Recipe,
    device: str,
) -> tuple[Contestant, ...]:
    """Return the attributed classes and, per distinct set of training images, the references.

    Raises:
        UnknownNameError: a source that does not train.
    """
    everything = np.ones(len(features.store), bool)
    found: list[Contestant] = []
    whole_pool = False
    for name in fit_on:
        synthetic, takes = _attributed(features.store, divided, name)
        found.append(AcmContestant(f"acm:{name}", features, takes, recipe, device, synthetic=synthetic))
        if takes.all():
            whole_pool = True
        else:
            found += _references(f":{name}", references, features, takes, recipe, device)
    if whole_pool:
        found += _references("", references, features, everything, recipe, device)
    return tuple(found)


def _references(
    tail: str, references: Sequence[str], features: Features, takes: BoolArray, recipe: Recipe, device: str
) -> list[Contestant]:
    probe = replace(recipe, learning_rate=PROBE_LEARNING_RATE, classifier="linear")
    kinds: dict[str, Callable[[], Contestant]] = {
        "linear-probe": lambda: ProbeContestant(f"linear-probe{tail}", features, takes, probe, device),
        "rbf-svm": lambda: SvmContestant(f"rbf-svm{tail}", features, takes, recipe, device),
    }
    return [kinds[name]() for name in references]


def _attributed(store: FeatureStore, divided: Split, name: str) -> tuple[bool, BoolArray]:
    """Return whether the attributed class is synthetic, and which rows of the store may train.

    A source is attributed against the opposite class under the same source name where there is one (ForenSynths),
    else against all images of the opposite class.
    """
    if name in ("natural", "synthetic"):
        return name == "synthetic", np.ones(len(store), bool)
    of_source = store.source == name
    labels = set(store.synthetic[divided.pool][of_source[divided.pool]].tolist())
    if not labels:
        sources = sorted(set(store.source[divided.pool]))
        raise unknown_name("class or training source", name, ("natural", "synthetic", *sources))
    if len(labels) == 2:
        return True, of_source
    synthetic = labels.pop()
    return synthetic, of_source | (store.synthetic != synthetic)
