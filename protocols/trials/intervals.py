"""Which 95 % interval a query set gets, and its computation: over draws, over draws and images, over images."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Literal

import numpy as np

from fewshot.core.arrays import BoolArray, FloatArray
from fewshot.core.errors import OptionError
from fewshot.protocols.trials.measures import MACRO, POOLED, Measures, QuerySetName, SetInterval
from fewshot.protocols.trials.trials import Trials
from fewshot.stats.intervals import ENOUGH_DRAWS, delong_interval
from fewshot.stats.two_way import two_way_bootstrap

Kind = Literal["trials", "two-way", "delong"]
IntervalKind = Literal["auto", Kind]
FEW_IMAGES = 30  # of the scarcer class; with fewer, draws from the same images say next to nothing of other images
# Where the simulation of docs/experiments/coverage.md found 93 to 97 %:
NEAR_ONE = 0.98
NEAR_ONE_OF_FEW = 0.9  # with fewer than MANY_TRIALS
NEAR_ONE_OF_TWO_WAY = 0.995
ENOUGH_TRIALS, MANY_TRIALS = 30, 100
LEAST_IMAGES = 10
LEAST_ERRORS = 2.0  # images of the scarcer class on the wrong side, about, for DeLong's interval


def kind_of(wanted: IntervalKind, *, scarcest: int, draws: int) -> Kind:
    """Return the kind of interval that a query set gets.

    Args:
        wanted: ``auto`` for two-way below thirty images of the scarcer class, over the draws from there, DeLong's of a
            single draw.
        scarcest: images queried of the class that has fewer.
        draws: how many there are; below ten no interval spans them.
    """
    if wanted != "auto":
        return wanted
    if draws == 1:
        return "delong"
    return "two-way" if scarcest < FEW_IMAGES and draws >= ENOUGH_DRAWS else "trials"


def with_intervals(
    measures: Measures, trials: Trials, scores: FloatArray, *, wanted: IntervalKind, shots: int, seed: int
) -> Measures:
    """Return the measures with the intervals that are not over the draws alone.

    They are of the AUROC: of all images, of each generator against all naturals, and of each data set. Where ``auto``
    has found the images too few, other measures and the average over generators have none.

    Args:
        scores: (T, n).
        wanted: see ``kind_of``.
        shots: the shot count that the scores are of; 0 for a head without a support.
        seed: of the bootstrap.

    Raises:
        OptionError: DeLong of several trials.
    """
    if wanted == "delong" and len(trials) > 1:
        raise OptionError(f"--interval delong is of a single draw, and there are {len(trials)}; add --trials 1")
    found: dict[tuple[str, str, str], SetInterval] = {}
    for name in measures.values:
        kind = kind_of(wanted, scarcest=measures.scarcest(name), draws=len(trials))
        if kind == "trials" or name[1] == MACRO:
            continue
        if wanted != "auto" or kind != "delong" or _delong_covers(measures, name):
            found[*name, "auroc"] = _interval(measures, trials, scores, name, kind, shots=shots, seed=seed)
    return replace(measures, intervals=found | dict(_withheld(measures, trials, wanted, known=set(found))))


def _delong_covers(measures: Measures, name: QuerySetName) -> bool:
    """Return whether DeLong's interval of a single draw can be relied on; where not, ``auto`` gives none."""
    (auroc,) = measures.values[name]["auroc"]
    return covers("delong", float(auroc), trials=1, scarcest=measures.scarcest(name))


def spans_images(measures: Measures, trials: Trials, wanted: IntervalKind) -> bool:
    """Return whether some query set gets an interval that is computed from scores."""
    kinds = (kind_of(wanted, scarcest=measures.scarcest(name), draws=len(trials)) for name in measures.values)
    return any(kind != "trials" for kind in kinds)


def _interval(
    measures: Measures, trials: Trials, scores: FloatArray, name: QuerySetName, kind: Kind, *, shots: int, seed: int
) -> SetInterval:
    masks, chosen = trials.masks(shots), _images(trials, name)
    if kind == "two-way":
        found = two_way_bootstrap(scores, replace(masks, query=masks.query & chosen), seed=seed)
        return SetInterval(found.low, found.high, "two-way")
    rows = [np.flatnonzero(masks.query[0] & chosen & (masks.synthetic == side)) for side in (False, True)]
    if min(map(len, rows)) < 2:
        return SetInterval(float("nan"), float("nan"), "delong")
    found = delong_interval(*(scores[0, side].astype(np.float64) for side in rows))
    return SetInterval(found.low, found.high, "delong")


def _images(trials: Trials, name: QuerySetName) -> BoolArray:
    """Return (n,) bool: the images of the pool that belong to a query set."""
    (dataset, source), pool = name, trials.pool
    chosen = ~pool.images.synthetic | (pool.images.source == source) | (source == POOLED)
    return np.asarray(chosen & ((pool.dataset == dataset) | (dataset == pool.title)), dtype=bool)


def _withheld(
    measures: Measures, trials: Trials, wanted: IntervalKind, *, known: set[tuple[str, str, str]]
) -> Iterator[tuple[tuple[str, str, str], SetInterval]]:
    """Yield "none" for what ``auto`` has no interval of other images for, so that none over draws stands there."""
    if wanted != "auto" or len(trials) < ENOUGH_DRAWS:
        return  # so few draws have no interval anyway
    small = {name for name in measures.values if measures.scarcest(name) < FEW_IMAGES}
    small |= {(dataset, MACRO) for dataset, source in small if (dataset, MACRO) in measures.values}
    for name in small:
        for metric in measures.values[name]:
            if (*name, metric) not in known:
                yield (*name, metric), SetInterval(float("nan"), float("nan"), None)


def covers(kind: Kind, auroc: float, *, trials: int, scarcest: float) -> bool:
    """Return whether a 95 % interval covered 93 to 97 % in simulation; see ``benchmarks/coverage.py``.

    Args:
        auroc: the mean that the interval is of.
        trials: number of draws.
        scarcest: number of queried images of the class that has fewer.
    """
    if kind == "delong":
        return scarcest * (1 - auroc) >= LEAST_ERRORS
    if kind == "two-way":
        return auroc <= NEAR_ONE_OF_TWO_WAY and trials >= MANY_TRIALS and scarcest >= LEAST_IMAGES
    return trials >= ENOUGH_TRIALS and auroc <= (NEAR_ONE if trials >= MANY_TRIALS else NEAR_ONE_OF_FEW)
