"""From scores to rows of a report: pooled, per generator, macro average and per data set, a value per trial."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fewshot.core.arrays import BoolArray, Float64Array, FloatArray, IntArray
from fewshot.core.errors import OptionError
from fewshot.draws.episodes import Draw
from fewshot.protocols.trials.pool import EvaluationPool
from fewshot.results.row import Row, Selection
from fewshot.stats.intervals import Interval, delong_interval
from fewshot.stats.metrics import METRICS, Ranked, Tpr
from fewshot.stats.two_way import TrialMasks, two_way_bootstrap

Kind = Literal["trials", "two-way", "delong"]
POOLED, MACRO = "all", "macro"
Place = tuple[str, str]  # (data set, source)


@dataclass(frozen=True)
class Measures:
    """Every measure of one way of scoring, a value per trial.

    Args:
        values: (data set, source) -> metric -> (T,) float64; NaN where a trial has no such image left.
        queries: (data set, source) -> number of images queried, averaged over trials.
    """

    values: Mapping[Place, Mapping[str, Float64Array]]
    queries: Mapping[Place, int]
    intervals: Mapping[Place, Interval] = field(default_factory=dict)

    def pooled(self, metric: str = "auroc") -> Float64Array:
        """Return (T,) of the pooled query set."""
        return next(values[metric] for (_, source), values in self.values.items() if source == POOLED)

    def rows(self, facts: Mapping[str, Any], *, choices: Sequence[str] = ()) -> list[Row]:
        """Return one row per place and metric; ``facts`` are the row's other fields."""
        return [
            Row(
                **facts,
                dataset=dataset,
                source=source,
                metric=metric,
                n_query=self.queries[dataset, source],
                values=tuple(float(value) for value in found),
                choices=tuple(choices),
                interval=self._interval((dataset, source), metric),
            )
            for (dataset, source), by_metric in self.values.items()
            for metric, found in by_metric.items()
        ]

    def _interval(self, place: Place, metric: str) -> tuple[float, float] | None:
        found = self.intervals.get(place) if metric == "auroc" else None
        return None if found is None else (found.low, found.high)


def with_intervals(
    measures: Measures,
    pool: EvaluationPool,
    draws: Sequence[Draw],
    scores: FloatArray,
    *,
    kind: Kind,
    shots: int,
    seed: int,
) -> Measures:
    """Return the measures with other intervals of the AUROC: pooled, and each generator against all natural images.

    Args:
        kind: ``two-way`` over draws and images, or ``delong`` over the query images of a single draw.
        shots: the shot count that the scores are of.
        seed: of the bootstrap.

    Raises:
        OptionError: DeLong of several trials.
    """
    if kind == "delong" and len(draws) > 1:
        raise OptionError(f"--interval delong is of a single draw, and there are {len(draws)}; add --trials 1")
    asked, support = query_mask(pool, draws), support_mask(pool, draws, shots)
    found = {}
    for dataset, source in measures.values:
        if dataset != pool.title or source == MACRO:
            continue
        kept = ~pool.images.synthetic | (pool.images.source == source) | (source == POOLED)
        query, synthetic = asked & kept, pool.images.synthetic
        if kind == "two-way":
            found[dataset, source] = two_way_bootstrap(scores, TrialMasks(query, synthetic, support), seed=seed)
        else:
            sides = (scores[0, query[0] & (synthetic == side)].astype(np.float64) for side in (False, True))
            found[dataset, source] = delong_interval(*sides)
    return replace(measures, intervals=found)


def query_mask(pool: EvaluationPool, draws: Sequence[Draw]) -> BoolArray:
    """Return (T, n) bool: the images of the pool that each trial asks."""
    return _mask(pool, [drawn.query for drawn in draws])


def support_mask(pool: EvaluationPool, draws: Sequence[Draw], shots: int) -> BoolArray:
    """Return (T, n) bool: the images of the pool that each trial is fitted on."""
    return _mask(pool, [drawn.support(shots) for drawn in draws])


