"""Supports and queries of a few draws, for heads that are fitted on all of them at once."""

import numpy as np


def supports(synthetic: np.ndarray, *, shots: int = 5, trials: int = 5) -> np.ndarray:
    """Return (T, 2 * shots) rows, the same every time."""
    generator = np.random.default_rng(1)
    sides = [np.flatnonzero(synthetic == side) for side in (False, True)]
    return np.stack([np.concatenate([generator.permutation(rows)[:shots] for rows in sides]) for _ in range(trials)])


def queries(fitted_on: np.ndarray, images: int, *, every: int = 1) -> np.ndarray:
    """Return (T, images) bool: every image, or one in so many, that is not of the draw's own support."""
    asked = np.zeros((len(fitted_on), images), bool)
    asked[:, ::every] = True
    np.put_along_axis(asked, fitted_on, False, axis=1)
    return asked
