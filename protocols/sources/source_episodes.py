"""N-way K-shot episodes among the synthetic sources of a store, each answered by prototypes."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from fewshot.core.arrays import Float64Array, IntArray
from fewshot.protocols.sources.prototypes import episode_measures, prototype_answers
from fewshot.protocols.sources.searched_store import SearchedStore
from fewshot.protocols.trials.applied import Applied
from fewshot.results.row import Row

_PURPOSE = 5  # of the seeds, beside those of ``SearchedStore.some``
_SPARE = 4  # times as many images as shots are drawn, since those of a query's group are left out
_AT_ONCE = 50  # episodes whose features are read together


@dataclass(frozen=True)
class SourceEpisodes:
    """All episodes of one shot count.

    Args:
        shots: images of each source that make its prototype.
        ways: sources of an episode.
        sources: how many have images enough; every episode draws ``ways`` of them.
        accuracy, macro_f1: (E,), a value per episode.
        undrawn: how many more could not be drawn, for want of images of other groups.
    """

    shots: int
    ways: int
    sources: int
    accuracy: Float64Array
    macro_f1: Float64Array
    undrawn: int


@dataclass(frozen=True)
class _Drawn:
    """Positions in the index: support (W, S) and query (W, Q), each row of one source."""

    support: IntArray
    query: IntArray


def source_episodes(searched: SearchedStore) -> tuple[SourceEpisodes, ...]:
    """Return the episodes of every shot count that leaves two synthetic sources images enough."""
    tried = sorted(set(searched.settings.shots)) if searched.settings.episodes else []
    return tuple(found for shots in tried if (found := _of_shots(searched, shots)) is not None)


def source_episode_rows(searched: SearchedStore, found: tuple[SourceEpisodes, ...]) -> Iterator[Row]:
    """Yield accuracy and macro F1 of every shot count, a value per episode."""
    for one in found:
        values = {"prototype_accuracy": tuple(one.accuracy), "prototype_macro_f1": tuple(one.macro_f1)}
        queries = one.ways * searched.settings.queries
        yield from searched.rows("all", values, n_support=one.ways * one.shots, n_query=queries, shots=one.shots)


def source_episodes_applied(searched: SearchedStore, found: tuple[SourceEpisodes, ...]) -> Iterator[Applied]:
    """Yield the shot counts whose episodes have fewer sources, or are fewer, than was wanted."""
    settings = searched.settings
    for one in found:
        if one.ways < settings.ways:
            why = f"so many synthetic sources have {one.shots + settings.queries} images"
            yield Applied(f"--ways, {one.shots} shots", settings.ways, one.ways, why)
        if one.undrawn:
            why = "the others lack images outside the groups of their queries"
            yield Applied(f"--episodes, {one.shots} shots", settings.episodes, len(one.accuracy), why)


def _of_shots(searched: SearchedStore, shots: int) -> SourceEpisodes | None:
    settings, inside = searched.settings, _synthetic_sources(searched, shots)
    ways = min(settings.ways, len(inside))
    if ways < 2:
        return None
    generators = (np.random.default_rng([settings.seed, _PURPOSE, shots, one]) for one in range(settings.episodes))
    attempts = [_drawn(searched, inside, ways, shots, generator) for generator in generators]
    drawn = [one for one in attempts if one is not None]
    if not drawn:
        return None
    measured = [
        measures
        for start in range(0, len(drawn), _AT_ONCE)
        for measures in _answered(searched, drawn[start : start + _AT_ONCE])
    ]
    accuracy, macro_f1 = (np.array(column) for column in zip(*measured, strict=True))
    return SourceEpisodes(shots, ways, len(inside), accuracy, macro_f1, len(attempts) - len(drawn))


def _synthetic_sources(searched: SearchedStore, shots: int) -> list[IntArray]:
    """Return the positions of every source that is synthetic and has images enough."""
    index, least = searched.index, shots + searched.settings.queries
    synthetic = index.store.synthetic[index.rows]
    found = [np.flatnonzero((index.sources == name) & synthetic) for name in searched.names]
    return [positions for positions in found if len(positions) >= least]


def _drawn(
    searched: SearchedStore, inside: list[IntArray], ways: int, shots: int, generator: np.random.Generator
) -> _Drawn | None:
    """Draw one episode; None where a source has too few images that share no group with a query."""
    queries = searched.settings.queries
    chosen = [inside[number] for number in generator.choice(len(inside), ways, replace=False)]
    images = [_some(positions, queries + _SPARE * shots, generator) for positions in chosen]
    query = np.stack([drawn[:queries] for drawn in images])
    barred = np.concatenate([searched.excluded[position] for position in query.reshape(-1)])
    rest = [drawn[queries:][~np.isin(searched.index.rows[drawn[queries:]], barred)][:shots] for drawn in images]
    if min(map(len, rest)) < shots:
        return None
    return _Drawn(np.stack(rest), query)


def _some(positions: IntArray, most: int, generator: np.random.Generator) -> IntArray:
    return generator.choice(positions, min(most, len(positions)), replace=False)


def _answered(searched: SearchedStore, drawn: list[_Drawn]) -> Iterator[tuple[float, float]]:
    """Yield accuracy and macro F1 of some episodes, whose features are read together."""
    needed = np.unique(np.concatenate([np.hstack([one.support, one.query]).reshape(-1) for one in drawn]))
    features = searched.index.features(needed)
    for one in drawn:
        support, query = (features[np.searchsorted(needed, positions)] for positions in (one.support, one.query))
        measures = episode_measures(prototype_answers(support, query))
        yield measures.accuracy, measures.macro_f1