def _mask(pool: EvaluationPool, chosen: Sequence[IntArray]) -> BoolArray:
    mask = np.zeros((len(chosen), len(pool.images)), bool)
    for trial, rows in enumerate(chosen):
        mask[trial, rows] = True
    return mask


def pick(candidates: Sequence[Measures], chosen: IntArray) -> Measures:
    """Return the measures of one candidate per trial: chosen (T,) numbers of candidates."""
    trials = np.arange(len(chosen))
    values = {
        place: {
            metric: np.stack([candidate.values[place][metric] for candidate in candidates])[chosen, trials]
            for metric in by_metric
        }
        for place, by_metric in candidates[0].values.items()
    }
    return Measures(values, candidates[0].queries)


def measure(pool: EvaluationPool, draws: Sequence[Draw], scores: FloatArray, *, tpr: Tpr = "at-most") -> Measures:
    """Measure the scores (T, n) of every trial on its own query set."""
    places = _places(pool)
    values = {place: {metric: np.full(len(draws), np.nan) for metric in METRICS} for place in places}
    counts = {place: np.zeros(len(draws)) for place in places}
    for trial, drawn in enumerate(draws):
        for dataset in dict.fromkeys(dataset for dataset, _ in places):
            _measure_one(pool, dataset, drawn.query, scores[trial], trial, tpr, values, counts)
    return Measures(values, {place: round(float(count.mean())) for place, count in counts.items()})


def _measure_one(
    pool: EvaluationPool,
    dataset: str,
    query: IntArray,
    scores: FloatArray,
    trial: int,
    tpr: Tpr,
    values: Mapping[Place, Mapping[str, Float64Array]],
    counts: Mapping[Place, Float64Array],
) -> None:
    if dataset != pool.title:
        query = query[pool.dataset[query] == dataset]
    synthetic, source = pool.images.synthetic[query], pool.images.source[query]
    natural, generators = int((~synthetic).sum()), source[synthetic]
    if natural == 0 or natural == len(query):
        return
    ranked = Ranked.of(scores[query], synthetic)
    for place in values:
        if place[0] != dataset or place[1] == MACRO:
            continue
        part, count = _part(ranked, generators, place[1])
        if count:
            counts[place][trial] = natural + count
            for metric, found in values[place].items():
                found[trial] = part.measure(metric, tpr=tpr)
    if (dataset, MACRO) in values:
        each = [place for place in values if place[0] == dataset and place[1] not in (POOLED, MACRO)]
        counts[dataset, MACRO][trial] = len(query)
        for metric, found in values[dataset, MACRO].items():
            found[trial] = np.nanmean([values[place][metric][trial] for place in each])


def _part(ranked: Ranked, generators: NDArray[Any], source: str) -> tuple[Ranked, int]:
    if source == POOLED:
        return ranked, len(generators)
    chosen = generators == source
    count = int(chosen.sum())
    return (ranked.only(chosen) if count else ranked), count


def _places(pool: EvaluationPool) -> list[Place]:
    """The pooled set, its generators and their average when there are several; then each data set of several."""
    images = pool.images
    asked = np.ones(len(images), bool) if images.queries is None else images.queries
    names = sorted({str(name) for name in images.source[asked & images.synthetic]})
    places = [(pool.title, POOLED), *((pool.title, name) for name in names)]
    if len(names) > 1:
        places.append((pool.title, MACRO))
    datasets = sorted({str(name) for name in pool.dataset[asked]})
    return places + [(name, POOLED) for name in datasets if len(datasets) > 1 and name != pool.title]


def facts(*, backbone: str, layer: str, selection: Selection, head: str, n_support: int, shots: int) -> dict[str, Any]:
    """Return the fields of a row that do not depend on the query."""
    return {
        "backbone": backbone,
        "layer": layer,
        "selection": selection,
        "head": head,
        "n_support": n_support,
        "shots": shots,
    }
