"""Features on paper: their two leading principal components, coloured by source."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from fewshot.core.arrays import Float64Array, FloatArray
from fewshot.figures.canvas import drawn
from fewshot.figures.series import MOST, look


def projection(features: FloatArray, sources: Sequence[str] | NDArray[Any], *, title: str = "") -> Figure:
    """Draw every image as a point, one colour and shape per source; every eight sources take a panel.

    Args:
        features: (N, D) floating, finite.
        sources: (N,) source names.
    """
    points, shares = principal_plane(features)
    names = np.asarray(sources, dtype=object)
    every = sorted(set(names))
    parts = [every[start : start + MOST] for start in range(0, len(every), MOST)]
    figure, panels = drawn(4.6, 0.6 + 3.2 * len(parts), rows=len(parts), sharex=True, sharey=True)
    for axes, part in zip(panels, parts, strict=True):
        _draw_sources(axes, points, names, part)
        axes.set_ylabel(f"second component ({100 * shares[1]:.0f} %)")
    panels[-1].set_xlabel(f"first component ({100 * shares[0]:.0f} % of the variance)")
    figure.suptitle(title or "Images by the leading components of their features", x=0.02, ha="left", fontsize=9)
    return figure


def _draw_sources(axes: Axes, points: Float64Array, names: NDArray[Any], shown: Sequence[str]) -> None:
    for number, name in enumerate(shown):
        chosen, as_drawn = names == name, look(number)
        axes.scatter(
            points[chosen, 0],
            points[chosen, 1],
            s=12,
            alpha=0.7,
            color=as_drawn.colour,
            marker=as_drawn.marker,
            label=name,
            linewidths=0,
        )
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, fontsize=8, frameon=False, markerscale=1.4)


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
