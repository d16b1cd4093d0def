"""The trials of an experiment: its evaluation pool and one draw of support and query per trial."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fewshot.core.arrays import BoolArray, FloatArray, IntArray
from fewshot.draws.episodes import Draw
from fewshot.embeddings.layer_key import CLEAN
from fewshot.protocols.trials.pool import EvaluationPool
from fewshot.results.scores import name_of_support
from fewshot.stats.two_way import TrialMasks


@dataclass(frozen=True)
class Trials:
    """Draws over one evaluation pool of n images; T trials.

    Args:
        pool: the images.
        draws: one per trial; all shot counts of a trial share its query.
    """

    pool: EvaluationPool
    draws: tuple[Draw, ...]

    def __len__(self) -> int:
        return len(self.draws)

    @property
    def synthetic(self) -> BoolArray:
        """(n,) bool: the classes of the pool."""
        return self.pool.images.synthetic

    @property
    def largest_count(self) -> int:
        """The largest number of images that any trial draws of one group."""
        return max(len(rows) for drawn in self.draws for rows in drawn.order.values())

    def supports(self, shots: int) -> list[IntArray]:
        """Return the support rows of every trial; of one size, unless the user listed them."""
        return [drawn.support(shots) for drawn in self.draws]

    def supports_by_size(self, shots: int) -> Iterator[tuple[IntArray, IntArray]]:
        """Yield the numbers (t,) of trials whose supports have one size, with their support rows (t, s)."""
        supports = self.supports(shots)
        sizes = np.array([len(rows) for rows in supports])
        for size in np.unique(sizes):
            chosen = np.flatnonzero(sizes == size)
            yield chosen, np.stack([supports[trial] for trial in chosen])

    def query_mask(self) -> BoolArray:
        """Return (T, n) bool: the images of the pool that each trial queries."""
        return self._mask([drawn.query for drawn in self.draws])

    def support_mask(self, shots: int) -> BoolArray:
        """Return (T, n) bool: the images of the pool that each trial is fitted on."""
        return self._mask(self.supports(shots))

    def masks(self, shots: int) -> TrialMasks:
        """Return both masks beside the classes, as the two-way bootstrap reads them."""
        return TrialMasks(self.query_mask(), self.synthetic, self.support_mask(shots))

    def pretrained_scores(self, backbone: str, *, view: str = CLEAN) -> FloatArray | None:
        """Return (T, n) scores of the head that came with a checkpoint, the same in every trial; None without one."""
        scores = self.pool.pretrained_scores(backbone, view=view)
        return None if scores is None else np.broadcast_to(scores, (len(self), len(scores)))

    def support_keys(self) -> tuple[tuple[str, ...], ...]:
        """Return the sample keys of every trial in the order drawn, group by group: every smaller support is there."""
        keys = self.pool.keys
        return tuple(tuple(str(keys[row]) for rows in drawn.order.values() for row in rows) for drawn in self.draws)

    def described(self, shots: Sequence[int]) -> dict[str, NDArray[Any]]:
        """Return what kept scores (T, n) are of: query and support masks, class, source and key of every image."""
        images = self.pool.images
        return {
            "query": self.query_mask(),
            **{name_of_support(count): self.support_mask(count) for count in shots},
            "synthetic": images.synthetic,
            "source": images.source.astype(str),
            "key": self.pool.keys.astype(str),
        }

    def _mask(self, chosen: Sequence[IntArray]) -> BoolArray:
        mask = np.zeros((len(chosen), len(self.pool.images)), bool)
        for trial, rows in enumerate(chosen):
            mask[trial, rows] = True
        return mask
