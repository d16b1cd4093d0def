"""Curves over the size of the support: shots, or the share of the training set."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from fewshot.core.errors import ReportError
from fewshot.figures.bars import detector_name
from fewshot.figures.canvas import drawn, share_limits
from fewshot.figures.series import look
from fewshot.results.answer import measure_title
from fewshot.results.row import Row


def support_curves(
    rows: Sequence[Row],
    *,
    metric: str = "auroc",
    source: str = "all",
    title: str = "",
    among: Sequence[Row] | None = None,
) -> Figure:
    """Draw the mean over trials against shots or fraction, one line per detector, its 5-95 % range as a band.

    A head that saw no labelled image (a checkpoint's own) is a dashed line across.

    Args:
        rows: rows of one or more reports.
        metric: which measure.
        source: which query set.
        title: what stands above; empty for what is drawn in words.
        among: rows that names tell the detectors apart from; the rows themselves when None.

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
    names = sorted({detector_name(row, among or shown) for row in fitted})
    for number, name in enumerate(names):
        line = sorted(
            (row for row in fitted if detector_name(row, among or shown) == name), key=lambda row: _size(row) or 0
        )
        sizes = np.array([_size(row) for row in line])
        means = [row.summary().mean for row in line]
        as_drawn = look(number)
        axes.plot(
            sizes,
            means,
            color=as_drawn.colour,
            marker=as_drawn.marker,
            linestyle=as_drawn.dash,
            label=name,
            markersize=5,
        )
        low, high = zip(*(row.spread for row in line), strict=True)
        axes.fill_between(sizes, low, high, color=as_drawn.colour, alpha=0.15, linewidth=0)
    for number, row in enumerate(without_support, start=len(names)):
        axes.axhline(
            row.summary().mean,
            color=look(number).colour,
            linestyle="--",
            linewidth=1,
            label=detector_name(row, among or shown),
        )
    _label_sizes(axes, sorted({_size(row) or 0.0 for row in fitted}), fractions=shown[0].fraction is not None)
    axes.set_ylim(*share_limits([value for row in shown for value in row.values]))
    axes.set_ylabel(measure_title(metric))
    size = "the share of the training set" if shown[0].fraction is not None else "labelled images"
    axes.set_title(title or f"{measure_title(metric)} against {size}", loc="left", fontsize=9)
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
