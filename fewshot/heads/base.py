"""What every head is: a scikit-learn estimator fitted on a few features, scoring synthetic high."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from fewshot.core.arrays import BoolArray, Float64Array, FloatArray, IntArray
from fewshot.core.registry import Registry

HEADS = Registry(group="fewshot.heads", kind="head")


class Head(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn is untyped
    """A small classifier on frozen features; constructors only store, learned values end in an underscore.

    The labels are called ``y`` because scikit-learn's estimator checks ask for that name. Members may override
    ``score_draws`` with something faster than one fit after another; the results are the same.
    """

    name: ClassVar[str]
    raw: ClassVar[bool] = False  # whether features are wanted as stored, not of unit length
    views: ClassVar[tuple[str, ...]] = ("clean",)  # what the head looks at; several are made one by ``columns``
    classes_: Any

    @abstractmethod
    def fit(self, features: FloatArray, y: Any) -> Self:
        """Fit on the support: features (n, D) floating, y (n,) with 0 natural and 1 synthetic."""

    @abstractmethod
    def decision_function(self, features: FloatArray) -> Float64Array:
        """Return (M,) float64 scores of features (M, D); larger = more likely synthetic, 0 is the threshold."""

    @staticmethod
    def columns(features: Mapping[str, FloatArray]) -> FloatArray:
        """Return what the head is fitted on, of its ``views``: features (n, D) by view, in their order."""
        (only,) = features.values()
        return only

    def predict(self, features: FloatArray) -> Any:
        """Return the class of each row: (M,), by the sign of the score."""
        scores = np.asarray(self.decision_function(features))
        classes: Any = self.classes_
        return classes[(scores > 0).astype(int)]

    def score_draws(
        self, features: FloatArray, synthetic: BoolArray, supports: IntArray, *, device: str = "cpu"
    ) -> FloatArray:
        """Fit one copy of this head per draw and score the whole pool with each.

        Args:
            features: (N, D) floating, the pool.
            synthetic: (N,) bool.
            supports: (T, s) int64 rows of the pool.
            device: where batched heads compute; heads without a batched form use the CPU.

        Returns:
            (T, N) floating scores.
        """
        return self.score_draws_one_by_one(features, synthetic, supports)

    def score_draws_one_by_one(self, features: FloatArray, synthetic: BoolArray, supports: IntArray) -> Float64Array:
        """Do what ``score_draws`` does, by one ``fit`` and one ``decision_function`` per draw."""
        scores = np.empty((len(supports), len(features)))
        for trial, support in enumerate(supports):
            fitted = clone(self).fit(features[support], synthetic[support].astype(np.int64))
            scores[trial] = fitted.decision_function(features)
        return scores

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        return tags

    def _check_support(self, features: FloatArray, synthetic: Any) -> tuple[Float64Array, BoolArray]:
        """Validate a support and learn ``classes_``: (n, D) float64 and (n,) bool, true for the second class."""
        rows, labels = validate_data(self, features, synthetic, dtype=[np.float64, np.float32])
        self.classes_ = two_classes(labels)
        return rows, np.asarray(labels == self.classes_[1])

    def _check_query(self, features: FloatArray) -> Float64Array:
        """Validate rows to be scored: (M, D) float64."""
        check_is_fitted(self)
        rows: Float64Array = validate_data(self, features, reset=False, dtype=[np.float64, np.float32])
        return rows


def unit_length(rows: FloatArray) -> FloatArray:
    """Return rows divided by their length, in their own precision; a zero row stays zero: (n, D)."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    unit: FloatArray = rows / np.where(lengths > 0, lengths, lengths.dtype.type(1))
    return unit


def two_classes(y: Any) -> Any:
    """Return the two labels of ``y`` (n,), ascending: natural, then synthetic.

    Raises:
        ValueError: not two classes, or numbers that are no labels (in scikit-learn's wording where it has one).
    """
    check_classification_targets(y)
    classes = np.unique(y)
    if len(classes) > 2:
        raise ValueError(f"Only binary classification is supported. The labels hold {len(classes)} classes.")
    if len(classes) < 2:
        raise ValueError(f"images of two classes are needed, natural and synthetic; found 1 class: {classes.tolist()}")
    return classes
