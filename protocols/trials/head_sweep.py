"""Every head on every layer at every shot count, and the layer that is chosen in every trial: scores and rows."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fewshot.core.arrays import FloatArray
from fewshot.core.progress import Progress
from fewshot.embeddings.layer_key import LOGIT, LayerKey
from fewshot.heads.base import Head
from fewshot.protocols.trials.head_solver import BATCHED, HeadSolver
from fewshot.protocols.trials.head_variants import HeadVariants, Scale, variants_of
from fewshot.protocols.trials.intervals import IntervalKind, spans_images, with_intervals
from fewshot.protocols.trials.layers import CHOSEN, is_reported_fixed, keys_to_score
from fewshot.protocols.trials.measures import Measures, RowFields, measure
from fewshot.protocols.trials.selection import KNN, Candidate, Choice, choose, chosen_scale, score_best_k
from fewshot.protocols.trials.trials import Trials
from fewshot.results.row import PRETRAINED, Row
from fewshot.results.scores import name_of_scores
from fewshot.stats.metrics import FEWEST_NATURAL, Tpr


@dataclass(frozen=True)
class MeasuredHeads:
    """What heads give on one backbone.

    Args:
        rows: of the report.
        scores: (T, n) float32 of every layer by itself, under ``name_of_scores``; empty unless they are kept.
        candidates: (head, shots) -> what a choice can be made among.
    """

    rows: tuple[Row, ...]
    scores: dict[str, NDArray[Any]]
    candidates: Mapping[tuple[str, int], Sequence[Candidate]] = field(default_factory=dict)


@dataclass(frozen=True)
class _OnLayer:
    """A head on one layer: a candidate and scores (T, n) for each of its scales."""

    candidates: tuple[Candidate, ...]
    scores: tuple[FloatArray, ...]


@dataclass(frozen=True)
class HeadSweep:
    """Heads fitted on the supports of some trials, and measured on their queries.

    Args:
        trials: what is fitted on and queried.
        heads: with their parameters; one of each name.
        shots: shot counts.
        layer: names of layers, ``fixed``, ``all``, ``support-cv``, ``oracle``.
        solver: how heads are fitted.
        tpr, fewest_natural, interval, seed: how scores are measured, see ``measure`` and ``with_intervals``.
        best_k_up_to: measure the head ``knn`` also with the k that is best on query labels, up to this; None: not.
        scale: of the features, see ``variants_of``; with ``auto`` every trial chooses, layer by layer.
    """

    trials: Trials
    heads: tuple[Head, ...]
    shots: tuple[int, ...]
    layer: tuple[str, ...] = ("fixed",)
    solver: HeadSolver = BATCHED
    tpr: Tpr = "at-most"
    fewest_natural: int = FEWEST_NATURAL
    interval: IntervalKind = "auto"
    seed: int = 0
    best_k_up_to: int | None = None
    scale: Scale = "unit"

    def on_backbone(self, backbone: str, *, keep_scores: bool, progress: Progress) -> MeasuredHeads:
        """Score and measure every head on one backbone, and its pretrained head where it brings one.

        Args:
            progress: counts one unit per head and layer.
        """
        candidates: dict[tuple[str, int], list[Candidate]] = {}
        scores: dict[str, NDArray[Any]] = {}
        for key in self.keys(backbone):
            shared = self.trials.pool.features(key)
            for swept in self.swept:
                for shots in self.shots:
                    on_layer = self._on_layer(key, swept, shots, shared)
                    candidates.setdefault((swept.label, shots), []).extend(on_layer.candidates)
                    if keep_scores:
                        kept = self._taken(on_layer, shots).astype(np.float32)
                        scores[name_of_scores(backbone, key.layer, swept.label, shots)] = kept
                progress.advance()
        rows = [*self._pretrained_rows(backbone), *self._rows(backbone, candidates)]
        return MeasuredHeads(tuple(rows), scores, candidates)

    @property
    def swept(self) -> tuple[HeadVariants, ...]:
        """The heads on the scale that is wanted."""
        return tuple(variants_of(head, self.scale) for head in self.heads)

    def keys(self, backbone: str) -> tuple[LayerKey, ...]:
        """Return the layers of a backbone that are scored."""
        return keys_to_score(self.trials.pool.support_store, backbone, self.layer)

    def keys_read(self, backbone: str) -> tuple[LayerKey, ...]:
        """Return what is read of a backbone: its layers in the views that the heads look at, and its own score."""
        layers = self.keys(backbone)
        seen = [read for key in layers for head in self.heads for read in self.trials.pool.keys_for_head(head, key)]
        return tuple(dict.fromkeys([*layers, *seen, LayerKey(backbone, LOGIT)]))

    def _on_layer(self, key: LayerKey, swept: HeadVariants, shots: int, shared: FloatArray) -> "_OnLayer":
        """Score a head on a layer, on each of its scales.

        Args:
            shared: (n, D) unit length, which most heads want and which is read once.
        """
        candidates, scores = [], []
        for variant in swept.variants:
            head = variant.head
            like_others = not head.raw and len(head.views) == 1
            features = shared if like_others else self.trials.pool.for_head(head, key)
            head = self.trials.pool.with_replay(head, key)
            found = self.solver.score(head, self.trials, features, shots)
            best = self._best_k(key, head, shots, features)
            label = swept.called(variant, key.layer)
            candidates.append(Candidate(key, head, self.measured(found), best, label))
            scores.append(found)
        return _OnLayer(tuple(candidates), tuple(scores))

    def _taken(self, on_layer: "_OnLayer", shots: int) -> FloatArray:
        """Return (T, n) the scores of the scale that every trial chooses."""
        if len(on_layer.scores) == 1:
            return on_layer.scores[0]
        labels = self._chosen_scale(on_layer.candidates, shots).labels
        by_label = dict(zip((each.called for each in on_layer.candidates), on_layer.scores, strict=True))
        return np.stack([by_label[label][trial] for trial, label in enumerate(labels)])

    def _chosen_scale(self, candidates: Sequence[Candidate], shots: int) -> Choice:
        """Return what every trial chooses among the scales of one layer, inside its support."""
        return chosen_scale(candidates, self.trials, shots, solver=self.solver)

    def measured(self, scores: FloatArray) -> Measures:
        """Return the measures of scores (T, n), with the scores where an interval over images needs them."""
        found = measure(self.trials, scores, tpr=self.tpr, fewest_natural=self.fewest_natural)
        return replace(found, scores=scores) if spans_images(found, self.trials, self.interval) else found

    def rows_of(self, measures: Measures, fields: RowFields) -> list[Row]:
        """Return the rows of some measures, with the intervals that are wanted."""
        if measures.scores is None:
            return measures.rows(fields)
        options: dict[str, Any] = {"wanted": self.interval, "shots": fields.shots, "seed": self.seed}
        return with_intervals(measures, self.trials, measures.scores, **options).rows(fields)

    def _best_k(self, key: LayerKey, head: Head, shots: int, features: FloatArray) -> Choice | None:
        if self.best_k_up_to is None or head.name != KNN:
            return None
        largest, tpr = self.best_k_up_to, self.tpr
        scores, ks = score_best_k(head, self.trials, features, shots, largest=largest, tpr=tpr)
        return Choice(self.measured(scores), tuple(f"{key.layer} k={k}" for k in ks))

    def _rows(self, backbone: str, candidates: dict[tuple[str, int], list[Candidate]]) -> Iterator[Row]:
        for swept in self.swept:
            for shots in self.shots:
                n_support = len(self.trials.draws[0].support(shots))
                fields = RowFields(LayerKey(backbone, ""), swept.label, n_support=n_support, shots=shots)
                yield from self._fixed_rows(fields, candidates[swept.label, shots])
                yield from self._chosen_rows(fields, candidates[swept.label, shots])

    def _fixed_rows(self, fields: RowFields, candidates: Sequence[Candidate]) -> Iterator[Row]:
        """Yield the rows of every layer that was named, or of the default one beside a choice."""
        default = self._default(fields)
        for key, same in groupby(candidates, key=lambda candidate: candidate.key):
            if is_reported_fixed(key.layer, self.layer, default=default):
                yield from self._rows_of_layer(replace(fields, key=key), list(same))

    def _rows_of_layer(self, fields: RowFields, candidates: Sequence[Candidate]) -> Iterator[Row]:
        """Yield the rows of one layer: of its head, or of the scale that every support chooses."""
        if len(candidates) > 1:
            found = self._chosen_scale(candidates, fields.shots)
            yield from self.rows_of(found.measures, replace(fields, selection="support-cv", choices=found.labels))
            return
        yield from self.rows_of(candidates[0].measures, fields)
        if best := candidates[0].best:
            yield from self.rows_of(best.measures, replace(fields, selection="oracle", choices=best.labels))

    def _chosen_rows(self, fields: RowFields, candidates: Sequence[Candidate]) -> Iterator[Row]:
        for selection in CHOSEN:
            if selection in self.layer:
                default = self._default(fields)
                found = choose(selection, candidates, self.trials, fields.shots, default=default, solver=self.solver)
                yield from self.rows_of(found.measures, fields.chosen(selection, found.labels))

    def _default(self, fields: RowFields) -> str:
        return self.trials.pool.support_store.default_layer(fields.key.backbone)

    def _pretrained_rows(self, backbone: str) -> list[Row]:
        """Return the rows of the checkpoint's own head on the same queries; it needs no support, so its shots are 0."""
        scores = self.trials.pretrained_scores(backbone)
        if scores is None:
            return []
        return self.rows_of(self.measured(scores), RowFields(LayerKey(backbone, LOGIT), PRETRAINED))
