"""Class means whose verdicts are smoothed over the nearest unlabelled images: transductive."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from fewshot.core.arrays import BoolArray, Float64Array, FloatArray, IntArray
from fewshot.heads.base import unit_length
from fewshot.heads.state import Learned
from fewshot.heads.transductive import TransductiveHead, nearer

if TYPE_CHECKING:
    from fewshot.solvers.prepared_pool import Supports


class LaplacianShot(TransductiveHead):
    """Nearest class mean, with a penalty where neighbours among the unlabelled images get other verdicts.

    Ziko, Dolz, Granger, Ben Ayed, Laplacian regularized few-shot learning, ICML 2020, equation 12 for two classes: with
    s_q the log odds of synthetic and u_q = sharpness (|q - natural mean|^2 - |q - synthetic mean|^2),

        s_q <- u_q + weight * sum over the k nearest unlabelled p of tanh(s_p / 2),

    twenty times, from s = u. (tanh(s / 2) is the share of synthetic minus that of natural.) Features are of unit
    length, not centred by a base data set, which frozen detectors do not have; prototypes are not rectified. An
    unlabelled image of the very same features is the image itself, and no neighbour.

    Args:
        weight: of the neighbours, the paper's lambda.
        k: neighbours; the paper's 3.
        sharpness: of the distances, as in the head ``soft-k-means``.

    Attributes:
        prototypes_: (2, D) float64 class means.
        unlabelled_: (m, D) float64, unit length; none until some were looked at. leanings_: (m,) their tanh(s / 2).
    """

    name: ClassVar[str] = "laplacian-shot"
    learned: ClassVar[Mapping[str, Learned]] = {
        "prototypes_": Learned("2 D"),
        "unlabelled_": Learned("m D"),
        "leanings_": Learned("m"),
    }
    prototypes_: Float64Array
    unlabelled_: Float64Array
    leanings_: Float64Array

    def __init__(self, weight: float = 0.3, k: int = 3, sharpness: float = 10.0) -> None:
        self.weight = weight
        self.k = k
        self.sharpness = sharpness

    def fit(self, features: FloatArray, y: Any) -> Self:
        """Fit on the support alone: (n, D) floating, (n,) two classes."""
        rows, positive = self._check_support(features, y)
        unit = unit_length(np.asarray(rows, dtype=np.float64))
        means = np.stack([unit[~positive].mean(0), unit[positive].mean(0)])
        self._learn({"prototypes_": means, "unlabelled_": unit[:0], "leanings_": np.empty(0)})
        return self

    def refined(self, unlabelled: FloatArray) -> Self:
        """Return the head with unlabelled images as neighbours: (M, D) floating."""
        unit = unit_length(np.asarray(self._check_query(unlabelled), dtype=np.float64))
        alone = self._alone(unit)
        nearest, there = self._neighbours(unit, unit)
        scores = alone
        for _ in range(ROUNDS - 1):
            scores = alone + self.weight * (np.tanh(scores / 2)[nearest] * there).sum(1)
        again = self._fitted_alike()
        leanings = np.tanh(scores / 2)
        again._learn({"prototypes_": self.prototypes_, "unlabelled_": unit, "leanings_": leanings})
        return again

    def decision_function(self, features: FloatArray) -> Float64Array:
        """Return (M,) log odds of synthetic."""
        unit = unit_length(np.asarray(self._check_query(features), dtype=np.float64))
        if not len(self.unlabelled_):
            return self._alone(unit)
        nearest, there = self._neighbours(unit, self.unlabelled_)
        scores: Float64Array = self._alone(unit) + self.weight * (self.leanings_[nearest] * there).sum(1)
        return scores

    def _at_once(self, drawn: "Supports", queries: BoolArray | None) -> FloatArray:
        from fewshot.solvers.transductive import class_mean_scores, laplacian_scores

        if queries is None:
            return np.asarray(class_mean_scores(drawn) * self.sharpness)
        options: dict[str, Any] = {"weight": self.weight, "k": self.k, "sharpness": self.sharpness}
        return laplacian_scores(drawn, queries, rounds=ROUNDS, **options)

    def _alone(self, unit: FloatArray) -> Float64Array:
        """Return u of rows (M, D): their scores by the class means."""
        return self.sharpness * nearer(unit, self.prototypes_)

    def _neighbours(self, rows: FloatArray, among: FloatArray) -> tuple[IntArray, BoolArray]:
        """Return the k nearest of ``among`` for every row (M, k), and whether they are neighbours at all."""
        similar = rows @ among.T
        similar[similar > 1 - SAME] = -np.inf
        k = min(self.k, len(among))
        nearest = np.argsort(-similar, axis=1, kind="stable")[:, :k]
        return nearest, np.isfinite(np.take_along_axis(similar, nearest, axis=1))


ROUNDS = 20  # the authors' code stops as soon as little changes, and after twenty rounds at most
SAME = 1e-9  # cosines this near to 1 are those of one image
