"""The array types of the package, and the checks made once where arrays enter."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from fewshot.core.errors import InputError

FloatArray = NDArray[np.floating]
Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.int64]
ByteArray = NDArray[np.uint8]


def spans(length: int, step: int) -> Iterator[tuple[int, int]]:
    """Yield (start, stop) of consecutive parts of at most ``step``."""
    for start in range(0, length, step):
        yield start, min(start + step, length)


def require_finite(features: FloatArray, *, what: str) -> None:
    """Raise unless every value of a feature matrix is finite.

    Args:
        features: (n, D) floating.
        what: what the rows are, for the message, for example ``"layer 'pooled' of backbone 'npr'"``.

    Raises:
        InputError: a value is NaN or infinite; the message names the first such row.
    """
    bad = ~np.isfinite(features).all(axis=1)
    if bad.any():
        raise InputError(
            f"{what}: row {int(np.flatnonzero(bad)[0])} holds NaN or infinite values ({int(bad.sum())} such rows of "
            f"{len(features)}); embed these images again, in --precision fp32 if they were made in fp16"
        )


def unit_rows(features: FloatArray, *, what: str) -> Float32Array:
    """Divide every row by its Euclidean length.

    Args:
        features: (n, D) floating.
        what: what the rows are, for the message.

    Returns:
        (n, D) float32, every row of unit length.

    Raises:
        InputError: a row is zero, so that its direction does not exist.
    """
    rows = np.asarray(features, dtype=np.float32)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    zero = np.flatnonzero(lengths[:, 0] == 0)
    if len(zero):
        raise InputError(
            f"{what}: row {int(zero[0])} is a zero vector ({len(zero)} such rows), which has no direction; "
            f"choose another --layer, or leave the images out"
        )
    return np.asarray(rows / lengths, dtype=np.float32)
