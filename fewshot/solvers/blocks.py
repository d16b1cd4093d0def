"""Features of several backbones side by side: which columns are whose, and the folds of one support."""

from collections.abc import Sequence

import numpy as np

from fewshot.core.arrays import BoolArray, IntArray
from fewshot.core.errors import OptionError

FOLDS = 5  # 2 + 2 held out of 10 + 10; docs/decisions/0003-selection.md


def block_columns(widths: Sequence[int], dimension: int) -> tuple[slice, ...]:
    """Return the columns of every block.

    Args:
        widths: columns of each block, in their order; empty for a single block.
        dimension: columns of the features.

    Raises:
        OptionError: the widths are not positive numbers that add up to the dimension.
    """
    given = [int(width) for width in widths] or [dimension]
    if min(given) < 1 or sum(given) != dimension:
        raise OptionError(
            f"widths={tuple(given)} has {sum(given)} columns and the features have {dimension}; give the dimension of "
            f"every block, in the order in which they lie side by side"
        )
    stops = np.cumsum(given).tolist()
    return tuple(slice(stop - width, stop) for stop, width in zip(stops, given, strict=True))


def stratified_folds(positive: BoolArray, *, most: int = FOLDS) -> tuple[IntArray, ...]:
    """Return the held-out rows of every fold: each class is dealt in its order, as ``--layer support-cv`` deals it.

    Args:
        positive: (n,) bool.
        most: folds; fewer where a class has fewer images.

    Returns:
        (f,) int64 ascending, a fold each; no fold where a class has one image, for nothing would be left to fit on.
    """
    sides = [np.flatnonzero(positive == side) for side in (False, True)]
    count = min(most, *(len(rows) for rows in sides))
    if count < 2:
        return ()
    return tuple(np.sort(np.concatenate([rows[fold::count] for rows in sides])) for fold in range(count))
