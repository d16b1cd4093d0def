"""Features on paper: their two leading principal components, coloured by source."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from fewshot.core.arrays import Float64Array, FloatArray
from fewshot.figures.canvas import colour, drawn


def projection(features: FloatArray, sources: Sequence[str] | NDArray[Any], *, title: str = "") -> Figure:
    """Draw every image as a point, one colour per source.

    Args:
        features: (N, D) floating, finite.
        sources: (N,) source names.
    """
    points, shares = principal_plane(features)
    names = np.asarray(sources, dtype=object)
    figure, (axes,) = drawn(4.6, 3.8)
    for number, name in enumerate(sorted(set(names))):
        chosen = names == name
        axes.scatter(
            points[chosen, 0], points[chosen, 1], s=9, alpha=0.7, color=colour(number), label=name, linewidths=0
        )
    axes.set_xlabel(f"first component ({100 * shares[0]:.0f} % of the variance)")
    axes.set_ylabel(f"second component ({100 * shares[1]:.0f} %)")
    axes.set_title(title, loc="left", fontsize=9)
    figure.legend(loc="outside upper left", ncols=3, fontsize=8, frameon=False, markerscale=1.6)
    return figure


def principal_plane(features: FloatArray) -> tuple[Float64Array, Float64Array]:
    """Return the projections on the two leading principal components, and every component's share of the variance.

    The sign of a component is free; here its largest loading is positive, so that figures repeat.

    Args:
        features: (N, D) floating, N and D at least 2.

    Returns:
        (N, 2) float64, and (min(N, D),) float64 that sums to 1.
    """
    centred = np.asarray(features, dtype=np.float64) - features.mean(axis=0)
    left, singular, right = np.linalg.svd(centred, full_matrices=False)
    signs = np.sign(right[np.arange(2), np.abs(right[:2]).argmax(axis=1)])
    return left[:, :2] * singular[:2] * signs, singular**2 / np.sum(singular**2)
