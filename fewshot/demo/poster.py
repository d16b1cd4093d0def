"""The demo's result as one picture: a tile and its fakes, and below each what is caught of it."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from fewshot.core.arrays import ByteArray
from fewshot.demo.few_shots import BACKBONE, HEAD, KNOWN, SHOTS, FewShots
from fewshot.demo.images import NATURAL
from fewshot.figures.canvas import drawn
from fewshot.figures.series import look
from fewshot.results.row import Row, spread_in_words

SHOWN_TILE = "coffee-00.png"
_MAGNIFIED_PIXELS = 64
_GAP_PIXELS = 3
_MISSED_COLOUR = "#8a8a8a"


def poster(folder: Path, found: FewShots, *, tile: str = SHOWN_TILE) -> Figure:
    """Draw the middle of one tile as every source has it, above what heads catch of that source.

    Args:
        folder: the demo's images, one folder per source.
        found: what was measured.
        tile: which tile, by file name.
    """
    figure, (above, below) = drawn(9.0, 5.4, rows=2, gridspec_kw={"height_ratios": [1, 1.5]})
    sources = [NATURAL, *found.after]
    _draw_tiles(above, folder, sources, tile)
    _draw_caught(below, found)
    figure.legend(loc="outside lower center", ncols=2, fontsize=9, frameon=False)
    return figure


def _draw_tiles(axes: Axes, folder: Path, sources: Sequence[str], tile: str) -> None:
    gap = np.full((_MAGNIFIED_PIXELS, _GAP_PIXELS, 3), 255, np.uint8)
    strip = np.concatenate([part for source in sources for part in (_middle(folder / source / tile), gap)], axis=1)
    axes.imshow(strip[:, : -gap.shape[1]], interpolation="nearest", extent=(0, len(sources), 0, 1))
    axes.set_title("One tile of a photograph, and as four toy generators remake it", loc="left", fontsize=10)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(visible=False)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _draw_caught(axes: Axes, found: FewShots) -> None:
    """Draw two bars per generator below its tile: of the head that knows another one, and of a few shots."""
    share = found.metric == "tpr_at_5_fpr"
    bars = (
        (f"head fitted on {KNOWN}", _MISSED_COLOUR, found.missed),
        (f"head fitted on {max(SHOTS)} images of the generator itself", look(0).colour, found.caught),
    )
    for number, (label, shade, of_generator) in enumerate(bars):
        rows = [of_generator(generator) for generator in found.after]
        _draw_bars(axes, rows, label=label, shade=shade, offset=0.36 * number - 0.18)
    axes.set_xlim(0, len(found.after) + 1)
    axes.set_xticks([0.5 + place for place in range(len(found.after) + 1)], [NATURAL, *found.after])
    axes.set_ylim(0, 1.12)
    axes.grid(visible=False, axis="x")
    axes.set_ylabel("share caught at 5 % false alarms" if share else "AUROC")
    spread = spread_in_words([found.caught(generator) for generator in found.after])
    axes.set_title(
        f"What a head on the features of {BACKBONE} catches ({HEAD}; lines: where {spread} land)",
        loc="left",
        fontsize=10,
    )


def _draw_bars(axes: Axes, rows: Sequence[Row], *, label: str, shade: str, offset: float) -> None:
    places = np.arange(len(rows)) + 1.5 + offset
    means = np.array([row.summary().mean for row in rows])
    low, high = np.array([row.spread for row in rows]).T
    axes.bar(places, means, 0.33, color=shade, label=label)
    reach = np.maximum(np.stack([means - low, high - means]), 0)
    axes.errorbar(places, means, yerr=reach, fmt="none", ecolor="#333333", elinewidth=1, capsize=2)
    for place, mean, top in zip(places, means, high, strict=True):
        text = f"{100 * mean:.0f} %" if rows[0].metric == "tpr_at_5_fpr" else f"{mean:.2f}"
        axes.text(place, top + 0.015, text, ha="center", fontsize=8)


def _middle(path: Path) -> ByteArray:
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB"))
    top, left = ((side - _MAGNIFIED_PIXELS) // 2 for side in pixels.shape[:2])
    return pixels[top : top + _MAGNIFIED_PIXELS, left : left + _MAGNIFIED_PIXELS]
