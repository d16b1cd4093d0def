"""Class prototypes on the unit sphere, FiSeR's ``prototype`` head (arXiv 2606.00606; fiser/heads.py @ ad2637c)."""

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np

from fewshot.core.arrays import BoolArray, Float64Array, FloatArray, IntArray
from fewshot.heads.base import Head, unit_length
from fewshot.heads.state import Learned


class Prototype(Head):
    """Cosine to the synthetic prototype minus cosine to the natural one.

    A prototype is the mean of a class's unit-length support, itself brought to unit length; Snell, Swersky, Zemel,
    Prototypical Networks, NeurIPS 2017, with FiSeR's cosine in place of the Euclidean distance.
    """

    name: ClassVar[str] = "prototype"
    learned: ClassVar[Mapping[str, Learned]] = {"prototypes_": Learned("2 D")}
    prototypes_: FloatArray

    def fit(self, features: FloatArray, y: Any) -> Self:
        """Fit on the support: (n, D) floating, (n,) two classes."""
        rows, positive = self._check_support(features, y)
        unit = unit_length(rows)
        means = np.stack([unit[~positive].mean(0), unit[positive].mean(0)])
        self._learn({"prototypes_": unit_length(means)})
        return self

    def decision_function(self, features: FloatArray) -> Float64Array:
        """Return (M,) differences of cosines, between -2 and 2."""
        rows = unit_length(self._check_query(features))
        cosines = rows @ self.prototypes_.T
        return np.asarray(cosines[:, 1] - cosines[:, 0], dtype=np.float64)

    def score_draws(
        self, features: FloatArray, synthetic: BoolArray, supports: IntArray, *, device: str = "cpu"
    ) -> FloatArray:
        """Score all draws at once (``fewshot.solvers.batched``)."""
        from fewshot.solvers.batched import prototype_scores
        from fewshot.solvers.prepared_pool import Supports

        return prototype_scores(Supports(features, synthetic, supports, device))
