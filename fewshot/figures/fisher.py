"""Fisher's ratio of the two classes, in the features and in the deviations."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from fewshot.figures.canvas import drawn


def fisher_bars(ratios: Mapping[str, tuple[float, float]], *, title: str = "") -> Figure:
    """Draw two bars per attribution, before and after, with their quotient above.

    Args:
        ratios: attribution -> (ratio of the features, ratio of the deviations).
    """
    figure, (axes,) = drawn(max(3.2, 1.4 + 1.3 * len(ratios)), 3.0)
    positions = np.arange(len(ratios))
    before, after = np.array(list(ratios.values())).T
    axes.bar(positions - 0.2, before, 0.36, color="white", edgecolor="black", hatch="///", label="features f")
    axes.bar(positions + 0.2, after, 0.36, color="#333333", edgecolor="black", label="deviations |f - D(E(f))|")
    for position, (first, second) in zip(positions, ratios.values(), strict=True):
        quotient = second / first if first else float("inf")
        axes.text(
            position,
            max(first, second),
            f"x{quotient:.1f}" if quotient < 100 else f"x{quotient:.0f}",
            ha="center",
            va="bottom",
            fontsize=9,
        )
    axes.set_xticks(positions, list(ratios))
    axes.margins(y=0.12)
    axes.set_ylabel("Fisher's ratio")
    axes.set_title(title or "How far apart the two classes lie", loc="left", fontsize=9)
    figure.legend(loc="outside upper left", ncols=2, fontsize=8)
    return figure
