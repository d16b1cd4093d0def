"""The images that a detector holds: whose features they are, in which role, and which of them a new image is near."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

from fewshot.core.arrays import BoolArray, Float64Array, FloatArray, IntArray, spans
from fewshot.embeddings.search.lookup import Finding, findings
from fewshot.embeddings.search.neighbours import Neighbours
from fewshot.embeddings.search.openset import KnownScores, sampled
from fewshot.heads.base import unit_length

Role = Literal["support", "calibration", "held-out", "known"]
ROLES: tuple[Role, ...] = ("support", "calibration", "held-out", "known")
NEAREST = 5  # images that vote, and are shown
_QUERY_BLOCK = 256

FeatureKey = tuple[str, str, str]  # backbone, layer, view


@dataclass(frozen=True)
class KnownImages:
    """Labelled images with their features.

    Args:
        keys: (N,) names; ids: (N,) hashes of their pixels; sources: (N,) names; roles: (N,) text each.
        synthetic: (N,) bool.
        features: backbone, layer, view -> (N, D) floating, as stored.
    """

    keys: NDArray[np.object_]
    ids: NDArray[np.object_]
    sources: NDArray[np.object_]
    roles: NDArray[np.object_]
    synthetic: BoolArray
    features: Mapping[FeatureKey, FloatArray] = field(repr=False)

    def __len__(self) -> int:
        return len(self.keys)

    def rows(self, role: Role, *, synthetic: bool | None = None) -> IntArray:
        """Return the row numbers of one role, of one class where that is said."""
        there = self.roles == role
        if synthetic is not None:
            there = there & (self.synthetic == synthetic)
        return np.flatnonzero(there).astype(np.int64)

    def take(self, rows: IntArray) -> Self:
        """Return some of the images."""
        return replace(
            self,
            keys=self.keys[rows],
            ids=self.ids[rows],
            sources=self.sources[rows],
            roles=self.roles[rows],
            synthetic=self.synthetic[rows],
            features={key: values[rows] for key, values in self.features.items()},
        )

    def as_role(self, role: Role) -> Self:
        """Return the same images in one role."""
        return replace(self, roles=np.full(len(self), role, dtype=object))

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """Return the images of several parts, in order, with the features that all of them have."""
        shared = [key for key in parts[0].features if all(key in part.features for part in parts)]
        return cls(
            keys=np.concatenate([part.keys for part in parts]),
            ids=np.concatenate([part.ids for part in parts]),
            sources=np.concatenate([part.sources for part in parts]),
            roles=np.concatenate([part.roles for part in parts]),
            synthetic=np.concatenate([part.synthetic for part in parts]),
            features={key: np.concatenate([part.features[key] for part in parts]) for key in shared},
        )

    def counts(self, role: Role) -> dict[str, int]:
        """Return how many images of a role each source has, sorted by name."""
        return dict(sorted(Counter(map(str, self.sources[self.rows(role)])).items()))

    @cached_property
    def source_counts(self) -> dict[str, int]:
        """Return how many images each source has, in every role."""
        return dict(sorted(Counter(map(str, self.sources)).items()))


@dataclass(frozen=True)
class NearestImages:
    """Nearest known images by the cosine between features of one layer.

    Args:
        images: where answers come from.
        key: the layer and view.
        known: how near known images lie to each other, by which ``unknown`` is said.
        rate: share of images like the known ones that may be called unknown.
    """

    images: KnownImages
    key: FeatureKey
    known: KnownScores
    rate: float

    @cached_property
    def _unit(self) -> Float64Array:
        return _unit(self.images.features[self.key])

    def look_up(self, features: FloatArray, ids: Sequence[str]) -> tuple[Finding, ...]:
        """Return what each query, which is called by its pixels, is near.

        Args:
            features: (M, D) of the same layer and view.
            ids: (M,) hashes of the queries' pixels; a known image with the same is no answer.
        """
        found = nearest(self._unit, self.images, features, ids, k=NEAREST)
        return findings(
            found, ids, counts=self.images.source_counts, keys=self.images.keys, known=self.known, rate=self.rate
        )


def nearest(unit: Float64Array, images: KnownImages, features: FloatArray, ids: Sequence[str], *, k: int) -> Neighbours:
    """Return the ``k`` nearest images by the cosine, in double precision; equal scores in ascending row order.

    Args:
        unit: (N, D) the images' features, of unit length.
        features: (M, D); ids: (M,) pixels that are no answer to a query.
    """
    k = min(k, len(images))
    scores, rows = np.empty((len(features), k)), np.empty((len(features), k), np.int64)
    for start, stop in spans(len(features), _QUERY_BLOCK):
        block = _unit(features[start:stop]) @ unit.T
        for number, image in enumerate(ids[start:stop]):
            same = np.flatnonzero(images.ids == image) if image else ()
            if len(same) <= len(images) - k:  # otherwise too few others are left to answer
                block[number, same] = -np.inf
        rows[start:stop] = np.argsort(-block, axis=1, kind="stable")[:, :k]
        scores[start:stop] = np.take_along_axis(block, rows[start:stop], 1)
    return Neighbours(scores, rows, images.sources[rows])


def known_scores(images: KnownImages, key: FeatureKey, *, seed: int) -> KnownScores:
    """Return how near each image lies to the nearest other one, of a seeded sample where there are many."""
    every, dimension = images.features[key].shape
    rows = sampled(np.arange(every), among=every, dimension=dimension, seed=seed)
    unit = _unit(images.features[key])
    best = np.empty(len(rows))
    for start, stop in spans(len(rows), _QUERY_BLOCK):
        block = unit[rows[start:stop]] @ unit.T
        block[images.ids[rows[start:stop]][:, None] == images.ids[None, :]] = -np.inf
        best[start:stop] = block.max(axis=1)
    return KnownScores(np.sort(best[np.isfinite(best)]))


def _unit(features: FloatArray) -> Float64Array:
    return np.asarray(unit_length(np.asarray(features, dtype=np.float64)), dtype=np.float64)
