"""What every head is: a scikit-learn estimator fitted on a few features, scoring synthetic high."""

from abc import abstractmethod
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted

from fewshot.core.arrays import Float64Array, FloatArray
from fewshot.core.registry import Registry

HEADS = Registry(group="fewshot.heads", kind="head")


class Head(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn is untyped
    """A small classifier on frozen features; constructors only store, learned values end in an underscore."""

    name: ClassVar[str]
    classes_: Any

    @abstractmethod
    def fit(self, features: FloatArray, y: Any) -> Self:
        """Fit on the support: features (n, D) floating, y (n,) with 0 natural and 1 synthetic.

        The second argument is scikit-learn's ``y``: its estimator checks ask for that name.
        """

    @abstractmethod
    def decision_function(self, features: FloatArray) -> Float64Array:
        """Return (M,) float64 scores of features (M, D); larger = more likely synthetic."""

    def __sklearn_tags__(self) -> Any:
        """Return scikit-learn's tags: two classes only."""
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        return tags

    def predict(self, features: FloatArray) -> Any:
        """Return the class of each row: (M,), by the sign of the score."""
        check_is_fitted(self)
        return self.classes_[(np.asarray(self.decision_function(features)) > 0).astype(int)]


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
