"""ROC curves with the range over trials."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from fewshot.core.arrays import BoolArray, Float64Array, FloatArray
from fewshot.figures.canvas import drawn
from fewshot.figures.series import look
from fewshot.stats.intervals import ENOUGH_DRAWS, mean_interval

GRID = np.linspace(0, 1, 201)


def roc_curves(curves: Mapping[str, Sequence[Float64Array]], *, title: str = "") -> Figure:
    """Draw per detector the mean true positive rate over trials, its 95 % interval, and the 5-95 % range of a trial.

    The interval is Student's, point by point: the dark band. The range is the light one. Fewer than ten trials have no
    interval, and their range is all of them.

    Args:
        curves: detector -> one (201,) array per trial: the true positive rate on ``GRID``, as ``roc_on_grid`` gives it.
        title: what stands above.
    """
    figure, (axes,) = drawn(4.2, 3.8)
    axes.plot([0, 1], [0, 1], color="#888888", linewidth=0.8, linestyle=":")
    for number, (name, trials) in enumerate(curves.items()):
        stacked = np.stack(trials)
        few = len(trials) < ENOUGH_DRAWS
        low, high = np.percentile(stacked, [0, 100] if few else [5, 95], axis=0)
        as_drawn = look(number)
        axes.plot(
            GRID,
            stacked.mean(axis=0),
            color=as_drawn.colour,
            linestyle=as_drawn.dash,
            marker=as_drawn.marker,
            markevery=(10 + 4 * number, 40),
            markersize=5,
            label=name,
        )
        axes.fill_between(GRID, low, high, color=as_drawn.colour, alpha=0.15, linewidth=0)
        if not few:
            axes.fill_between(GRID, *_interval(stacked), color=as_drawn.colour, alpha=0.35, linewidth=0)
    axes.axvline(0.05, color="#888888", linewidth=0.8)
    axes.set_xlabel("share of natural images called synthetic")
    axes.set_ylabel("share of synthetic images found")
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.01)
    axes.set_title(title or "Synthetic images found against false alarms (ROC)", loc="left", fontsize=9)
    axes.legend(loc="lower right", fontsize=8, frameon=False)
    return figure


def _interval(curves: Float64Array) -> Float64Array:
    """Return (2, 201) the interval of the mean at every point of ``GRID``; curves (T, 201)."""
    found = [mean_interval(curves[:, point]) for point in range(len(GRID))]
    return np.clip([[one.low for one in found], [one.high for one in found]], 0, 1)


def roc_on_grid(scores: FloatArray, synthetic: BoolArray) -> Float64Array:
    """Return the true positive rate at every false positive rate of ``GRID``: (201,) float64.

    Between thresholds the curve is a straight line, as for AUROC by trapezoids (Fawcett: An introduction to ROC
    analysis, 2006, section 4).

    Args:
        scores: (N,) floating, larger = more likely synthetic.
        synthetic: (N,) bool, with both classes.
    """
    order = np.argsort(-scores, kind="stable")
    ranked, positive = scores[order], synthetic[order]
    last_of_ties = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)
    found = np.concatenate([[0.0], np.cumsum(positive)[last_of_ties]]) / positive.sum()
    alarms = np.concatenate([[0.0], np.cumsum(~positive)[last_of_ties]]) / (~positive).sum()
    at = np.minimum(np.searchsorted(alarms, GRID, side="right") - 1, len(alarms) - 2)
    step = alarms[at + 1] - alarms[at]
    share = np.divide(GRID - alarms[at], step, out=np.ones_like(GRID), where=step > 0)
    return np.asarray(found[at] + np.minimum(share, 1) * (found[at + 1] - found[at]), dtype=np.float64)
