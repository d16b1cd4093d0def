"""N-way K-shot episodes among the synthetic sources of a store, each answered by prototypes."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from fewshot.core.arrays import Float64Array, IntArray, spans
from fewshot.protocols.sources.prototypes import episode_measures, prototype_answers
from fewshot.protocols.sources.searched_store import SearchedStore
from fewshot.protocols.trials.applied import Applied
from fewshot.results.row import Row

_PURPOSE = 5  # of the seeds, beside those of ``SearchedStore.some``
_AT_ONCE = 50  # episodes whose features are read together
_SPARE, _SPARE_SHOTS = (
    50,
    4,
)  # images, and times the shots, that are drawn beside: those of a query's group are left out


@dataclass(frozen=True)
class SourceEpisodes:
    """All episodes of one shot count.

    Args:
        shots: images of each source that make its prototype.
        ways: sources of an episode; fewer than two where no episode is possible.
        accuracy, macro_f1: (E,), a value per episode that could be drawn.
    """

    shots: int
    ways: int
    accuracy: Float64Array
    macro_f1: Float64Array


@dataclass(frozen=True)
class _Drawn:
    """Positions in the index: support (W, S) and query (W, Q), each row of one source."""

    support: IntArray
    query: IntArray


def source_episodes(searched: SearchedStore) -> tuple[SourceEpisodes, ...]:
    """Return the episodes of every shot count; none where none are wanted."""
    tried = sorted(set(searched.settings.shots)) if searched.settings.episodes else []
    return tuple(_of_shots(searched, shots) for shots in tried)


def source_episode_rows(searched: SearchedStore, found: tuple[SourceEpisodes, ...]) -> Iterator[Row]:
    """Yield accuracy and macro F1 of every shot count, a value per episode."""
    for one in found:
        if len(one.accuracy):
            values = {"prototype_accuracy": tuple(one.accuracy), "prototype_macro_f1": tuple(one.macro_f1)}
            queries = one.ways * searched.settings.queries
            yield from searched.rows("all", values, n_support=one.ways * one.shots, n_query=queries, shots=one.shots)


def source_episodes_applied(searched: SearchedStore, found: tuple[SourceEpisodes, ...]) -> Iterator[Applied]:
    """Yield the shot counts whose episodes have fewer sources, or are fewer, than was wanted."""
    settings = searched.settings
    for ways in sorted({one.ways for one in found if 2 <= one.ways < settings.ways}, reverse=True):
        shots = _listed(one for one in found if one.ways == ways)
        yield Applied(f"--ways, {shots} shots", settings.ways, ways, "no more synthetic sources have so many images")
    if impossible := _listed(one for one in found if one.ways < 2):
        why = f"that and {settings.queries} queries need two synthetic sources of so many images"
        yield Applied(f"--episodes, {impossible} shots", settings.episodes, None, why)
    for one in found:
        if one.ways >= 2 and len(one.accuracy) < settings.episodes:
            why = "the others lack images outside the groups of their queries"
            yield Applied(f"--episodes, {one.shots} shots", settings.episodes, len(one.accuracy) or None, why)


def _listed(episodes: Iterable[SourceEpisodes]) -> str:
    return ", ".join(str(one.shots) for one in episodes)


def _of_shots(searched: SearchedStore, shots: int) -> SourceEpisodes:
    settings, inside = searched.settings, _synthetic_sources(searched, shots)
    ways = min(settings.ways, len(inside))
    drawn: list[_Drawn] = []
    for episode in range(settings.episodes if ways >= 2 else 0):
        generator = np.random.default_rng([settings.seed, _PURPOSE, shots, episode])
        if (one := _drawn(searched, inside, ways, shots, generator)) is not None:
            drawn.append(one)
    parts = [drawn[start:stop] for start, stop in spans(len(drawn), _AT_ONCE)]
    measured = [measures for part in parts for measures in _answered(searched, part)]
    accuracy, macro_f1 = np.array(measured).reshape(-1, 2).T
    return SourceEpisodes(shots, ways, accuracy, macro_f1)


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
    images = [_some(positions, queries + _SPARE_SHOTS * shots + _SPARE, generator) for positions in chosen]
    query = np.stack([drawn[:queries] for drawn in images])
    barred = np.zeros(len(searched.index.store), bool)
    barred[np.concatenate([searched.excluded[position] for position in query.reshape(-1)])] = True
    others = [drawn[queries:] for drawn in images]
    rest = [positions[~barred[searched.index.rows[positions]]][:shots] for positions in others]
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
