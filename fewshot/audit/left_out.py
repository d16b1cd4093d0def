"""What files hold that the embedded pixels do not show, counted per class: orientation, alpha, further frames."""

from dataclasses import dataclass

import numpy as np

from fewshot.core.arrays import BoolArray, IntArray
from fewshot.embeddings.inputs.file_metadata import ALPHA_MODES
from fewshot.embeddings.store.reader import FeatureStore

COLUMN = "not_in_pixels"  # of stores with an image that has something to say there


@dataclass(frozen=True)
class LeftOut:
    """How many images of each class hold something that was not embedded.

    Args:
        what: ``orientation``, ``alpha`` or ``frames``.
        natural, synthetic: number of images.
    """

    what: str
    natural: int
    synthetic: int


def left_out(store: FeatureStore, rows: IntArray) -> tuple[LeftOut, ...]:
    """Return the counts that are not zero, among some rows of a store.

    Stores of earlier versions tell alpha channels and frames alone.
    """
    synthetic = store.synthetic[rows]
    found = {name: _holds(store, rows, name) for name in ("orientation", "alpha", "frames")}
    return tuple(
        LeftOut(name, int((holds & ~synthetic).sum()), int((holds & synthetic).sum()))
        for name, holds in found.items()
        if holds.any()
    )


def _holds(store: FeatureStore, rows: IntArray, what: str) -> BoolArray:
    """Return (len(rows),) bool."""
    column = "metadata" if what == "frames" else COLUMN
    start = "alpha" if what == "alpha" else f"{what}="
    texts = store.column(column)[rows] if column in store.columns else np.full(len(rows), "", object)
    holds = np.array([any(part.startswith(start) for part in str(text).split(",")) for text in texts], bool)
    if what == "alpha":
        holds |= np.isin(store.column("mode")[rows].astype(str), sorted(ALPHA_MODES))
    return holds
