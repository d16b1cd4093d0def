"""RIGID: generated images move farther in feature space under a little noise; nothing is trained."""

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np

from fewshot.core.arrays import Float64Array, FloatArray
from fewshot.heads.base import Head
from fewshot.heads.state import Learned
from fewshot.solvers.view_distance import Direction, calibrate, cosine_distance


class Rigid(Head):
    """Score an image by the cosine distance between its feature and that of its noisy copy (arXiv 2405.20112).

    The paper's score is s = cos(f(x), f(x + 0.05 d)) with d normal in normalised units, generated if s <= eps; ours is
    1 - s (tbtiberiu/RIGID, RIGID.ipynb). The head's columns are such distances, one per noise draw (``prepare`` makes
    them of views), and their mean is the score. The paper's sign is inverted on some generators, so it is never
    assumed: ``paper`` keeps it and takes the threshold at the 95 % quantile of the support's natural images;
    ``calibrated`` learns sign and threshold on the support.

    Args:
        direction: ``calibrated`` or ``paper``.

    Attributes:
        sign_: 1 when synthetic images move farther, else -1.
        threshold_: the distance at which the verdict changes.
    """

    name: ClassVar[str] = "rigid"
    views: ClassVar[tuple[str, ...]] = ("clean", "input-noise:0.05")
    learned: ClassVar[Mapping[str, Learned]] = {"sign_": Learned(""), "threshold_": Learned("")}
    sign_: float
    threshold_: float

    def __init__(self, direction: Direction = "calibrated") -> None:
        self.direction = direction

    def prepare(self, features: Mapping[str, FloatArray], *, normalised: bool, what: str = "features") -> Float64Array:
        """Return the distances (n, draws) of the view ``clean`` to every other: features (n, D) by view."""
        clean = features["clean"]
        return np.stack([cosine_distance(clean, rows) for name, rows in features.items() if name != "clean"], axis=1)

    def fit(self, features: FloatArray, y: Any) -> Self:
        """Learn threshold (and sign) on the support: distances (n, draws), labels y (n,)."""
        rows, synthetic = self._check_support(features, y)
        direction: Any = self.direction  # calibrate checks it
        sign, threshold = calibrate(rows.mean(axis=1), synthetic, direction=direction)
        self._learn({"sign_": sign, "threshold_": threshold})
        return self

    def decision_function(self, features: FloatArray) -> Float64Array:
        """Return signed distances from the threshold, larger = more likely synthetic: (n,) float64."""
        distances = self._check_query(features).mean(axis=1)
        return np.asarray(self.sign_ * (distances - self.threshold_), dtype=np.float64)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.poor_score = True  # it reads distances between views, not any features
        return tags
