"""One source new: how well its other images are found once a few of them are rows of the index, nothing refitted."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from fewshot.core.arrays import Float64Array, IntArray
from fewshot.core.errors import EpisodeError
from fewshot.core.progress import Progress
from fewshot.embeddings.search.exact import exact_scores
from fewshot.embeddings.search.neighbours import Neighbours, vote
from fewshot.protocols.sources.searched_store import LEAST_QUERIES, SearchedStore
from fewshot.results.row import Row


@dataclass(frozen=True)
class NewSource:
    """One source as the new one.

    Args:
        name: the source.
        supports: (shots,) int64 positions in the index per trial, the largest count; smaller ones are prefixes.
        recall: shots -> (T,) share of its other images that are given to it.
        false_rate: shots -> (T,) share of the other sources' images that are.
    """

    name: str
    supports: tuple[IntArray, ...]
    recall: dict[int, Float64Array]
    false_rate: dict[int, Float64Array]


def new_sources(searched: SearchedStore, progress: Progress) -> tuple[NewSource, ...]:
    """Try each source that has enough images as the new one.

    Raises:
        EpisodeError: no source has enough images for the smallest shot count.
    """
    found = []
    for name in searched.names:
        if searched.shots_of(name):
            found.append(_new_source(searched, name))
        progress.advance(note=f"{name} as a new source")
    if not found:
        least = min(searched.settings.shots)
        raise EpisodeError(
            f"no source of {searched.index.store.path} has {least + LEAST_QUERIES} images, which {least} shots and "
            f"{LEAST_QUERIES} queries need; lower --shots"
        )
    return tuple(found)


def new_source_rows(searched: SearchedStore, found: tuple[NewSource, ...]) -> Iterator[Row]:
    """Yield recall and false rate of each source and shot count, and their means over the sources."""
    by_shots: dict[int, list[NewSource]] = {}
    for one in found:
        for shots in one.recall:
            by_shots.setdefault(shots, []).append(one)
            queries = searched.index.counts[one.name] - max(one.recall)
            yield from _rows(searched, one.name, shots, one.recall[shots], one.false_rate[shots], queries)
    for shots, tried in by_shots.items():
        recall = np.mean([one.recall[shots] for one in tried], axis=0)
        false_rate = np.mean([one.false_rate[shots] for one in tried], axis=0)
        yield from _rows(searched, "macro", shots, recall, false_rate, len(searched.index))


def support_keys(searched: SearchedStore, found: tuple[NewSource, ...]) -> dict[str, list[str]]:
    """Return ``source:trial`` -> the sample keys drawn, as a report keeps them."""
    keys = searched.index.store.column("key")
    return {
        f"{one.name}:{trial}": [str(key) for key in keys[searched.index.rows[drawn]]]
        for one in found
        for trial, drawn in enumerate(one.supports)
    }


def _rows(
    searched: SearchedStore, name: str, shots: int, recall: Float64Array, false_rate: Float64Array, queries: int
) -> Iterator[Row]:
    values = {"new_source_recall": tuple(recall), "new_source_false_rate": tuple(false_rate)}
    yield from searched.rows(name, values, n_support=shots, n_query=queries, shots=shots)


def _new_source(searched: SearchedStore, name: str) -> NewSource:
    """Draw the supports of every trial and answer the queries; all shot counts of a trial share its queries."""
    index, shot_counts = searched.index, searched.shots_of(name)
    inside = np.flatnonzero(index.sources == name)
    supports = _supports(searched, name, inside, shot_counts[-1])
    pool = np.unique(np.concatenate(supports))
    others = searched.some(np.flatnonzero(index.sources != name), 1)
    queries = np.concatenate([searched.some(inside, 2), others])
    elsewhere = searched.nearest(queries, index.sources != name)
    likeness = _scores(searched, queries, pool)
    is_new = index.sources[queries] == name
    recall: dict[int, list[float]] = {shots: [] for shots in shot_counts}
    false_rate: dict[int, list[float]] = {shots: [] for shots in shot_counts}
    for drawn in supports:
        in_support = np.isin(queries, drawn)
        for shots in shot_counts:
            columns = np.searchsorted(pool, drawn[:shots])
            given = _answers(searched, name, elsewhere, likeness[:, columns], index.rows[drawn[:shots]]) == name
            recall[shots].append(float(given[is_new & ~in_support].mean()))
            false_rate[shots].append(float(given[~is_new].mean()))
    arrays = ({shots: np.array(values) for shots, values in rates.items()} for rates in (recall, false_rate))
    return NewSource(name, supports, *arrays)


def _supports(searched: SearchedStore, name: str, inside: IntArray, shots: int) -> tuple[IntArray, ...]:
    seed, number = searched.settings.seed, searched.names.index(name)
    return tuple(
        np.random.default_rng([seed, trial, number]).permutation(inside)[:shots]
        for trial in range(searched.settings.trials)
    )


def _answers(searched: SearchedStore, name: str, elsewhere: Neighbours, likeness: Float64Array, rows: IntArray) -> Any:
    """Return the answers (q,) when ``rows`` of the new source join the rows of all others."""
    scores = np.hstack([elsewhere.scores, likeness])
    every = np.hstack([elsewhere.rows, np.broadcast_to(rows, likeness.shape)])
    sources = np.hstack([elsewhere.sources, np.full(likeness.shape, name, dtype=object)])
    order = np.lexsort((every, -scores), axis=-1)[:, : elsewhere.rows.shape[1]]
    merged = Neighbours(
        scores=np.take_along_axis(scores, order, 1),
        rows=np.take_along_axis(every, order, 1),
        sources=np.take_along_axis(sources, order, 1),
    )
    return vote(merged, {**searched.index.counts, name: len(rows)}).best


def _scores(searched: SearchedStore, queries: IntArray, pool: IntArray) -> Float64Array:
    """Return (q, p) scores of queries against rows of the new source; -inf where one may not answer the other."""
    index = searched.index
    prepared = index.indexed.prepared(index.features(queries))
    candidates = np.broadcast_to(pool, (len(queries), len(pool)))
    scores = exact_scores(index.indexed.gather, prepared, candidates, metric=index.metric)
    for number, query in enumerate(queries):
        scores[number, np.isin(index.rows[pool], searched.excluded[query])] = -np.inf
    return scores
