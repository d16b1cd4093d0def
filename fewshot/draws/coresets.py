"""Supports chosen by where the features lie instead of at random: herding and greedy k-center, for comparison."""

import numpy as np

from fewshot.core.arrays import Float64Array, FloatArray, IntArray


def herding(features: FloatArray, *, count: int) -> IntArray:
    """Return the rows whose running mean stays nearest to the mean of all, in the order chosen.

    Welling, Herding dynamical weights to learn, ICML 2009, in the greedy form of iCaRL (Rebuffi et al., CVPR 2017,
    algorithm 4).

    Args:
        features: (n, D) floating.
        count: how many, at most n.

    Returns:
        (count,) int64.
    """
    rows = np.asarray(features, dtype=np.float64)
    mean, total = rows.mean(0), np.zeros(rows.shape[1])
    chosen: list[int] = []
    left = np.ones(len(rows), bool)
    for size in range(1, count + 1):
        gap = np.linalg.norm(mean - (total + rows) / size, axis=1)
        pick = int(np.argmin(np.where(left, gap, np.inf)))
        chosen.append(pick)
        left[pick] = False
        total += rows[pick]
    return np.array(chosen, dtype=np.int64)


def kcenter(features: FloatArray, *, count: int, first: int = 0) -> IntArray:
    """Return rows each of which was the farthest from those before it (greedy k-center).

    Gonzalez, Theoretical Computer Science 38, 1985; used for active learning by Sener and Savarese, ICLR 2018.

    Args:
        features: (n, D) floating.
        count: how many, at most n.
        first: the row to begin with.

    Returns:
        (count,) int64.
    """
    rows = np.asarray(features, dtype=np.float64)
    chosen = [first]
    nearest = _distances(rows, first)
    while len(chosen) < count:
        nearest[chosen] = -1.0
        chosen.append(int(np.argmax(nearest)))
        nearest = np.minimum(nearest, _distances(rows, chosen[-1]))
    return np.array(chosen[:count], dtype=np.int64)


def _distances(rows: Float64Array, centre: int) -> Float64Array:
    distances: Float64Array = np.linalg.norm(rows - rows[centre], axis=1)
    return distances
