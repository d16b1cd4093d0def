"""Nearest sources as an experiment: which generator an image comes from, from how few images, and is it a known one."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Self, final

from numpy.typing import NDArray

from fewshot.audit import confound_warning
from fewshot.core.errors import OptionError
from fewshot.core.progress import Progress
from fewshot.core.provenance import provenance
from fewshot.draws.seeds import require_seed
from fewshot.embeddings.search.index import SourceIndex
from fewshot.embeddings.search.indexed_layer import Metric
from fewshot.embeddings.search.openset import require_rate
from fewshot.embeddings.store.reader import FeatureStore
from fewshot.protocols.base import QUIET, Protocol, Result, RunContext
from fewshot.protocols.sources.known_sources import KnownSources, known_source_rows, known_sources
from fewshot.protocols.sources.new_source import new_source_rows, new_sources, support_keys
from fewshot.protocols.sources.open_set import open_set_rows
from fewshot.protocols.sources.searched_store import SearchedStore, SearchSettings
from fewshot.protocols.sources.source_episodes import (
    source_episode_rows,
    source_episodes,
    source_episodes_applied,
)
from fewshot.protocols.trials.applied import Applied, recorded
from fewshot.protocols.trials.stores_read import StoreRead
from fewshot.results.report import Confusion, Report


@final
@dataclass(frozen=True)
class Nearest(Protocol):
    """Attribution by nearest neighbours on the images of one store, every image in turn being the query.

    Nothing is fitted: a new source is known as soon as its images are rows of the index.

    Args:
        backbone, layer, view: whose features; the only backbone and its default layer when None.
        where: which images take part.
        group: images that share this column's value do not answer each other.
        metric: how nearness is measured. k: neighbours that vote.
        shots: sizes of a new source's support. trials: draws.
        rate: stated share of known images that may be called unknown.
        most_queries: at most this many queries of a kind, drawn by ``seed``.
        ways, queries, episodes: of attribution by prototypes: so many synthetic sources, chosen anew for every episode,
            of which so many images each are queried beside ``shots`` that make a prototype. OmniDFA's numbers, but for
            its 10,000 episodes; none where ``episodes`` is 0.
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
    ways: int = 5
    queries: int = 5
    episodes: int = 200

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Return the protocol of a report's configuration; reports from before there were episodes have none."""
        return super().from_config({"episodes": 0, **config})

    def run(self, store: FeatureStore, context: RunContext = QUIET) -> Result:
        """Measure accuracy, homophily, few-shot attribution of each source, and open-set measures of each left out.

        The scores are of the leave-one-out answers: ``key``, ``source`` and ``answer`` (q,), ``score`` (q,) of the
        nearest image.

        Raises:
            EpisodeError: fewer than two sources, or no source has enough images for the smallest shot count.
        """
        require_rate(self.rate)
        self._require_usable()
        searched = self._searched(store)
        steps = 1 + (2 if len(searched.names) > 2 else 1) * len(searched.names)
        with context.progress(steps, label="nearest", unit="steps") as progress:
            known = known_sources(searched)
            progress.advance(note="every source known")
            report = self._report(searched, known, progress)
        return Result(report, _scores(searched, known) if context.keep_scores else None)

    def _require_usable(self) -> None:
        require_seed(self.seed)
        for option, count in (("-k", self.k), ("--trials", self.trials), *(("--shots", count) for count in self.shots)):
            if count < 1:
                raise OptionError(f"{option} must be at least 1, and is {count}")
        if not self.shots or self.most_queries < 1 or self.queries < 1:
            raise OptionError(
                f"--shots is empty, or most_queries ({self.most_queries}) or queries ({self.queries}) below 1; give at "
                f"least one"
            )
        if self.ways < 2 or self.episodes < 0:
            raise OptionError(
                f"--ways must be at least 2, and --episodes 0 or more; they are {self.ways} and {self.episodes}"
            )

    def _searched(self, store: FeatureStore) -> SearchedStore:
        index = SourceIndex(
            store,
            backbone=self.backbone,
            layer=self.layer,
            view=self.view,
            metric=self.metric,
            where=self.where or None,
        )
        settings = SearchSettings(
            k=self.k,
            shots=self.shots,
            trials=self.trials,
            rate=self.rate,
            most_queries=self.most_queries,
            seed=self.seed,
            ways=self.ways,
            queries=self.queries,
            episodes=self.episodes,
        )
        return SearchedStore.of(index, settings, group=self.group)

    def _report(self, searched: SearchedStore, known: KnownSources, progress: Progress) -> Report:
        store, key, closed = searched.index.store, searched.key, known.closed
        new = new_sources(searched, progress)
        episodes = source_episodes(searched)
        applied = (*_applied(searched), *source_episodes_applied(searched, episodes))
        named = replace(self, backbone=key.backbone, layer=key.layer)
        return Report(
            protocol=self.name,
            config=named.to_config() | {"stores": [StoreRead.of(store, [key]).to_json()], "applied": recorded(applied)},
            rows=(
                *known_source_rows(searched, known),
                *new_source_rows(searched, new),
                *source_episode_rows(searched, episodes),
                *open_set_rows(searched, progress),
            ),
            supports=support_keys(searched, new),
            warnings=tuple(_warnings(searched, applied)),
            provenance=provenance(),
            confusion=Confusion(closed.names, tuple(tuple(map(int, row)) for row in closed.confusion)),
        )


def _applied(searched: SearchedStore) -> Iterator[Applied]:
    """Yield the options that the index does not allow as given."""
    images, k = len(searched.index), searched.settings.k
    if len(searched.names) > 2:
        images -= max(searched.index.counts.values())
    most = images - max(map(len, searched.excluded))
    if k > most:
        yield Applied("-k", k, most, f"an image can have that few others as neighbours, of {len(searched.index)}")


def _warnings(searched: SearchedStore, applied: Iterable[Applied]) -> Iterator[str]:
    yield from map(str, applied)
    if warning := confound_warning(searched.index.store, searched.index.rows):
        yield warning
    yield from searched.too_small()


def _scores(searched: SearchedStore, known: KnownSources) -> dict[str, NDArray[Any]]:
    index = searched.index
    rows = index.rows[known.queries]
    return {
        "key": index.store.column("key")[rows].astype(str),
        "source": index.sources[known.queries].astype(str),
        "answer": known.answers.astype(str),
        "score": known.scores,
    }
