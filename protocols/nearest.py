"""Nearest sources as an experiment: which generator an image comes from, from how few images, and is it a known one."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any, ClassVar, final

import numpy as np

from fewshot.audit import confound_warning
from fewshot.core.arrays import Float64Array, IntArray
from fewshot.core.errors import EpisodeError
from fewshot.core.provenance import provenance
from fewshot.embeddings.search.exact import exact_scores
from fewshot.embeddings.search.index import SourceIndex
from fewshot.embeddings.search.indexed_layer import Metric
from fewshot.embeddings.search.neighbours import Neighbours, vote
from fewshot.embeddings.search.openset import KnownScores, require_rate
from fewshot.embeddings.search.query import own_rows
from fewshot.embeddings.store.reader import FeatureStore
from fewshot.protocols.base import Protocol
from fewshot.protocols.trials.source_measures import ClosedSet as ClosedSet
from fewshot.protocols.trials.source_measures import Homophily, homophily, open_set_rate, unknown_auroc
from fewshot.protocols.trials.source_measures import closed_set as closed_set
from fewshot.results.report import Confusion, Report, Row

_LEAST_QUERIES = 10  # of a new source, beyond its shots


@dataclass(frozen=True)
class NearestResult:
    """A report, with the confusion and the neighbour graph that its numbers come from."""

    report: Report
    closed: ClosedSet
    graph: Homophily


@final
@dataclass(frozen=True)
class Nearest(Protocol):
    """Attribution by nearest neighbours on the images of one store, every image in turn being the query.

    Nothing is fitted: a new source is known as soon as its images are rows of the index.

    Args:
        backbone, layer, view: whose features; the only backbone and its default layer when None.
        where: which images take part.
        group: images that share this column's value are no answer to each other.
        metric: how nearness is measured. k: neighbours that vote.
        shots: sizes of a new source's support. trials: draws.
        rate: stated share of known images that may be called unknown.
        most_queries: at most this many queries of a kind, drawn by ``seed``.
    """

    name: ClassVar[str] = "nearest"

    backbone: str | None = None
    layer: str | None = None
    view: str = "clean"
    where: Mapping[str, str] = field(default_factory=dict)
    group: str | None = None
    metric: Metric = "cosine"
    k: int = 5
    shots: tuple[int, ...] = (1, 5, 10, 50)
    trials: int = 20
    rate: float = 0.05
    most_queries: int = 1000
    seed: int = 0

    def run(self, store: FeatureStore) -> Report:
        """Return accuracy, homophily, few-shot attribution of each source, and open-set measures of each left out.

        Raises:
            EpisodeError: fewer than two sources, or no source has images enough for the smallest support.
        """
        return self.measure(store).report

    def measure(self, store: FeatureStore) -> NearestResult:
        """Return the report together with what a figure needs; raises as ``run`` does."""
        require_rate(self.rate)
        experiment = _Experiment(self, store)
        closed, graph = experiment.closed()
        rows = [*experiment.closed_rows(closed, graph), *experiment.new_source_rows(), *experiment.open_set_rows()]
        report = Report(
            protocol=self.name,
            config={**asdict(self), "where": dict(self.where), "shots": list(self.shots)},
            rows=tuple(rows),
            supports=experiment.supports,
            warnings=tuple(experiment.warnings()),
            provenance={
                **provenance(),
                "store": str(store.path),
                "layers": {
                    f"{experiment.index.info.backbone}/{experiment.index.info.layer}": experiment.index.info.digest
                },
            },
            confusion=Confusion(closed.names, tuple(tuple(map(int, row)) for row in closed.confusion)),
        )
        return NearestResult(report, closed, graph)


class _Experiment:
    """One run: the index, and what is computed on it once."""

    def __init__(self, protocol: Nearest, store: FeatureStore) -> None:
        self.protocol, self.store = protocol, store
        self.index = SourceIndex(
            store,
            backbone=protocol.backbone,
            layer=protocol.layer,
            view=protocol.view,
            metric=protocol.metric,
            where=protocol.where or None,
        )
        self.names = tuple(self.index.counts)
        if len(self.names) < 2:
            raise EpisodeError(
                f"{store.path}: nearest sources need at least two sources, and there is {', '.join(self.names)}; "
                f"loosen --where or embed more"
            )
        self.own = own_rows(store, store, self.index.rows, group=protocol.group)
        self.supports: dict[str, list[str]] = {}

    def warnings(self) -> Iterator[str]:
        if told := confound_warning(self.store, self.index.rows):
            yield told
        for name in self.names:
            sizes = self._sizes(name)
            if len(sizes) < len(self.protocol.shots):
                yield (
                    f"{name} has {self.index.counts[name]} images: as a new source it is tried with "
                    f"{' and '.join(map(str, sizes)) or 'no'} shots only"
                )
        if len(self.names) < 3:
            yield "two sources only: no open-set measures, since leaving one out leaves one"

    # -- closed set ------------------------------------------------------------------------------------------------

    def closed(self) -> tuple[ClosedSet, Homophily]:
        """Return the leave-one-out answers of all queries, and the homophily of their neighbour graph."""
        queries = self._some(np.arange(len(self.index)), 0)
        found = self._nearest(queries, None)
        truth, answers = self.index.sources[queries], vote(found, self.index.counts).best
        every = len(queries) == len(self.index)
        graph = found if every else self._nearest(np.arange(len(self.index)), None)
        neighbours = np.searchsorted(self.index.rows, graph.rows)
        return closed_set(list(truth), list(answers)), homophily(
            self.index.sources, neighbours, seed=self.protocol.seed
        )

    def closed_rows(self, closed: ClosedSet, graph: Homophily) -> Iterator[Row]:
        pooled = {
            "source_accuracy": closed.accuracy,
            "balanced_source_accuracy": closed.balanced_accuracy,
            "macro_f1": closed.macro_f1,
            "homophily": graph.observed,
            "homophily_null": graph.null,
            "homophily_p_value": graph.p_value,
            "adjusted_homophily": graph.adjusted,
        }
        rows = len(self.index)
        for metric, value in pooled.items():
            yield self._row("all", metric, (value,), n_support=rows, n_query=closed.queries)
        for name, recall, f1 in zip(closed.names, closed.recall, closed.f1, strict=True):
            images = int(closed.confusion[closed.names.index(name)].sum())
            for metric, value in (("source_accuracy", recall), ("f1", f1), ("homophily", graph.each[name])):
                yield self._row(name, metric, (float(value),), n_support=rows, n_query=images)

    # -- a new source from a few images ----------------------------------------------------------------------------

    def new_source_rows(self) -> Iterator[Row]:
        """Yield, for each source as the new one and each number of shots, how well its other images are found.

        ``new_source_recall`` is the share of its images that are given to it, ``new_source_false_rate`` the share of
        the other sources' images that are.
        """
        recalls: dict[int, list[Float64Array]] = {}
        falses: dict[int, list[Float64Array]] = {}
        for name in self.names:
            for shots, values in self._new_source(name, self._sizes(name)).items():
                recalls.setdefault(shots, []).append(values[:, 0])
                falses.setdefault(shots, []).append(values[:, 1])
                queries = self.index.counts[name] - max(self._sizes(name))
                yield from self._new_rows(name, shots, values[:, 0], values[:, 1], queries)
        if not recalls:
            least = min(self.protocol.shots)
            raise EpisodeError(
                f"no source of {self.store.path} has {least + _LEAST_QUERIES} images, which {least} shots and "
                f"{_LEAST_QUERIES} queries need; lower --shots"
            )
        for shots in recalls:
            pooled = np.mean(recalls[shots], axis=0), np.mean(falses[shots], axis=0)
            yield from self._new_rows("macro", shots, *pooled, len(self.index))

    def _sizes(self, name: str) -> list[int]:
        """Return the supports that leave a source images enough to ask for, ascending."""
        return sorted(shots for shots in self.protocol.shots if shots + _LEAST_QUERIES <= self.index.counts[name])

    def _new_rows(
        self, name: str, shots: int, recall: Float64Array, false: Float64Array, queries: int
    ) -> Iterator[Row]:
        for metric, values in (("new_source_recall", recall), ("new_source_false_rate", false)):
            listed = tuple(float(value) for value in values)
            yield self._row(name, metric, listed, n_support=shots, n_query=queries, shots=shots)

    def _new_source(self, name: str, sizes: list[int]) -> dict[int, Float64Array]:
        """Return {shots: (trials, 2) recall and false rate}; all sizes of a trial share its queries."""
        if not sizes:
            return {}
        inside = np.flatnonzero(self.index.sources == name)
        others = self._some(np.flatnonzero(self.index.sources != name), 1)
        place = self.names.index(name)
        draws = [
            np.random.default_rng([self.protocol.seed, trial, place]).permutation(inside)[: sizes[-1]]
            for trial in range(self.protocol.trials)
        ]
        for trial, drawn in enumerate(draws):
            self.supports[f"{name}:{trial}"] = [str(key) for key in self.store.column("key")[self.index.rows[drawn]]]
        pool = np.unique(np.concatenate(draws))
        queries = np.concatenate([self._some(inside, 2), others])
        elsewhere = self._nearest(queries, self.index.sources != name)
        likeness = self._scores(queries, pool)
        is_new = self.index.sources[queries] == name
        found: dict[int, list[tuple[float, float]]] = {shots: [] for shots in sizes}
        for drawn in draws:
            barred = np.isin(queries, drawn)
            for shots in sizes:
                columns = np.searchsorted(pool, drawn[:shots])
                answers = self._with_shots(name, elsewhere, likeness[:, columns], self.index.rows[drawn[:shots]])
                said = answers == name
                found[shots].append((float(said[is_new & ~barred].mean()), float(said[~is_new].mean())))
        return {shots: np.array(values) for shots, values in found.items()}

    def _with_shots(self, name: str, elsewhere: Neighbours, likeness: Float64Array, rows: IntArray) -> Any:
        """Return the answers (Q,) when ``rows`` of the new source join the rows of all others."""
        scores = np.hstack([elsewhere.scores, likeness])
        every = np.hstack([elsewhere.rows, np.broadcast_to(rows, likeness.shape)])
        new = np.full(likeness.shape, name, dtype=object)
        sources = np.hstack([elsewhere.sources, new])
        order = np.lexsort((every, -scores), axis=-1)[:, : elsewhere.rows.shape[1]]
        merged = Neighbours(
            scores=np.take_along_axis(scores, order, 1),
            rows=np.take_along_axis(every, order, 1),
            sources=np.take_along_axis(sources, order, 1),
        )
        return vote(merged, {**self.index.counts, name: len(rows)}).best

    def _scores(self, queries: IntArray, pool: IntArray) -> Float64Array:
        """Return (Q, P) scores of queries against rows of the new source; -inf where one is no answer to the other."""
        prepared = self.index.indexed.prepared(self.index.features(queries))
        candidates = np.broadcast_to(pool, (len(queries), len(pool)))
        scores = exact_scores(self.index.indexed.gather, prepared, candidates, metric=self.index.metric)
        for number, query in enumerate(queries):
            scores[number, np.isin(self.index.rows[pool], self.own[query])] = -np.inf
        return scores

    # -- open set --------------------------------------------------------------------------------------------------

    def open_set_rows(self) -> Iterator[Row]:
        """Yield, for each source left out of the index, how well its images are told from those of the others."""
        collected: dict[str, list[tuple[float, ...]]] = {}
        for name in self.names if len(self.names) > 2 else ():
            inside = self.index.sources == name
            known = self._some(np.flatnonzero(~inside), 3)
            unknown = self._some(np.flatnonzero(inside), 4)
            of_known, of_unknown = self._nearest(known, ~inside), self._nearest(unknown, ~inside)
            right = vote(of_known, self.index.counts).best == self.index.sources[known]
            near, far = of_known.scores[:, 0], of_unknown.scores[:, 0]
            false, detected = zip(*self._halves(near, far), strict=True)
            measured = {
                "unknown_auroc": (unknown_auroc(near, far),),
                "open_set_rate": (open_set_rate(near, np.asarray(right, bool), far),),
                "false_unknown_rate": false,
                "unknown_rate": detected,
            }
            for metric, values in measured.items():
                collected.setdefault(metric, []).append(values)
                yield self._row(name, metric, values, n_support=int((~inside).sum()), n_query=len(unknown))
        for metric, lines in collected.items():
            values = tuple(float(value) for value in np.mean(lines, axis=0))
            yield self._row("macro", metric, values, n_support=len(self.index), n_query=len(self.index))

    def _halves(self, near: Float64Array, far: Float64Array) -> Iterator[tuple[float, float]]:
        """Yield (false-unknown rate, unknown rate) of thresholds calibrated on one half of the known images."""
        for trial in range(self.protocol.trials):
            order = np.random.default_rng([self.protocol.seed, trial, len(near)]).permutation(len(near))
            half = len(near) // 2
            known = KnownScores(np.sort(near[order[:half]]))
            yield (
                float(known.unknown(near[order[half:]], rate=self.protocol.rate).mean()),
                float(known.unknown(far, rate=self.protocol.rate).mean()),
            )

    # -- shared ----------------------------------------------------------------------------------------------------

    def _nearest(self, queries: IntArray, among: Any) -> Neighbours:
        left_out = [self.own[query] for query in queries]
        return self.index.nearest(self.index.features(queries), self.protocol.k, leave_out=left_out, allowed=among)

    def _some(self, positions: IntArray, purpose: int) -> IntArray:
        most = self.protocol.most_queries
        if len(positions) <= most:
            return positions
        generator = np.random.default_rng([self.protocol.seed, purpose, len(positions)])
        return np.sort(generator.choice(positions, most, replace=False))

    @cached_property
    def _dataset(self) -> str:
        named = sorted(set(map(str, self.store.column("dataset")[self.index.rows])) - {""})
        return ", ".join(named) or self.store.path.stem

    def _row(
        self,
        source: str,
        metric: str,
        values: tuple[float, ...],
        *,
        n_support: int,
        n_query: int,
        shots: int | None = None,
    ) -> Row:
        return Row(
            backbone=self.index.info.backbone,
            layer=self.index.info.layer,
            selection="fixed",
            head="nearest",
            dataset=self._dataset,
            source=source,
            metric=metric,
            n_support=n_support,
            n_query=n_query,
            values=values,
            shots=shots,
            view=self.index.info.view,
        )
