"""Bars per generator: the mean over trials, and where one draw of the support may land."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fewshot.core.errors import ReportError
from fewshot.figures.canvas import drawn
from fewshot.figures.series import look
from fewshot.results.answer import measure_title
from fewshot.results.members import backbone_title
from fewshot.results.row import Row

POOLED = ("all", "macro")


def generator_bars(
    rows: Sequence[Row], *, metric: str = "auroc", title: str = "", among: Sequence[Row] | None = None
) -> Figure:
    """Draw one group of bars per generator and one bar per detector; whiskers span the 5-95 % range over trials.

    Args:
        rows: rows of one or more reports; of each setting the largest number of shots or fraction is shown.
        metric: which measure.
        title: what stands above; empty for what is drawn in words.
        among: rows that names tell the detectors apart from; the rows themselves when None.

    Raises:
        ReportError: no row has this metric.
    """
    shown = rows_to_draw(rows, metric)
    sources, detectors = len({row.source for row in shown}), len({detector_name(row, among or shown) for row in shown})
    figure, (axes,) = drawn(max(4.5, 1.2 + 0.32 * sources * (detectors + 1)), 3.2)
    draw_bars(axes, shown, among=among)
    what = "source" if "natural" in {row.source for row in shown} else "generator"
    axes.set_title(title or f"{measure_title(metric)} by {what}", loc="left", fontsize=9)
    figure.legend(loc="outside upper left", ncols=2, fontsize=8, frameon=False)
    return figure


def draw_bars(axes: Axes, shown: Sequence[Row], *, among: Sequence[Row] | None = None) -> None:
    """Draw the bars of ``generator_bars`` into axes of any figure.

    Args:
        shown: rows of one metric, one per detector and source.
        among: rows that names tell the detectors apart from; the rows themselves when None.
    """
    names = {row.key: detector_name(row, among or shown) for row in shown}
    sources = sorted({row.source for row in shown}, key=lambda name: (name in POOLED, name))
    detectors = sorted(set(names.values()))
    width = 0.8 / len(detectors)
    for number, name in enumerate(detectors):
        found = {row.source: (row.summary().mean, *row.spread) for row in shown if names[row.key] == name}
        positions = np.array([sources.index(source) for source in found]) + (number + 0.5) * width - 0.4
        means, low, high = np.array(list(found.values())).T
        shown_as = look(number)
        axes.bar(
            positions,
            means,
            width * 0.92,
            color=shown_as.colour,
            hatch=shown_as.hatch,
            edgecolor="white",
            linewidth=0,
            label=name,
        )
        reach = np.maximum(np.stack([means - low, high - means]), 0)
        axes.errorbar(positions, means, yerr=reach, fmt="none", ecolor="#333333", elinewidth=1, capsize=2)
    many = len(sources) > 3
    axes.set_xticks(range(len(sources)), sources, rotation=25 if many else 0, ha="right" if many else "center")
    axes.set_ylim(0, 1.01)
    if shown[0].metric == "auroc":  # what guessing reaches
        axes.axhline(0.5, color="#888888", linewidth=0.8, linestyle=":")
    axes.set_ylabel(measure_title(shown[0].metric))


def rows_to_draw(rows: Sequence[Row], metric: str) -> list[Row]:
    """Return the rows of a metric at their largest support.

    Raises:
        ReportError: no row has this metric.
    """
    found = largest_support([row for row in rows if row.metric == metric])
    if not found:
        raise ReportError(f"no row has the metric {metric!r}; there are {sorted({row.metric for row in rows})}")
    return found


def largest_support(rows: Sequence[Row]) -> list[Row]:
    """Return of every setting only the rows with the most shots, or the largest fraction."""
    largest: dict[tuple[object, ...], Row] = {}
    for row in rows:
        setting = (row.backbone, row.layer, row.selection, row.head, row.dataset, row.source, row.view, row.metric)
        if setting not in largest or _size(row) > _size(largest[setting]):
            largest[setting] = row
    return list(largest.values())


def detector_name(row: Row, among: Sequence[Row]) -> str:
    """Return what tells a row's detector from the others: backbone, and layer, head or view where they differ."""
    parts = [backbone_title(row)]
    for name in ("layer", "selection", "head", "dataset", "view"):
        others = [other for other in among if other.backbone == row.backbone] if name == "layer" else among
        if name in ("layer", "selection"):  # the title of what several backbones make says both
            others = [other for other in others if not other.members and not row.members]
        if len({getattr(other, name) for other in others}) > 1:
            parts.append(str(getattr(row, name)))
    return " ".join(parts)


def _size(row: Row) -> float:
    return row.fraction if row.fraction is not None else float(row.shots or 0)
