"""Deviations of natural and synthetic images as violins: what an encoder-decoder of one class cannot rebuild."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter
from numpy.typing import NDArray

from fewshot.core.arrays import BoolArray, FloatArray
from fewshot.figures.canvas import drawn

_NATURAL, _SYNTHETIC = "#9ecae1", "#b84a00"  # light and dark in grey too


def deviation_violins(
    deviations: Mapping[str, FloatArray],
    sources: Sequence[str] | NDArray[Any],
    synthetic: BoolArray,
    *,
    title: str = "",
) -> Figure:
    """Draw one panel per attribution, one violin per source and class, natural ones first; the bar is the median.

    Args:
        deviations: attribution -> (n,) mean deviation of every image.
        sources: (n,) source names.
        synthetic: (n,) bool.
    """
    names = np.asarray(sources, dtype=object)
    groups = sorted({(bool(made), str(name)) for made, name in zip(synthetic, names, strict=True)})
    figure, panels = drawn(1.2 + 0.62 * len(groups), 1.0 + 2.3 * len(deviations), rows=len(deviations), sharex=True)
    for axes, (attribution, values) in zip(panels, deviations.items(), strict=True):
        parts = [values[(synthetic == made) & (names == name)] for made, name in groups]
        violins = axes.violinplot(parts, showmedians=True, showextrema=False, widths=0.85)
        for body, (made, _) in zip(violins["bodies"], groups, strict=True):
            body.set(facecolor=_SYNTHETIC if made else _NATURAL, edgecolor="black", alpha=1, linewidth=0.6)
        violins["cmedians"].set(color="black", linewidth=1.4)
        axes.set_yscale("log")
        for ticks in (axes.yaxis.set_major_formatter, axes.yaxis.set_minor_formatter):
            ticks(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.set_ylabel("mean |f - D(E(f))|")
        axes.set_title(f"encoder-decoder of {attribution}", loc="left", fontsize=9)
    panels[-1].set_xticks(range(1, len(groups) + 1), [name for _, name in groups], rotation=30, ha="right")
    figure.suptitle(title or "What an encoder-decoder of one class cannot rebuild", x=0.02, ha="left", fontsize=9)
    patches = [Patch(fc=c, ec="black", lw=0.6, label=n) for c, n in ((_NATURAL, "natural"), (_SYNTHETIC, "synthetic"))]
    figure.legend(handles=patches, loc="outside lower right", ncols=2, fontsize=8)
    return figure
