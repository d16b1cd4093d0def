"""A measure under every perturbation: one line per detector over the views."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fewshot.figures.bars import detector_name, rows_to_draw
from fewshot.figures.canvas import drawn, share_limits
from fewshot.figures.series import look
from fewshot.results.answer import measure_title
from fewshot.results.row import Row


def view_lines(
    rows: Sequence[Row], *, metric: str = "auroc", title: str = "", among: Sequence[Row] | None = None
) -> Figure:
    """Draw the mean over trials of every detector under every view, with whiskers where draws landed.

    Args:
        rows: of one source; of each setting the largest number of shots is shown.
        metric: which measure.
        title: what stands above; empty for what is drawn in words.
        among: rows that names tell the detectors apart from; the rows themselves when None.

    Raises:
        ReportError: no row has this metric.
    """
    shown = rows_to_draw(rows, metric)
    views = list(dict.fromkeys(row.view for row in shown))
    figure, (axes,) = drawn(max(4.5, 1.5 + 0.6 * len(views)), 3.2)
    _draw_lines(axes, _lines(shown, among or shown), views)
    axes.set_xticks(range(len(views)), views, rotation=25 if len(views) > 4 else 0)
    axes.set_ylim(*share_limits([value for row in shown for value in row.values]))
    axes.set_ylabel(measure_title(metric))
    axes.set_title(title or f"{measure_title(metric)} under every perturbation", loc="left", fontsize=9)
    figure.legend(loc="outside upper left", ncols=2, fontsize=8, frameon=False)
    return figure


def _lines(shown: Sequence[Row], among: Sequence[Row]) -> dict[str, list[Row]]:
    """Return detector -> its rows."""
    lines: dict[str, list[Row]] = {}
    told_from = _of_one_view(among)
    for row, alike in zip(shown, _of_one_view(shown), strict=True):
        lines.setdefault(detector_name(alike, told_from), []).append(row)
    return lines


def _draw_lines(axes: Axes, lines: Mapping[str, Sequence[Row]], views: Sequence[str]) -> None:
    """Draw the lines beside each other, so that their whiskers do not hide one another."""
    for number, (name, line) in enumerate(sorted(lines.items())):
        means = np.array([row.summary().mean for row in line])
        low, high = np.array([row.spread for row in line]).T
        places = np.array([views.index(row.view) for row in line]) + 0.06 * (number - (len(lines) - 1) / 2)
        as_drawn = look(number)
        options: dict[str, Any] = {
            "color": as_drawn.colour,
            "marker": as_drawn.marker,
            "linestyle": as_drawn.dash,
            "markersize": 5,
        }
        reach = np.maximum([means - low, high - means], 0)
        axes.errorbar(places, means, yerr=reach, elinewidth=1, label=name, **options)


def _of_one_view(rows: Sequence[Row]) -> list[Row]:
    """Return the rows as if of one view, so that names do not say it."""
    return [replace(row, view="") for row in rows]
