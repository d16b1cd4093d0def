"""Pairs of a natural and a synthetic image in which the synthetic one scores higher, from one sort of one trial."""

import numpy as np
from numpy.typing import NDArray

from fewshot.core.arrays import BoolArray, FloatArray, IntArray

_LAST = np.iinfo(np.int64).max  # sorts behind every score


def twice_pairs_won(scores: FloatArray, synthetic: BoolArray, left_out: IntArray) -> int:
    """Twice the number of pairs that the synthetic image wins among all images but some, ties counted half.

    A float32 score and its class fit into one integer that sorts by score and, where scores are equal, puts synthetic
    images last. Their ranks tell the pairs won (Mann and Whitney, Ann. Math. Stat. 1947) with ties counted as won.
    Only where there are ties is a second sort needed, which counts them as lost.

    Args:
        scores: (n,) float32, no NaN.
        synthetic: (n,) bool.
        left_out: (s,) rows that do not count.
    """
    keys = _ordered_bits(scores).astype(np.int64)
    keys <<= 1
    keys |= synthetic
    keys[left_out] = _LAST
    keys.sort()
    kept = keys[: len(keys) - len(left_out)]
    won = _beaten(kept & 1)
    if not bool(np.any((kept[1:] ^ kept[:-1]) == 1)):
        return 2 * won
    kept ^= 1
    kept.sort()
    return won + _beaten(~kept & 1)


def _ordered_bits(scores: FloatArray) -> NDArray[np.int32]:
    """Integers that sort as the scores do: of negative numbers all bits but the sign are turned round."""
    bits = (scores + np.float32(0)).view(np.int32)  # -0 becomes 0
    bits ^= (bits >> 31) & np.int32(0x7FFFFFFF)
    return bits


def _beaten(synthetic: NDArray[np.int64]) -> int:
    """Natural images before each synthetic one, summed: the ranks of the synthetic ones less what they would be alone.

    Args:
        synthetic: (n,) 0 or 1, by ascending score.
    """
    count = int(synthetic.sum())
    return int(np.dot(synthetic, np.arange(len(synthetic)))) - count * (count - 1) // 2
