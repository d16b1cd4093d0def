"""What every head is: a scikit-learn estimator fitted on a few features, scoring synthetic high."""

from abc import abstractmethod
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin

from fewshot.core.arrays import Float64Array, FloatArray
from fewshot.core.registry import Registry

HEADS = Registry(group="fewshot.heads", kind="head")


class Head(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn is untyped
    """A small classifier on frozen features; constructors only store, learned values end in an underscore."""

    name: ClassVar[str]
    classes_: Any

    @abstractmethod
    def fit(self, features: FloatArray, synthetic: Any) -> Self:
        """Fit on the support: features (n, D) floating, synthetic (n,) with 0 natural and 1 synthetic."""

    @abstractmethod
    def decision_function(self, features: FloatArray) -> Float64Array:
        """Return (M,) float64 scores of features (M, D); larger = more likely synthetic."""

    def predict(self, features: FloatArray) -> Any:
        """Return the class of each row: (M,), by the sign of the score."""
        return self.classes_[(np.asarray(self.decision_function(features)) > 0).astype(int)]
