"""A store searched by its own images: the index, what may not answer, and the queries that are drawn."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from fewshot.core.arrays import BoolArray, IntArray
from fewshot.core.errors import EpisodeError
from fewshot.embeddings.layer_key import LayerKey
from fewshot.embeddings.search.index import SourceIndex
from fewshot.embeddings.search.neighbours import Neighbours
from fewshot.embeddings.search.query import own_rows
from fewshot.results.row import Row

LEAST_QUERIES = 10  # of a new source, beyond its shots


@dataclass(frozen=True)
class SearchSettings:
    """How the images of a store are searched; see ``fewshot.protocols.nearest.Nearest`` for each field."""

    k: int = 5
    shots: tuple[int, ...] = (1, 5, 10, 50)
    trials: int = 20
    rate: float = 0.05
    most_queries: int = 1000
    seed: int = 0
    ways: int = 5
    queries: int = 5
    episodes: int = 0


@dataclass(frozen=True)
class SearchedStore:
    """An index over a store, every image of which is a query in its turn.

    Args:
        index: N images of at least two sources.
        excluded: per image of the index, the store rows that may not answer it: itself and those of its group.
        settings: k, shots, trials and seed.
    """

    index: SourceIndex
    excluded: tuple[IntArray, ...]
    settings: SearchSettings

    @classmethod
    def of(cls, index: SourceIndex, settings: SearchSettings, *, group: str | None = None) -> "SearchedStore":
        """Return the searched store of an index.

        Args:
            group: images that share this column's value do not answer each other.

        Raises:
            EpisodeError: fewer than two sources.
        """
        if len(index.counts) < 2:
            raise EpisodeError(
                f"{index.store.path}: nearest sources need at least two sources, and there is "
                f"{', '.join(index.counts)}; loosen --where or embed more"
            )
        return cls(index, tuple(own_rows(index.store, index.store, index.rows, group=group)), settings)

    @property
    def names(self) -> tuple[str, ...]:
        """The sources."""
        return tuple(self.index.counts)

    @property
    def key(self) -> LayerKey:
        """The layer searched."""
        info = self.index.info
        return LayerKey(info.backbone, info.layer, info.view)

    @cached_property
    def dataset(self) -> str:
        """The data sets of the images, or the store's name."""
        named = sorted(set(map(str, self.index.store.column("dataset")[self.index.rows])) - {""})
        return ", ".join(named) or self.index.store.path.stem

    def nearest(self, queries: IntArray, allowed: BoolArray | None = None) -> Neighbours:
        """Return the k nearest images of some positions (q,), among the ``allowed`` ones (N,) when that is given."""
        leave_out = [self.excluded[query] for query in queries]
        return self.index.nearest(self.index.features(queries), self.settings.k, leave_out=leave_out, allowed=allowed)

    def some(self, positions: IntArray, purpose: int) -> IntArray:
        """Return at most ``most_queries`` of some positions, drawn anew for every ``purpose``."""
        most = self.settings.most_queries
        if len(positions) <= most:
            return positions
        generator = np.random.default_rng([self.settings.seed, purpose, len(positions)])
        return np.sort(generator.choice(positions, most, replace=False))

    def shots_of(self, name: str) -> list[int]:
        """Return the shot counts that leave a source enough images to query, ascending."""
        return sorted(shots for shots in set(self.settings.shots) if shots + LEAST_QUERIES <= self.index.counts[name])

    def too_small(self) -> Iterator[str]:
        """Yield the warnings about sources that have too few images, and about too few sources."""
        for name in self.names:
            shots = self.shots_of(name)
            if len(shots) < len(set(self.settings.shots)):
                yield (
                    f"{name} has {self.index.counts[name]} images: as a new source it is tried with "
                    f"{' and '.join(map(str, shots)) or 'no'} shots only"
                )
        if len(self.names) < 3:
            yield "two sources only: no open-set measures, since leaving one out leaves one"

    def rows(self, source: str, values: Mapping[str, tuple[float, ...]], **counts: Any) -> Iterator[Row]:
        """Yield one row per metric of ``values``; ``counts`` are ``n_support``, ``n_query`` and ``shots``."""
        for metric, found in values.items():
            yield Row(
                backbone=self.key.backbone,
                layer=self.key.layer,
                view=self.key.view,
                selection="fixed",
                head="nearest",
                dataset=self.dataset,
                source=source,
                metric=metric,
                values=tuple(float(value) for value in found),
                **counts,
            )
