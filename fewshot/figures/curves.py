"""Curves over the size of the support: shots, or the share of the training set."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from fewshot.core.errors import ReportError
from fewshot.figures.bars import detector_name
from fewshot.figures.canvas import colour, drawn, share_limits
from fewshot.results.row import Row


def support_curves(rows: Sequence[Row], *, metric: str = "auroc", source: str = "all", title: str = "") -> Figure:
    """Draw the mean over trials against shots or fraction, one line per detector, its 5-95 % range as a band.

    A head that saw no labelled image (a checkpoint's own) is a dashed line across.

    Args:
        rows: rows of one or more reports.
        metric: which measure.
        source: which query set.

    Raises:
        ReportError: no row of this metric and source has a size.
    """
    shown = [row for row in rows if row.metric == metric and row.source == source and _size(row) is not None]
    if not shown:
        raise ReportError(
            f"no row has the metric {metric!r} of the source {source!r} and a number of shots or fraction"
        )
    figure, (axes,) = drawn(4.5, 3.2)
    without_support = [row for row in shown if not _size(row)]
    fitted = [row for row in shown if _size(row)]
    for number, name in enumerate(sorted({detector_name(row, shown) for row in fitted})):
        line = sorted((row for row in fitted if detector_name(row, shown) == name), key=lambda row: _size(row) or 0)
        sizes = np.array([_size(row) for row in line])
        means = [row.summary().mean for row in line]
        axes.plot(sizes, means, "o-", color=colour(number), label=name, markersize=4)
        low, high = zip(*(row.spread for row in line), strict=True)
        axes.fill_between(sizes, low, high, color=colour(number), alpha=0.15, linewidth=0)
    for number, row in enumerate(without_support):
        axes.axhline(
            row.summary().mean, color=colour(number), linestyle="--", linewidth=1, label=detector_name(row, shown)
        )
    _label_sizes(axes, sorted({_size(row) or 0.0 for row in fitted}), fractions=shown[0].fraction is not None)
    axes.set_ylim(*share_limits([value for row in shown for value in row.values]))
    axes.set_ylabel(metric.replace("_", " "))
    axes.set_title(title, loc="left", fontsize=9)
    figure.legend(loc="outside upper left", ncols=2, fontsize=8, frameon=False)
    return figure


def has_curve(rows: Sequence[Row]) -> bool:
    """Return whether the rows have more than one size of support, so that a curve says something."""
    return len({_size(row) for row in rows} - {None, 0}) > 1


def _label_sizes(axes: object, sizes: Sequence[float], *, fractions: bool) -> None:
    from matplotlib.axes import Axes

    assert isinstance(axes, Axes)
    axes.set_xscale("log")
    axes.set_xticks(list(sizes), [f"{100 * size:g} %" if fractions else f"{size:g}" for size in sizes])
    axes.minorticks_off()
    axes.set_xlabel("share of the training set" if fractions else "labelled images per class")


def _size(row: Row) -> float | None:
    return row.fraction if row.fraction is not None else row.shots
