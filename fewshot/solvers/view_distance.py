"""How far features move when the image is perturbed: what training-free detectors look at."""

from typing import Any, Literal, get_args

import numpy as np

from fewshot.core.arrays import BoolArray, Float64Array, FloatArray
from fewshot.core.errors import unknown_name

Direction = Literal["calibrated", "paper"]
NATURAL_QUANTILE = 0.95  # RIGID (arXiv 2405.20112): eps on real images only, say their 5 % quantile of similarity


def cosine_distance(features: FloatArray, perturbed: FloatArray) -> Float64Array:
    """Return 1 - cos(f, f') of every image: (n,) float64, exactly 0 for equal rows.

    Args:
        features, perturbed: (n, D) floating, no zero rows; lengths do not matter.
    """
    first, second = (np.asarray(rows, dtype=np.float64) for rows in (features, perturbed))
    first, second = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (first, second))
    return np.asarray(0.5 * ((first - second) ** 2).sum(axis=1))  # = 1 - cos for unit rows, without cancellation


def calibrate(distances: Float64Array, synthetic: BoolArray, *, direction: Direction) -> tuple[float, float]:
    """Return (sign, threshold) of a detector by distance.

    ``paper``: larger is generated, threshold on natural images alone. ``calibrated``: both from the labelled support.

    Args:
        distances: (n,) of the support; synthetic: (n,) bool, both classes.

    Raises:
        UnknownNameError: no such direction.
    """
    if direction not in get_args(Direction):
        raise unknown_name("direction", str(direction), get_args(Direction))
    if direction == "paper":
        return 1.0, float(np.quantile(distances[~synthetic], NATURAL_QUANTILE))
    sign = orientation(distances, synthetic)
    return sign, sign * balanced_threshold(sign * distances, synthetic)


def orientation(scores: Float64Array, synthetic: BoolArray) -> float:
    """Return 1 when synthetic images tend to score higher on the support, else -1.

    The AUROC decides; at exactly one half the paper's direction stands.
    """
    natural, other = scores[~synthetic], scores[synthetic]
    above = np.sign(other[:, None] - natural[None, :]).sum()
    return -1.0 if above < 0 else 1.0


def balanced_threshold(scores: Float64Array, synthetic: BoolArray) -> float:
    """Return the threshold with the largest balanced accuracy on the support, half-way between two scores.

    Of equally good thresholds the middle one is taken, so that it does not cling to one image.
    """
    ordered = np.unique(scores)
    thresholds = (ordered[1:] + ordered[:-1]) / 2 if len(ordered) > 1 else ordered
    found = np.array([_balanced(scores > threshold, synthetic) for threshold in thresholds])
    best = np.flatnonzero(found >= found.max() - 1e-12)
    return float(thresholds[best[len(best) // 2]])


def _balanced(found: BoolArray, synthetic: BoolArray) -> float:
    right: Any = (np.mean(found[synthetic]), np.mean(~found[~synthetic]))
    return float(np.mean(right))
