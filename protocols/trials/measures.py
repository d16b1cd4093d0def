"""From scores to rows of a report: pooled, per generator, macro average and per data set, a value per trial."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fewshot.core.arrays import Float64Array, FloatArray, IntArray
from fewshot.embeddings.layer_key import LayerKey
from fewshot.protocols.trials.pool import EvaluationPool
from fewshot.protocols.trials.trials import Trials
from fewshot.results.row import ImageInterval, Row, Selection
from fewshot.stats.metrics import FEWEST_NATURAL, METRICS, Ranked, Tpr

POOLED, MACRO = "all", "macro"
TPR_AT_5 = "tpr_at_5_fpr"
QuerySetName = tuple[str, str]  # (data set, source)


@dataclass(frozen=True)
class RowFields:
    """What all rows of one way of scoring say alike.

    Args:
        key: backbone, layer and view; the layer is ``support-cv`` or ``oracle`` where one was chosen in every trial.
        head: the head's name.
        selection: how the layer was chosen.
        n_support: images that the head was fitted on. shots: of each class (or source).
        choices: what was chosen in every trial; empty when nothing was.
        members: what was fused, or among which one was chosen; else empty.
    """

    key: LayerKey
    head: str
    selection: Selection = "fixed"
    n_support: int = 0
    shots: int = 0
    choices: tuple[str, ...] = ()
    members: tuple[str, ...] = ()

    def chosen(self, selection: Selection, choices: Sequence[str]) -> "RowFields":
        """Return the same for the layer that a selection chose in every trial."""
        key = replace(self.key, layer=selection)
        return replace(self, key=key, selection=selection, choices=tuple(choices))

    def to_row(self) -> dict[str, Any]:
        """Return the fields of ``Row``."""
        return {
            "backbone": self.key.backbone,
            "layer": self.key.layer,
            "view": self.key.view,
            "head": self.head,
            "selection": self.selection,
            "n_support": self.n_support,
            "shots": self.shots,
            "choices": self.choices,
            "members": self.members,
        }


@dataclass(frozen=True)
class SetInterval:
    """The 95 % interval of one measure of one query set, and what it spans; NaN where none can be given."""

    low: float
    high: float
    kind: ImageInterval | None


@dataclass(frozen=True)
class Measures:
    """Every measure of one way of scoring, a value per trial.

    Args:
        values: (data set, source) -> metric -> (T,) float64; NaN where a trial has no such image left.
        queries: (data set, source) -> number of images queried, averaged over trials.
        naturals: (data set, source) -> how many of them are natural.
        intervals: (data set, source, metric) -> interval of the mean, where it is not Student's over the trials.
        scores: (T, n) that they are of, where such intervals may yet be wanted; else None.
    """

    values: Mapping[QuerySetName, Mapping[str, Float64Array]]
    queries: Mapping[QuerySetName, int]
    naturals: Mapping[QuerySetName, int]
    intervals: Mapping[tuple[str, str, str], SetInterval] = field(default_factory=dict)
    scores: FloatArray | None = None

    def scarcest(self, name: QuerySetName) -> int:
        """Return how many images a query set has of the class that has fewer."""
        return min(self.naturals[name], self.queries[name] - self.naturals[name])

    def pooled(self, metric: str = "auroc") -> Float64Array:
        """Return (T,) of the pooled query set."""
        return next(values[metric] for (_, source), values in self.values.items() if source == POOLED)

    def rows(self, fields: RowFields) -> list[Row]:
        """Return one row per query set and metric; ``fields`` are what the rows say beside their numbers."""
        return [
            Row(
                **fields.to_row(),
                dataset=dataset,
                source=source,
                metric=metric,
                n_query=self.queries[dataset, source],
                n_natural=self.naturals[dataset, source],
                values=tuple(float(value) for value in found),
                **self._interval(dataset, source, metric),
            )
            for (dataset, source), by_metric in self.values.items()
            for metric, found in by_metric.items()
        ]

    def _interval(self, dataset: str, source: str, metric: str) -> dict[str, Any]:
        found = self.intervals.get((dataset, source, metric))
        return {} if found is None else {"interval": (found.low, found.high), "interval_kind": found.kind}


def pick(candidates: Sequence[Measures], chosen: IntArray) -> Measures:
    """Return the measures of one candidate per trial: chosen (T,) numbers of candidates."""
    trials = np.arange(len(chosen))
    values = {
        name: {
            metric: np.stack([candidate.values[name][metric] for candidate in candidates])[chosen, trials]
            for metric in by_metric
        }
        for name, by_metric in candidates[0].values.items()
    }
    scores = [candidate.scores for candidate in candidates if candidate.scores is not None]
    taken = None
    if len(scores) == len(candidates):
        taken = np.stack([scores[number][trial] for number, trial in zip(chosen, trials, strict=True)])
    return Measures(values, candidates[0].queries, candidates[0].naturals, scores=taken)


def measure(
    trials: Trials, scores: FloatArray, *, tpr: Tpr = "at-most", fewest_natural: int = FEWEST_NATURAL
) -> Measures:
    """Measure the scores (T, n) of every trial on its own query set.

    Args:
        tpr: at which point of the ROC curve the TPR at 5 % FPR is read.
        fewest_natural: below so many natural images it is NaN.
    """
    names = _query_sets(trials.pool)
    rule = _TprRule(tpr, fewest_natural)
    found = [_measure_trial(trials.pool, names, drawn.query, scores[t], rule) for t, drawn in enumerate(trials.draws)]
    missing = (0, 0, dict.fromkeys(METRICS, float("nan")))
    of_trials = {name: [measured.get(name, missing) for measured in found] for name in names}
    return Measures(
        values={
            name: {metric: np.array([values[metric] for _, _, values in measured]) for metric in METRICS}
            for name, measured in of_trials.items()
        },
        queries={name: _mean([count for count, _, _ in measured]) for name, measured in of_trials.items()},
        naturals={name: _mean([natural for _, natural, _ in measured]) for name, measured in of_trials.items()},
    )


def _mean(counts: Sequence[int]) -> int:
    return round(float(np.mean(counts)))


@dataclass(frozen=True)
class _TprRule:
    """How the TPR at 5 % FPR is read, and of how many natural images at least."""

    at: Tpr
    fewest_natural: int

    def measures(self, part: Ranked, *, natural: int) -> dict[str, float]:
        values = {metric: part.measure(metric, tpr=self.at) for metric in METRICS}
        return values if natural >= self.fewest_natural else {**values, TPR_AT_5: float("nan")}


# Of one trial: images queried, how many of them are natural, and value by metric.
_Measured = dict[QuerySetName, tuple[int, int, dict[str, float]]]


def _measure_trial(
    pool: EvaluationPool, names: Sequence[QuerySetName], query: IntArray, scores: FloatArray, tpr: _TprRule
) -> _Measured:
    found: _Measured = {}
    for dataset in dict.fromkeys(dataset for dataset, _ in names):
        mine = query if dataset == pool.title else query[pool.dataset[query] == dataset]
        sources = [source for of, source in names if of == dataset]
        found.update(_measure_dataset(pool, dataset, sources, mine, scores, tpr))
    return found


def _measure_dataset(
    pool: EvaluationPool, dataset: str, sources: Sequence[str], query: IntArray, scores: FloatArray, tpr: _TprRule
) -> _Measured:
    """Return the measures of one data set's sources; none where the query lacks a class."""
    synthetic, source = pool.images.synthetic[query], pool.images.source[query]
    natural = int((~synthetic).sum())
    if natural == 0 or natural == len(query):
        return {}
    ranked = Ranked.of(scores[query], synthetic)
    found: _Measured = {}
    for name in sources:
        part = None if name == MACRO else _part(ranked, source[synthetic], name)
        if part is not None:
            found[dataset, name] = natural + len(part.synthetic), natural, tpr.measures(part, natural=natural)
    if MACRO in sources:
        each = [values for (_, name), (_, _, values) in found.items() if name != POOLED]
        whole = len(each) == len(set(sources) - {POOLED, MACRO})  # otherwise it would be the average of others
        means = {m: float(np.mean([values[m] for values in each])) if whole else float("nan") for m in METRICS}
        found[dataset, MACRO] = len(query), natural, means
    return found


def _part(ranked: Ranked, generators: NDArray[Any], source: str) -> Ranked | None:
    """Return one generator against all natural images; None when none of its images is queried."""
    if source == POOLED:
        return ranked
    chosen = generators == source
    return ranked.only(chosen) if chosen.any() else None


def _query_sets(pool: EvaluationPool) -> list[QuerySetName]:
    """The pooled set, its generators and their average when there are several; then each data set of several."""
    images = pool.images
    queried = np.ones(len(images), bool) if images.queries is None else images.queries
    generators = sorted({str(name) for name in images.source[queried & images.synthetic]})
    names = [(pool.title, POOLED), *((pool.title, name) for name in generators)]
    if len(generators) > 1:
        names.append((pool.title, MACRO))
    datasets = sorted({str(name) for name in pool.dataset[queried]})
    return names + [(name, POOLED) for name in datasets if len(datasets) > 1 and name != pool.title]
