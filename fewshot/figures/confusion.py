"""A confusion matrix: what each source was taken for."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from fewshot.core.arrays import IntArray
from fewshot.figures.canvas import drawn


def confusion(counts: IntArray, names: Sequence[str], *, title: str = "") -> Figure:
    """Draw counts as shares of each row.

    Args:
        counts: (S, T) int64, rows = true source, columns = predicted source; T may hold one more column, ``unknown``.
        names: T names; the first S are the rows'.
    """
    rows, columns = counts.shape
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = max(3.4, 1.4 + 0.5 * columns)
    figure, (axes,) = drawn(side, max(3.0, 1.2 + 0.45 * rows))
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.grid(visible=False)
    for row in range(rows):
        for column in range(columns):
            ink = "white" if shares[row, column] > 0.55 else "black"
            axes.text(column, row, f"{100 * shares[row, column]:.0f}", ha="center", va="center", color=ink, fontsize=8)
    axes.set_xticks(range(columns), list(names), rotation=35, ha="right")
    axes.set_yticks(range(rows), list(names[:rows]))
    axes.set_xlabel("predicted source\n(per cent of the row)")
    axes.set_ylabel("true source")
    figure.suptitle(title or "What each source was taken for", x=0.02, ha="left", fontsize=9)
    return figure
