"""Episodes: which images are the labelled support and which the query, drawn without looking at any feature."""

from dataclasses import dataclass

import numpy as np

from fewshot.core.arrays import IntArray
from fewshot.core.errors import EpisodeError


@dataclass(frozen=True)
class Episode:
    """One draw: the support to learn from, the query to be measured on.

    Args:
        support: (s,) int64 row numbers, ascending.
        query: (q,) int64 row numbers, ascending.
        trial: the number of the draw.

    Raises:
        EpisodeError: support and query share a row.
    """

    support: IntArray
    query: IntArray
    trial: int

    def __post_init__(self) -> None:
        shared = np.intersect1d(self.support, self.query)
        if len(shared):
            raise EpisodeError(
                f"trial {self.trial}: row {int(shared[0])} is both support and query ({len(shared)} such rows); "
                f"draw disjoint sets"
            )
