"""One line of a report: a measure of one head on one query set, with a value per trial."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from fewshot.stats.intervals import ENOUGH_DRAWS, Interval, Summary, draws_interval, summarise

FLIP_RATE = "flip_rate"  # the metric: share of verdicts that a view changes
WEIGHT = "weight"  # the metric: how much a head over several backbones takes of one of them, by the support alone
FUSED, ONE = "fused", "one"  # the backbones of rows that several make: all of them together, and one of them chosen
# How tables head the measures whose names are long.
SHORT_TITLES = {"auroc": "AUROC", "average_precision": "AP", "tpr_at_5_fpr": "TPR@5%FPR"}
PRETRAINED = "pretrained"  # the name, in a report, of the head that came with a checkpoint

Selection = Literal["fixed", "support-cv", "oracle"]
ImageInterval = Literal["two-way", "delong"]  # what an interval spans that is not over the draws alone


@dataclass(frozen=True)
class Row:
    """One measure of one head on one query set, a value per trial.

    Args:
        selection: how the layer was chosen: ``fixed``, ``support-cv`` or (on query labels) ``oracle``.
        head: the head's name; ``pretrained`` is the one that came with the checkpoint, read from the store.
        dataset: the data set queried, or ``A -> B`` when the support came from A.
        source: ``"all"`` for the pooled query set, ``"macro"`` for the mean over generators, else the generator
            that stands against all natural images.
        shots: labelled images per class (or per source); None where ``fraction`` is given.
        fraction: share of the training set used; None where ``shots`` is given.
        n_query: images queried, averaged over trials. n_natural: how many of them are natural; None where no class is
            asked for, and in reports from before it was recorded.
        values: one value per trial; NaN where a trial has none.
        interval: low and high of the mean where not Student's over the trials; NaN where none can be given.
        interval_kind: what that interval spans: ``two-way`` draws and images, ``delong`` the images of a single draw.
        choices: what was chosen in every trial (layers, k, backbones) when it was not the same for all; else empty.
        members: ``backbone/layer`` of everything that was fused, or among which one was chosen; else empty.
    """

    backbone: str
    layer: str
    selection: Selection
    head: str
    dataset: str
    source: str
    metric: str
    n_support: int
    n_query: int
    values: tuple[float, ...]
    shots: int | None = None
    fraction: float | None = None
    view: str = "clean"
    choices: tuple[str, ...] = ()
    interval: tuple[float, float] | None = None
    n_natural: int | None = None
    interval_kind: ImageInterval | None = None
    members: tuple[str, ...] = ()

    @property
    def key(self) -> tuple[Any, ...]:
        """What the row is about: everything but its numbers."""
        return (*self.setting, self.metric)

    @property
    def setting(self) -> tuple[Any, ...]:
        """What the row is about, whatever the metric."""
        size = self.shots if self.fraction is None else self.fraction
        return (self.backbone, self.layer, self.selection, self.head, self.dataset, self.source, size, self.view)

    @property
    def scarcest(self) -> int | None:
        """Images queried of the class that has fewer; None where the classes are not known."""
        return None if self.n_natural is None else min(self.n_natural, self.n_query - self.n_natural)

    def summary(self, *, ddof: int = 1) -> Summary:
        """Return mean, sd, interval and range over the trials; there is no interval of fewer than ten."""
        interval = draws_interval(self.values) if self.interval is None else Interval(*self.interval)
        return replace(summarise(self.values, ddof=ddof), low=interval.low, high=interval.high)

    @property
    def spread(self) -> tuple[float, float]:
        """Between which values draws landed: nine of ten of them, or all where there are fewer than ten."""
        known = [value for value in self.values if not np.isnan(value)]
        if not known:
            return float("nan"), float("nan")
        ends = np.percentile(known, [5, 95]) if len(known) >= ENOUGH_DRAWS else (min(known), max(known))
        return float(ends[0]), float(ends[1])


def spread_in_words(rows: Sequence[Row]) -> str:
    """Return what ``spread`` is of some rows, for a caption: ``nine draws of ten``, ``all 3 draws``, ``one draw``."""
    most = max((len(row.values) for row in rows), default=0)
    if most >= ENOUGH_DRAWS:
        return "nine draws of ten"
    return "one draw" if most < 2 else f"all {most} draws"
