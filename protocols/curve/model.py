"""What every model of a data curve is: which training images it takes, how it is fitted on them, and what it scores."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from fewshot.core.arrays import BoolArray, Float64Array, FloatArray, IntArray, spans
from fewshot.core.errors import EpisodeError
from fewshot.draws.fractions import hold_out
from fewshot.embeddings.layer_key import LayerKey
from fewshot.embeddings.store.reader import FeatureStore
from fewshot.reconstruction.training import Advance
from fewshot.reconstruction.training_settings import TrainingSettings, budget

HELD_OUT = "held-out"  # validation on a part of each subset
_BLOCK_ROWS = 4096


@dataclass(frozen=True)
class Subset:
    """The images of one fraction of one draw.

    Args:
        rows: (s,) int64 all of them, ascending: what the fraction counts.
        training: (t,) int64 those that train.
        validation: (v,) int64 those that choose the step; held out of ``rows`` or apart from them.
        seed: what training follows from.
    """

    rows: IntArray
    training: IntArray
    validation: IntArray
    seed: int


@dataclass(frozen=True)
class Scored:
    """Scores of the query: (q,) float64, with further measures and per-image arrays."""

    scores: Float64Array
    measures: Mapping[str, float] = field(default_factory=dict)
    arrays: Mapping[str, FloatArray] = field(default_factory=dict)


@dataclass(frozen=True)
class FittedModel:
    """A model fitted on one subset: the head's name as reported, how to score rows, and how it was trained."""

    head: str
    score: Callable[[IntArray], Scored]
    steps: int = 0
    kept_step: int = 0
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Features:
    """One layer of a store, with its labels."""

    store: FeatureStore
    key: LayerKey

    def read(self, rows: IntArray) -> FloatArray:
        """Return the features of some rows: (n, D) float32."""
        return self.store.read(rows, self.key.backbone, self.key.layer)

    def read_stored(self, rows: IntArray) -> FloatArray:
        """Return the same in the type of the store: (n, D) float16 or float32."""
        return self.store.read_stored(rows, self.key.backbone, self.key.layer)

    def synthetic(self, rows: IntArray) -> BoolArray:
        """Return the labels of some rows: (n,) bool."""
        return self.store.synthetic[rows]

    def blocks(self, rows: IntArray) -> Iterator[tuple[FloatArray, BoolArray]]:
        """Yield features and labels of some rows, a few thousand at a time."""
        for start, stop in spans(len(rows), _BLOCK_ROWS):
            yield self.read(rows[start:stop]), self.synthetic(rows[start:stop])


@dataclass(frozen=True)
class Model(ABC):
    """One line of the curve: which training images it takes, and how it is fitted on them.

    Args:
        name: as reported, for example ``acm:natural``.
        features: where features are read.
        takes_rows: (N,) bool over the store: which images it may train on.
        training: how it is trained.
        device: where to train.
        holds_out: whether it validates on a part of each subset even where a column names validation images.
    """

    name: str
    features: Features
    takes_rows: BoolArray
    training: TrainingSettings
    device: str
    holds_out: bool = False

    @abstractmethod
    def fit(self, subsets: Sequence[Subset], *, advance: Advance) -> list[FittedModel]:
        """Fit one model per subset.

        Args:
            advance: is called with the steps made and a note, now and then.
        """

    def refit_without_validation(self, subset: Subset, fitted: FittedModel) -> FittedModel:
        """Return the fitted model, or one like it that was not fitted to the validation images."""
        return fitted

    def takes(self, rows: IntArray) -> BoolArray:
        """Return which of some rows it may train on: (n,) bool."""
        return self.takes_rows[rows]

    def subset(self, rows: IntArray, *, validation: IntArray, share: float, seed: int, trial: int) -> Subset:
        """Return the subset of some rows; ``validation`` validates, or, where it is empty, a ``share`` of the rows.

        Raises:
            EpisodeError: the rows lack a class.
        """
        synthetic = self.features.synthetic(rows)
        if synthetic.all() or not synthetic.any():
            raise EpisodeError(
                f"{self.name}: {int((~synthetic).sum())} natural and {int(synthetic.sum())} synthetic training images, "
                f"and both are needed; raise the fraction or change --train"
            )
        training = rows
        if not len(validation) and share:
            held_out = hold_out(synthetic, share=share, seed=seed, trial=trial)
            validation, training = rows[held_out], rows[~held_out]
        return Subset(rows, training, validation, seed=(seed << 16) + trial)

    def holding_out(self) -> "Model":
        """Return the same model, validated on a part of each subset."""
        return replace(self, name=f"{self.name}, {HELD_OUT}", holds_out=True)

    def steps(self, subset: Subset) -> int:
        """Return how many optimiser steps a subset takes."""
        fitted = self.fitted_class(subset.training)
        return budget(self.training, class_rows=int(fitted.sum()), other_rows=int((~fitted).sum())).steps

    def fitted_class(self, rows: IntArray) -> BoolArray:
        """Return which of some rows are of the class that is fitted: (n,) bool."""
        return self.features.synthetic(rows)
