"""AUROCs of many trials with a weight on every image, as a bootstrap asks for them thousands of times.

By rank, a weighting costs a rank sum per trial, without a new ordering; by pair, all weightings of a trial are one
matrix product, which is far faster where a class has few images. Both are exact, and so the same bit by bit.
"""

from dataclasses import dataclass

import numpy as np

from fewshot.core.arrays import BoolArray, Float64Array, FloatArray, IntArray

PAIRED_UP_TO = 100  # images of the scarcer class


def of_images(scores: FloatArray, query: BoolArray, synthetic: BoolArray) -> "ByPair | ByRank":
    """Return the AUROCs of some images as functions of their weights, the faster way.

    Args:
        scores: (T, n) of every trial.
        query: (T, n) bool: which images each trial queried.
        synthetic: (n,) bool.
    """
    scarcest = min(np.count_nonzero(synthetic), np.count_nonzero(~synthetic))
    return (ByPair if scarcest <= PAIRED_UP_TO else ByRank).of(scores, query, synthetic)


@dataclass(frozen=True)
class ByPair:
    """One head's images, whose pairs are compared: all arrays as ``of_images`` takes them."""

    scores: FloatArray
    query: BoolArray
    synthetic: BoolArray

    @classmethod
    def of(cls, scores: FloatArray, query: BoolArray, synthetic: BoolArray) -> "ByPair":
        return cls(scores, query, synthetic)

    def aurocs(self, counts: IntArray) -> Float64Array:
        """Return (R, T) AUROCs of the queried images, counted (R, n) times; NaN where a class has none."""
        sides = [np.flatnonzero(self.synthetic == side) for side in (False, True)]
        natural, synthetic = (counts[:, side].astype(np.float32) for side in sides)  # exact below 2**23 images
        queried = [self.query[:, side].astype(np.float32) for side in sides]
        pairs = (natural @ queried[0].T).astype(np.float64) * (synthetic @ queried[1].T)
        wins = np.empty_like(pairs)
        for trial, row in enumerate(self.scores):
            lower, higher = row[sides[0], None], row[None, sides[1]]
            won = (higher > lower) + np.float32(0.5) * (higher == lower)
            won *= queried[0][trial][:, None] * queried[1][trial]
            wins[:, trial] = ((synthetic @ won.T) * natural).sum(axis=1, dtype=np.float64)
        with np.errstate(invalid="ignore"):
            return np.asarray(wins / pairs)


@dataclass(frozen=True)
class ByRank:
    """One head's images in ascending order of their scores, each trial's own: all arrays are (T, n).

    Args:
        order: numbers of the images.
        natural, synthetic: 1 where the trial queried an image of that class, else 0.
        last, before: position of the last score equal to each, and position before the first; None without ties.
    """

    order: IntArray
    natural: IntArray
    synthetic: IntArray
    last: IntArray | None
    before: IntArray | None

    @classmethod
    def of(cls, scores: FloatArray, query: BoolArray, synthetic: BoolArray) -> "ByRank":
        order = np.argsort(scores, axis=1, kind="stable")
        queried, sides = np.take_along_axis(query, order, axis=1), synthetic[order]
        positions = _ties(np.take_along_axis(scores, order, axis=1))
        return cls(order, (queried & ~sides).astype(np.int64), (queried & sides).astype(np.int64), *positions)

    def aurocs(self, counts: IntArray) -> Float64Array:
        """Return (R, T) AUROCs of the queried images, counted (R, n) times; NaN where a class has none."""
        return np.stack([self._auroc(row) for row in counts])

    def _auroc(self, counts: IntArray) -> Float64Array:
        weights = counts[self.order]
        upto = np.cumsum(weights * self.natural, axis=1)
        positive = weights * self.synthetic
        pairs = upto[:, -1] * positive.sum(axis=1)
        if self.last is None or self.before is None:
            twice = 2 * upto
        else:
            below = np.take_along_axis(upto, np.maximum(self.before, 0), axis=1) * (self.before >= 0)
            twice = np.take_along_axis(upto, self.last, axis=1) + below
        with np.errstate(invalid="ignore", divide="ignore"):
            share: Float64Array = np.einsum("tn,tn->t", positive, twice) / (2.0 * pairs)
        return share


def _ties(ranked: FloatArray) -> tuple[IntArray, IntArray] | tuple[None, None]:
    """Return (T, n) the position of the last score equal to each and that before the first, in ascending rows."""
    changes = ranked[:, 1:] != ranked[:, :-1]
    if changes.all():
        return None, None
    positions, edge = np.arange(ranked.shape[1]), np.ones((len(ranked), 1), bool)
    ends = np.where(np.concatenate([changes, edge], axis=1), positions, ranked.shape[1])
    starts = np.where(np.concatenate([edge, changes], axis=1), positions, -1)
    last = np.flip(np.minimum.accumulate(np.flip(ends, axis=1), axis=1), axis=1)
    return last, np.maximum.accumulate(starts, axis=1) - 1
