"""MINDER: the smaller of the distances under noise and under contrastive blur; nothing is trained."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self, get_args

import numpy as np

from fewshot.core.arrays import Float64Array, FloatArray
from fewshot.core.errors import unknown_name
from fewshot.heads.base import Head
from fewshot.heads.state import Learned
from fewshot.solvers.view_distance import Direction, calibrate, cosine_distance

Combine = Literal["min", "max", "quantile-min"]


class Minder(Head):
    """Score an image by min(d_n, d_b): noise distance and contrastive-blur distance (arXiv 2411.19117).

    d_n is the mean over three draws of the distance to a noisy copy (0.009 in [0, 1] units, clipped); d_b is the
    distance between the blurred image (3x3, sigma 0.55) and its un-sharp counterpart clip(2 x - blur), not the clean
    image (constants of AlecImhofUni/ProjectGenAI, training_free_detect.py; the authors' code is not public).
    ``prepare`` makes both of views. The paper prints the rule once as a union and once as an intersection: the smaller
    one exceeding the threshold is the intersection, and is what is implemented.

    Args:
        combine: ``min``; ``max`` for the union; ``quantile-min`` replaces each distance by its quantile among the
            support's natural images first, because the two stand on different scales.
        direction: ``calibrated`` learns sign and threshold on the support; ``paper`` says larger = generated, with the
            threshold at the 95 % quantile of the support's natural images.

    Attributes:
        sign_, threshold_: as in ``rigid``.
        natural_: the support's natural distances, ascending by column.
    """

    name: ClassVar[str] = "minder"
    views: ClassVar[tuple[str, ...]] = (
        "clean",
        "input-noise:0.009:unit",
        "input-noise:0.009:unit:1",
        "input-noise:0.009:unit:2",
        "input-blur:0.55",
        "input-unsharp:0.55",
    )
    learned: ClassVar[Mapping[str, Learned]] = {
        "sign_": Learned(""),
        "threshold_": Learned(""),
        "natural_": Learned("n D"),
    }
    sign_: float
    threshold_: float
    natural_: FloatArray

    def __init__(self, combine: Combine = "min", direction: Direction = "calibrated") -> None:
        self.combine = combine
        self.direction = direction

    def prepare(self, features: Mapping[str, FloatArray], *, normalised: bool, what: str = "features") -> Float64Array:
        """Return (n, 2): d_n over all noise draws, and d_b; features (n, D) by view, in the order of ``views``."""
        clean, *noisy, blurred, sharpened = features.values()
        noise = np.mean([cosine_distance(clean, rows) for rows in noisy], axis=0)
        return np.stack([noise, cosine_distance(blurred, sharpened)], axis=1)

    def fit(self, features: FloatArray, y: Any) -> Self:
        """Learn threshold (and sign) on the support: distances (n, 2), labels y (n,)."""
        if self.combine not in get_args(Combine):
            raise unknown_name("way to combine", str(self.combine), get_args(Combine))
        rows, synthetic = self._check_support(features, y)
        natural = np.sort(rows[~synthetic], axis=0)
        direction: Any = self.direction  # calibrate checks it
        sign, threshold = calibrate(self._combined(rows, natural), synthetic, direction=direction)
        self._learn({"sign_": sign, "threshold_": threshold, "natural_": natural})
        return self

    def decision_function(self, features: FloatArray) -> Float64Array:
        """Return signed distances from the threshold, larger = more likely synthetic: (n,) float64."""
        combined = self._combined(self._check_query(features), self.natural_)
        return np.asarray(self.sign_ * (combined - self.threshold_), dtype=np.float64)

    def _combined(self, distances: FloatArray, natural: FloatArray) -> Float64Array:
        if self.combine == "max":
            return np.asarray(distances.max(axis=1))
        if self.combine == "quantile-min":
            columns = range(distances.shape[1])
            ranks = [np.searchsorted(natural[:, c], distances[:, c], side="right") for c in columns]
            return np.asarray(np.min(ranks, axis=0) / len(natural))
        return np.asarray(distances.min(axis=1))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.poor_score = True  # it reads distances between views, not any features
        return tags
