"""What each image is most like: sources with votes and shares, the nearest images as evidence, known or unknown."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fewshot.core.arrays import FloatArray, IntArray
from fewshot.embeddings.search.index import SourceIndex
from fewshot.embeddings.search.neighbours import Neighbours, SourceVotes, vote
from fewshot.embeddings.search.openset import KnownScores


@dataclass(frozen=True)
class SourceScore:
    """One source as seen from one query.

    Args:
        votes: how many of the k neighbours are of this source.
        share: its similarity-weighted vote corrected for source size; the shares of a query sum to 1.
        nearest: the score of its nearest image.
    """

    source: str
    votes: int
    share: float
    nearest: float


@dataclass(frozen=True)
class Evidence:
    """One near image: its row in the store, its key (path relative to the root), its source and its score."""

    row: int
    key: str
    source: str
    score: float


@dataclass(frozen=True)
class Finding:
    """The answer to one query.

    Args:
        image: the query's path or key.
        sources: every source with a vote, best first.
        neighbours: the k nearest images, nearest first.
        p_value: of "this image is of a known source"; None when it was not wanted.
        unknown: whether the p-value is at most the stated rate.
    """

    image: str
    sources: tuple[SourceScore, ...]
    neighbours: tuple[Evidence, ...]
    p_value: float | None = None
    unknown: bool = False

    @property
    def source(self) -> str:
        """The name of the best source, whether or not the image is called unknown."""
        return self.sources[0].source


def look_up(
    index: SourceIndex,
    queries: FloatArray,
    images: Sequence[str],
    *,
    k: int = 5,
    leave_out: Sequence[IntArray] | None = None,
    known: KnownScores | None = None,
    rate: float = 0.05,
) -> tuple[Finding, ...]:
    """Return the nearest sources of every query.

    Args:
        index: where to look.
        queries: (M, D) floating features.
        images: (M,) the queries' paths or keys, for the answer.
        k: neighbours that vote.
        leave_out: for each query, the store rows that may not be an answer.
        known: leave-one-out scores of the index; without them nothing is called unknown.
        rate: stated share of known images that may be called unknown.
    """
    found = index.nearest(queries, k, leave_out=leave_out)
    return findings(found, images, counts=index.counts, keys=index.store.column("key"), known=known, rate=rate)


def findings(
    found: Neighbours,
    images: Sequence[str],
    *,
    counts: Mapping[str, int],
    keys: Any,
    known: KnownScores | None,
    rate: float,
) -> tuple[Finding, ...]:
    """Return what the nearest images of every query say.

    Args:
        found: the nearest images; counts: how many images each source has among which they were found.
        images: (M,) the queries' paths or keys; keys: the keys of the images, by row.
        known, rate: as for ``look_up``.
    """
    votes = vote(found, counts)
    p_values = known.p_values(found.scores[:, 0]).tolist() if known else [None] * len(found)
    unknown = known.unknown(found.scores[:, 0], rate=rate) if known else np.zeros(len(found), bool)
    return tuple(
        Finding(
            image=image,
            sources=_sources(votes, number),
            neighbours=_evidence(found, number, keys),
            p_value=p_values[number],
            unknown=bool(unknown[number]),
        )
        for number, image in enumerate(images)
    )


def _sources(votes: SourceVotes, number: int) -> tuple[SourceScore, ...]:
    return tuple(
        SourceScore(
            source=votes.names[source],
            votes=int(votes.votes[number, source]),
            share=float(votes.shares[number, source]),
            nearest=float(votes.nearest[number, source]),
        )
        for source in votes.order[number]
        if votes.votes[number, source]
    )


def _evidence(found: Neighbours, number: int, keys: Any) -> tuple[Evidence, ...]:
    return tuple(
        Evidence(row=int(row), key=str(keys[row]), source=str(source), score=float(score))
        for row, source, score in zip(found.rows[number], found.sources[number], found.scores[number], strict=True)
    )
