"""Queries looked up in an index, with what a reader needs to judge the answers: threshold, accuracy, warnings."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from math import inf, isfinite
from typing import Any

from fewshot.audit import confound_warning
from fewshot.core.control_characters import escape_control
from fewshot.core.shortened import LONGEST_SOURCE, shortened
from fewshot.embeddings.search.index import SourceIndex
from fewshot.embeddings.search.lookup import Finding, look_up
from fewshot.embeddings.search.neighbours import spoken_score
from fewshot.embeddings.search.openset import KnownScores, known_scores
from fewshot.embeddings.search.query import Queries, own_rows
from fewshot.protocols.trials.source_measures import ClosedSet, closed_set
from fewshot.results.paragraph import WIDTH
from fewshot.results.tables import text_table

_SCORE = 12  # of the score and the gaps between columns
_LEAST_NAME = 16  # of an image's name, however long the verdict beside it is


@dataclass(frozen=True)
class Lookup:
    """What ``fewshot nearest`` says of some queries.

    Args:
        index: where they were looked up.
        queries: what was looked up.
        findings: one answer per query.
        k: neighbours that vote.
        rate: stated share of known images that may be called unknown.
        known: leave-one-out scores of the index; None where nothing is called unknown.
    """

    index: SourceIndex
    queries: Queries
    findings: tuple[Finding, ...]
    k: int
    rate: float
    known: KnownScores | None

    @classmethod
    def of(
        cls,
        index: SourceIndex,
        queries: Queries,
        *,
        k: int = 5,
        rate: float = 0.05,
        group: str | None = None,
        seed: int = 0,
    ) -> "Lookup":
        """Look the queries up.

        Args:
            group: images of the store that share this column's value do not answer each other.
            seed: of the images of the store whose own nearest images set the threshold.
        """
        known = None
        if rate:
            own = own_rows(index.store, index.store, index.rows, group=group)
            known = known_scores(index, leave_out=own, seed=seed)
        findings = look_up(
            index, queries.features, queries.images, k=k, leave_out=queries.leave_out, known=known, rate=rate
        )
        return cls(index, queries, findings, k, rate, known)

    @property
    def truths(self) -> tuple[str | None, ...]:
        """The true source of every query; None where it is not known."""
        return self.queries.sources or (None,) * len(self.findings)

    @property
    def threshold(self) -> float:
        """The score below which an image is called unknown; minus infinity where none is."""
        return self.known.threshold(self.rate) if self.known else -inf

    @cached_property
    def measured(self) -> ClosedSet | None:
        """How often the source is right, over queries whose source is indexed; None without such queries."""
        pairs = zip(self.truths, self.findings, strict=True)
        known = [(truth, finding.source) for truth, finding in pairs if truth in self.index.counts]
        return closed_set([str(truth) for truth, _ in known], [answer for _, answer in known]) if known else None

    @cached_property
    def warnings(self) -> tuple[str, ...]:
        """What a reader of the answers must know."""
        warning = confound_warning(self.index.store, self.index.rows)
        fewest = min((len(finding.neighbours) for finding in self.findings), default=self.k)
        few = f"-k {self.k} was given and {fewest} applied, for a query has no more images to be near to"
        return (*((few,) if fewest < self.k else ()), *((warning,) if warning else ()))

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain JSON values."""
        info, measured = self.index.info, self.measured
        document: dict[str, Any] = {
            "store": str(self.index.store.path),
            "backbone": info.backbone,
            "layer": info.layer,
            "layer_digest": info.digest,
            "metric": self.index.metric,
            "k": self.k,
            "index": str(self.index.choice),
            "unknown_rate": self.rate,
            "unknown_below": self.threshold if isfinite(self.threshold) else None,
            "indexed": self.index.counts,
            "images": [
                {**({"truth": truth} if truth else {}), **asdict(finding)}
                for truth, finding in zip(self.truths, self.findings, strict=True)
            ],
            "warnings": list(self.warnings),
            "failed": [{"image": path, "reason": reason} for path, reason in self.queries.failed],
        }
        return document if measured is None else {**document, "leave_one_out": _to_json(measured)}

    def text(self) -> str:
        """Return the answers as text: per query its sources and nearest images, then threshold and accuracy."""
        parts = [_answer(finding) for finding in self.findings]
        if self.known:
            never = "never: too few images to say so"
            below = f"below {spoken_score(self.threshold)}" if isfinite(self.threshold) else never
            parts.append(
                f"unknown: nearest score {below} (of {len(self.known.scores)} images of the store,\neach against the "
                f"others, at most {100 * self.rate:g} % lie there)"
            )
        return "\n\n".join([*parts, *([_accuracy(self.index.counts, self.measured)] if self.measured else [])])


def _to_json(measured: ClosedSet) -> dict[str, Any]:
    return {
        "queries": measured.queries,
        "accuracy": measured.accuracy,
        "balanced_accuracy": measured.balanced_accuracy,
        "macro_f1": measured.macro_f1,
        "sources": list(measured.names),
        "confusion": measured.confusion.tolist(),
    }


def _answer(finding: Finding) -> str:
    best = finding.sources[0]
    verdict = f"unknown, most like {_source(best.source)}" if finding.unknown else _source(best.source)
    known = "" if finding.p_value is None else f", p-value {finding.p_value:.3f}"
    sources = [
        [_source(one.source), str(one.votes), f"{one.share:.2f}", spoken_score(one.nearest)] for one in finding.sources
    ]
    beside = max((len(_source(one.source)) for one in finding.neighbours), default=0)
    near = [
        [spoken_score(one.score), _source(one.source), shortened(one.key, most=WIDTH - _SCORE - beside)]
        for one in finding.neighbours
    ]
    tables = [
        text_table(["source", "votes", "share", "nearest"], sources),
        text_table(["score", "source", "nearest images"], near),
    ]
    said = escape_control(f"{verdict} (share {best.share:.2f}{known})")
    image = shortened(escape_control(finding.image), most=max(_LEAST_NAME, WIDTH - len(": ") - len(said)))
    return "\n\n".join([f"{image}: {said}", *tables])


def _source(name: str) -> str:
    return shortened(name, most=LONGEST_SOURCE)


def _accuracy(counts: Mapping[str, int], measured: ClosedSet) -> str:
    lines = []
    for number, name in enumerate(measured.names):
        row = measured.confusion[number].copy()
        images, right = int(row.sum()), int(row[number])
        row[number] = 0
        other = f"{_source(measured.names[int(row.argmax())])} ({int(row.max())})" if row.any() else "-"
        if images:
            lines.append([_source(name), str(images), f"{right / images:.2f}", other])
    return (
        f"Source accuracy, own pixels left out: {measured.accuracy:.3f} of {measured.queries} images,\n"
        f"mean over sources {measured.balanced_accuracy:.3f} (chance {1 / len(counts):.3f}), "
        f"macro F1 {measured.macro_f1:.3f}\n\n"
        + text_table(["true source", "images", "right", "most often taken for"], lines)
    )
