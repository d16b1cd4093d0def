"""Nearest class mean by squared Euclidean distance on raw features, FSD's rule."""

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np

from fewshot.core.arrays import BoolArray, Float64Array, FloatArray, IntArray
from fewshot.heads.base import Head
from fewshot.heads.state import Learned


class Euclid(Head):
    """Squared distance to the mean of the natural support minus that to the mean of the synthetic one.

    Snell, Swersky, Zemel, Prototypical Networks, NeurIPS 2017, as FSD classifies: Wu et al., Few-Shot Learner
    Generalizes Across AI-Generated Image Detection, ICML 2025 (teheperinko541/Few-Shot-AIGI-Detector @ 39ed162).
    Features are taken as stored, since FSD's network was trained on their lengths too; ``prototype`` is the rule on the
    unit sphere. It is linear discriminant analysis whose classes are equally likely and spread alike in every
    direction, so nothing but the means is estimated.
    """

    name: ClassVar[str] = "euclid"
    raw: ClassVar[bool] = True
    learned: ClassVar[Mapping[str, Learned]] = {"means_": Learned("2 D")}
    means_: Float64Array

    def fit(self, features: FloatArray, y: Any) -> Self:
        """Fit on the support: (n, D) floating, (n,) two classes."""
        rows, positive = self._check_support(features, y, dtype=np.float64)
        self._learn({"means_": np.stack([rows[~positive].mean(0), rows[positive].mean(0)])})
        return self

    def decision_function(self, features: FloatArray) -> Float64Array:
        """Return (M,) differences of squared distances, in the square of the features' unit."""
        rows = self._check_query(features, dtype=np.float64)
        natural, synthetic = self.means_
        # from the middle between the means, so that features far from the origin lose no digits
        return np.asarray(2 * (rows - (natural + synthetic) / 2) @ (synthetic - natural), dtype=np.float64)

    def score_draws(
        self, features: FloatArray, synthetic: BoolArray, supports: IntArray, *, device: str = "cpu"
    ) -> FloatArray:
        """Score all draws at once (``fewshot.solvers.class_means``)."""
        from fewshot.solvers.class_means import euclid_scores
        from fewshot.solvers.prepared_pool import Supports

        return euclid_scores(Supports(features, synthetic, supports, device))
