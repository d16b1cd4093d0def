"""Prototypes refined by soft k-means on unlabelled images: transductive."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from fewshot.core.arrays import BoolArray, Float64Array, FloatArray
from fewshot.heads.base import unit_length
from fewshot.heads.state import Learned
from fewshot.heads.transductive import TransductiveHead, nearer

if TYPE_CHECKING:
    from fewshot.solvers.prepared_pool import Supports


class SoftKMeans(TransductiveHead):
    """Nearest class mean, each mean drawn towards the unlabelled images that are probably of its class.

    Ren, Triantafillou, Ravi, Snell, Swersky, Tenenbaum, Larochelle, Zemel, Meta-learning for semi-supervised few-shot
    classification, ICLR 2018, equations 3 and 4, without their learned embedding. An image u is of class c with the
    share z_uc = softmax_c(-sharpness |u - p_c|^2), and a class mean becomes (sum of its support + sum_u z_uc u) /
    (images of its support + sum_u z_uc). The support's own labels stay. Classes of about the same share are assumed;
    where nearly all unlabelled images are natural, the synthetic mean moves towards natural ones
    (docs/concepts/transductive-heads.md).

    Args:
        sharpness: of the shares. The paper's 1 is for distances that training stretches; those of unit-length features
            are 4 at most.
        steps: refinements; the paper makes one.

    Attributes:
        means_: (2, D) float64, the support's means, natural first; counts_: (2,) images of them.
        prototypes_: (2, D) float64, after the refinement.
    """

    name: ClassVar[str] = "soft-k-means"
    learned: ClassVar[Mapping[str, Learned]] = {
        "means_": Learned("2 D"),
        "counts_": Learned("2"),
        "prototypes_": Learned("2 D"),
    }
    means_: Float64Array
    counts_: Float64Array
    prototypes_: Float64Array

    def __init__(self, sharpness: float = 10.0, steps: int = 1) -> None:
        self.sharpness = sharpness
        self.steps = steps

    def fit(self, features: FloatArray, y: Any) -> Self:
        """Fit on the support alone: (n, D) floating, (n,) two classes."""
        rows, positive = self._check_support(features, y)
        unit = unit_length(np.asarray(rows, dtype=np.float64))
        means = np.stack([unit[~positive].mean(0), unit[positive].mean(0)])
        counts = np.array([(~positive).sum(), positive.sum()], dtype=np.float64)
        self._learn({"means_": means, "counts_": counts, "prototypes_": means})
        return self

    def refined(self, unlabelled: FloatArray) -> Self:
        """Return the head with prototypes refined by unlabelled images: (M, D) floating."""
        unit = unit_length(np.asarray(self._check_query(unlabelled), dtype=np.float64))
        prototypes: FloatArray = self.means_
        for _ in range(self.steps):
            synthetic = 0.5 + 0.5 * np.tanh(0.5 * self.sharpness * nearer(unit, prototypes))
            shares = np.stack([1 - synthetic, synthetic])
            total = self.counts_ + shares.sum(1)
            prototypes = (self.counts_[:, None] * self.means_ + shares @ unit) / total[:, None]
        again = self._fitted_alike()
        again._learn({"means_": self.means_, "counts_": self.counts_, "prototypes_": prototypes})
        return again

    def decision_function(self, features: FloatArray) -> Float64Array:
        """Return (M,) squared distances to the natural prototype minus those to the synthetic one."""
        rows = np.asarray(self._check_query(features), dtype=np.float64)
        return nearer(unit_length(rows), self.prototypes_)

    def _at_once(self, drawn: "Supports", queries: BoolArray | None) -> FloatArray:
        from fewshot.solvers.transductive import class_mean_scores, soft_k_means_scores

        if queries is None:
            return class_mean_scores(drawn)
        return soft_k_means_scores(drawn, queries, sharpness=self.sharpness, steps=self.steps)
