"""A key-value cache of the support, Tip-Adapter without training."""

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np

from fewshot.core.arrays import Float64Array, FloatArray
from fewshot.heads.base import Head, unit_length
from fewshot.heads.state import Learned


class TipAdapter(Head):
    """Vote of the whole support by similarity: sum_i y_i exp(-beta (1 - cos_i)), y_i = +1 for synthetic, else -1.

    Zhang et al., Tip-Adapter, ECCV 2022, eq. 5 with two classes and without the text branch, which frozen detectors do
    not have.

    Args:
        beta: sharpness; 5.5 is the authors' default (their configs).
    """

    name: ClassVar[str] = "tip-adapter"
    learned: ClassVar[Mapping[str, Learned]] = {"keys_": Learned("n D"), "values_": Learned("n")}
    keys_: Float64Array
    values_: Float64Array

    def __init__(self, beta: float = 5.5) -> None:
        self.beta = beta

    def fit(self, features: FloatArray, y: Any) -> Self:
        """Store the support: features (n, D) floating, (n,) two classes."""
        rows, positive = self._check_support(features, y)
        keys = unit_length(np.asarray(rows, dtype=np.float64))
        self._learn({"keys_": keys, "values_": np.where(positive, 1.0, -1.0)})
        return self

    def decision_function(self, features: FloatArray) -> Float64Array:
        """Return (M,) differences of affinity; larger = synthetic."""
        rows = unit_length(np.asarray(self._check_query(features), dtype=np.float64))
        scores: Float64Array = np.exp(-self.beta * (1 - rows @ self.keys_.T)) @ self.values_
        return scores
