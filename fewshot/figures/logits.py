"""Scores of two heads on the same images: where they agree, and where one is right alone."""

import numpy as np
from matplotlib.figure import Figure

from fewshot.core.arrays import BoolArray, FloatArray
from fewshot.figures.canvas import drawn


def logit_scatter(
    scores: tuple[FloatArray, FloatArray], names: tuple[str, str], synthetic: BoolArray, *, title: str = ""
) -> Figure:
    """Draw every image at its two scores; the thresholds stand at 0, and each corner says how many images it holds.

    Args:
        scores: (n,) of the first head, and (n,) of the second.
        names: of the heads.
        synthetic: (n,) bool.
    """
    figure, (axes,) = drawn(4.3, 4.1)
    for made, colour, marker, label in ((False, "#3a86c8", "o", "natural"), (True, "#7a2d00", "x", "synthetic")):
        chosen = synthetic == made
        face = {"facecolors": "none", "edgecolors": colour} if marker == "o" else {"color": colour}
        axes.scatter(scores[0][chosen], scores[1][chosen], s=12, marker=marker, linewidths=0.8, label=label, **face)
    axes.axvline(0, color="#555555", linewidth=0.8)
    axes.axhline(0, color="#555555", linewidth=0.8)
    for right in (False, True):
        for top in (False, True):
            inside = ((scores[0] > 0) == right) & ((scores[1] > 0) == top)
            counts = f"{np.sum(inside & ~synthetic)} natural\n{np.sum(inside & synthetic)} synthetic"
            axes.text(
                0.98 if right else 0.02,
                0.98 if top else 0.02,
                counts,
                transform=axes.transAxes,
                ha="right" if right else "left",
                va="top" if top else "bottom",
                fontsize=7,
                bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1},
            )
    axes.set_xlabel(f"score of {names[0]}")
    axes.set_ylabel(f"score of {names[1]}")
    axes.set_title(title or "Two heads on the same images", loc="left", fontsize=9)
    figure.legend(loc="outside upper left", ncols=2, fontsize=8, markerscale=1.4)
    return figure
