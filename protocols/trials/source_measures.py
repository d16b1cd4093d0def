"""Measures of nearest-source answers: right sources, like neighbours, unknown images."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fewshot.core.arrays import BoolArray, Float64Array, FloatArray, IntArray
from fewshot.core.errors import InputError
from fewshot.embeddings.search.neighbours import TextArray


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
    column = {name: number for number, name in enumerate(names)}
    confusion = np.zeros((len(names), len(names)), np.int64)
    np.add.at(confusion, ([column[name] for name in truth], [column[name] for name in answers]), 1)
    return ClosedSet(names, confusion)


@dataclass(frozen=True)
class Homophily:
    """How often neighbours are of the same source, and how often they would be by chance.

    Args:
        observed: share of the edges (image, one of its k neighbours) within one source.
        null: its mean when the source names are dealt out anew over the same graph.
        null_sd: its standard deviation over the deals.
        p_value: (1 + deals at least as homophilous) / (deals + 1).
        each: source -> share of its images' neighbours that are its own.
    """

    observed: float
    null: float
    null_sd: float
    p_value: float
    each: dict[str, float]

    @property
    def adjusted(self) -> float:
        """0 at chance and 1 when every edge is within one source (Platonov et al. 2023, NeurIPS, equation 2)."""
        return (self.observed - self.null) / (1 - self.null) if self.null < 1 else float("nan")


def homophily(sources: TextArray, neighbours: IntArray, *, deals: int = 200, seed: int = 0) -> Homophily:
    """Measure the neighbour graph of some images against shuffled source names.

    Args:
        sources: (N,) source of every image.
        neighbours: (N, k) positions of each image's neighbours, itself not among them.
        deals: how often the names are dealt out anew.
    """
    names, code = np.unique(np.asarray(sources, dtype=str), return_inverse=True)
    same = code[neighbours] == code[:, None]
    generator = np.random.default_rng([seed, deals])
    chance = np.empty(deals)
    for deal in range(deals):
        dealt = generator.permutation(code)
        chance[deal] = (dealt[neighbours] == dealt[:, None]).mean()
    observed = float(same.mean())
    return Homophily(
        observed=observed,
        null=float(chance.mean()),
        null_sd=float(chance.std(ddof=1)),
        p_value=(1 + int((chance >= observed).sum())) / (deals + 1),
        each={str(name): float(same[code == number].mean()) for number, name in enumerate(names)},
    )


def unknown_auroc(known: FloatArray, unknown: FloatArray) -> float:
    """Return the chance that an unknown image's best score lies below a known one's, ties half.

    Args:
        known: (n,) best scores of images of known sources, larger = nearer.
        unknown: (m,) best scores of images of a source that was left out.
    """
    return open_set_rate(known, np.ones(len(known), bool), unknown)


def open_set_rate(known: FloatArray, right: BoolArray, unknown: FloatArray) -> float:
    """Return the open-set classification rate: the area under correct answers against false knowns.

    At a threshold, an image of a known source counts when it lies above and its source is right; an unknown one is
    false when it lies above (Dhamija, Guenther and Boult 2018, "Reducing network agnostophobia", section 3.2). The area
    is the chance that a known image is right and lies above an unknown one, ties half.

    Args:
        known, unknown: best scores, as in ``unknown_auroc``.
        right: (n,) bool, whether each known image was given to its true source.
    """
    if not len(known) or not len(unknown):
        raise InputError(f"{len(known)} known and {len(unknown)} unknown images: both are needed")
    ordered = np.sort(unknown)
    below = np.searchsorted(ordered, known[right], side="left")
    upto = np.searchsorted(ordered, known[right], side="right")
    return float((below + upto).sum() / (2 * len(known) * len(unknown)))


def _ratio(above: IntArray, below: IntArray) -> Float64Array:
    wide = above.astype(np.float64)
    return np.asarray(np.divide(wide, below, out=np.full(len(wide), np.nan), where=below > 0))
