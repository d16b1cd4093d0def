"""Every source known: which source each image is given to, itself left out, and how alike neighbours are."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fewshot.core.arrays import Float64Array, IntArray
from fewshot.embeddings.search.neighbours import vote
from fewshot.protocols.sources.searched_store import SearchedStore
from fewshot.protocols.trials.source_measures import ClosedSet, Homophily, closed_set, homophily
from fewshot.results.row import Row


@dataclass(frozen=True)
class KnownSources:
    """Leave-one-out answers.

    Args:
        queries: (q,) positions in the index.
        answers: (q,) the source that each is given to. scores: (q,) of its nearest image.
        closed: how often they are right.
        graph: homophily of the neighbour graph of all images.
    """

    queries: IntArray
    answers: NDArray[Any]
    scores: Float64Array
    closed: ClosedSet
    graph: Homophily


def known_sources(searched: SearchedStore) -> KnownSources:
    """Answer every image (or as many as are queried) by its nearest others."""
    index = searched.index
    everything = np.arange(len(index))
    queries = searched.some(everything, 0)
    found = searched.nearest(queries)
    truth, answers = index.sources[queries], vote(found, index.counts).best
    graph = found if len(queries) == len(index) else searched.nearest(everything)
    neighbours = np.searchsorted(index.rows, graph.rows)
    return KnownSources(
        queries=queries,
        answers=answers,
        scores=found.scores[:, 0],
        closed=closed_set(list(truth), list(answers)),
        graph=homophily(index.sources, neighbours, seed=searched.settings.seed),
    )


def known_source_rows(searched: SearchedStore, found: KnownSources) -> Iterator[Row]:
    """Yield accuracy, F1 and homophily: pooled, and of each source."""
    closed, graph, images = found.closed, found.graph, len(searched.index)
    pooled = {
        "source_accuracy": closed.accuracy,
        "balanced_source_accuracy": closed.balanced_accuracy,
        "macro_f1": closed.macro_f1,
        "homophily": graph.observed,
        "homophily_null": graph.null,
        "homophily_p_value": graph.p_value,
        "adjusted_homophily": graph.adjusted,
    }
    yield from searched.rows("all", _single(pooled), n_support=images, n_query=closed.queries)
    for number, (name, recall, f1) in enumerate(zip(closed.names, closed.recall, closed.f1, strict=True)):
        own = {"source_accuracy": recall, "f1": f1, "homophily": graph.each[name]}
        queries = int(closed.confusion[number].sum())
        yield from searched.rows(name, _single(own), n_support=images, n_query=queries)


def _single(values: Mapping[str, float]) -> dict[str, tuple[float, ...]]:
    return {metric: (float(value),) for metric, value in values.items()}
