"""Nearest sources as an experiment: which generator an image comes from, and whether it is one we know."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fewshot.core.arrays import Float64Array, IntArray


@dataclass(frozen=True)
class ClosedSet:
    """How well sources are told apart, every query being of a known one.

    Args:
        names: (S,) source names, sorted: those that occur as truth or as answer.
        confusion: (S, S) int64 counts; row = true source, column = answer.
    """

    names: tuple[str, ...]
    confusion: IntArray

    @property
    def queries(self) -> int:
        """Number of queries."""
        return int(self.confusion.sum())

    @property
    def accuracy(self) -> float:
        """Share of the queries whose source is right."""
        return float(np.trace(self.confusion) / self.queries)

    @property
    def recall(self) -> Float64Array:
        """(S,) share of each source's queries whose source is right; NaN where a source has no query."""
        return _ratio(np.diag(self.confusion), self.confusion.sum(axis=1))

    @property
    def balanced_accuracy(self) -> float:
        """Mean recall over the sources that have queries."""
        return float(np.nanmean(self.recall))

    @property
    def f1(self) -> Float64Array:
        """(S,) 2 TP / (2 TP + FP + FN) of each source."""
        both = self.confusion.sum(axis=0) + self.confusion.sum(axis=1)
        return _ratio(2 * np.diag(self.confusion), both)

    @property
    def macro_f1(self) -> float:
        """Mean F1 over the sources that occur as truth or as answer."""
        return float(np.nanmean(self.f1))


def closed_set(truth: Sequence[str], answers: Sequence[str]) -> ClosedSet:
    """Count the answers of each true source.

    >>> found = closed_set(["a", "a", "b"], ["a", "b", "b"])
    >>> found.confusion.tolist(), round(found.accuracy, 3)
    ([[1, 1], [0, 1]], 0.667)
    """
    names = tuple(sorted({*truth, *answers}))
    place = {name: number for number, name in enumerate(names)}
    confusion = np.zeros((len(names), len(names)), np.int64)
    np.add.at(confusion, ([place[name] for name in truth], [place[name] for name in answers]), 1)
    return ClosedSet(names, confusion)


def _ratio(above: IntArray, below: IntArray) -> Float64Array:
    wide = above.astype(np.float64)
    return np.asarray(np.divide(wide, below, out=np.full(len(wide), np.nan), where=below > 0))
