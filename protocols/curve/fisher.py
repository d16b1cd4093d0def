"""Fisher's ratio of two classes, in one pass over blocks."""

import numpy as np

from fewshot.core.arrays import BoolArray, FloatArray


class FisherRatio:
    """J = ||mu_r - mu_g||^2 / (tr S_r + tr S_g): how far the classes lie apart against how wide they are.

    The paper (arXiv 2603.00717v2, Fig. 2e) names the ratio and not its formula; this is the usual one of vectors. Sums
    are kept in float64, shifted by the first row against cancellation.

    >>> ratio = FisherRatio()
    >>> ratio.add(np.array([[0.0], [2.0], [10.0], [12.0]]), np.array([False, False, True, True]))
    >>> ratio.value()
    50.0
    """

    def __init__(self) -> None:
        self._counts = np.zeros(2)
        self._sums: list[FloatArray | float] = [0.0, 0.0]
        self._squares = np.zeros(2)
        self._origin: FloatArray | None = None

    def add(self, features: FloatArray, synthetic: BoolArray) -> None:
        """Count a block: features (n, D), labels (n,)."""
        rows = np.asarray(features, dtype=np.float64)
        if self._origin is None and len(rows):
            self._origin = rows[0]
        for label in (0, 1):
            own = rows[synthetic == bool(label)] - self._origin
            self._counts[label] += len(own)
            self._sums[label] = self._sums[label] + own.sum(axis=0)
            self._squares[label] += float((own**2).sum())

    def value(self) -> float:
        """Return the ratio; NaN when a class has no image, infinite when both have no width."""
        if (self._counts == 0).any():
            return float("nan")
        means = [np.asarray(self._sums[label]) / self._counts[label] for label in (0, 1)]
        widths = [self._squares[label] / self._counts[label] - float(means[label] @ means[label]) for label in (0, 1)]
        between = float(((means[0] - means[1]) ** 2).sum())
        return float(between / sum(widths)) if sum(widths) > 0 else float("inf")
