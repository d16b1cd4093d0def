"""The demo's result as one picture: a tile and its fakes, and how well each backbone separates them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from fewshot.core.arrays import ByteArray
from fewshot.figures.bars import draw_bars, largest_support
from fewshot.figures.canvas import drawn
from fewshot.results.row import Row

SHOWN_TILE = "coffee-00.png"
_MAGNIFIED_PIXELS = 64


def poster(folder: Path, sources: Sequence[str], rows: Sequence[Row], *, tile: str = SHOWN_TILE) -> Figure:
    """Draw the middle of one tile as every source has it, above the AUROC of every generator.

    Args:
        folder: the demo's images, one folder per source.
        sources: their names, ``natural`` first.
        rows: the rows of the demo's report.
        tile: which tile, by file name.
    """
    figure, (axes, below) = drawn(8.0, 5.2, rows=2, gridspec_kw={"height_ratios": [1, 1.35]})
    strip = [_middle(folder / source / tile) for source in sources]
    gap = np.full((_MAGNIFIED_PIXELS, 3, 3), 255, np.uint8)
    joined = np.concatenate([part for image in strip for part in (image, gap)][:-1], axis=1)
    axes.imshow(joined, interpolation="nearest")
    axes.set_yticks([])
    step = _MAGNIFIED_PIXELS + gap.shape[1]
    axes.set_xticks([number * step + _MAGNIFIED_PIXELS / 2 for number in range(len(sources))], list(sources))
    axes.tick_params(length=0)
    axes.grid(visible=False)
    for spine in axes.spines.values():
        spine.set_visible(False)
    draw_bars(below, largest_support([row for row in rows if row.metric == "auroc" and row.source != "macro"]))
    figure.legend(loc="outside lower left", ncols=2, fontsize=8, frameon=False)
    return figure


def _middle(path: Path) -> ByteArray:
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB"))
    top, left = ((side - _MAGNIFIED_PIXELS) // 2 for side in pixels.shape[:2])
    return pixels[top : top + _MAGNIFIED_PIXELS, left : left + _MAGNIFIED_PIXELS]
