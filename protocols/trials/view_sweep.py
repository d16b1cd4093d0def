"""Heads fitted on clean supports and scored under every view: the rows of each, and of layers that are chosen."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fewshot.core.arrays import BoolArray, FloatArray
from fewshot.embeddings.layer_key import CLEAN, LOGIT, LayerKey
from fewshot.heads.base import Head
from fewshot.protocols.trials.head_solver import HeadSolver
from fewshot.protocols.trials.head_variants import HeadVariants
from fewshot.protocols.trials.intervals import IntervalKind, with_intervals
from fewshot.protocols.trials.layers import CHOSEN, is_reported_fixed, keys_to_score
from fewshot.protocols.trials.measures import POOLED, RowFields, measure
from fewshot.protocols.trials.selection import Candidate, choose, chosen_scale
from fewshot.protocols.trials.trials import Trials
from fewshot.results.row import FLIP_RATE, PRETRAINED, Row
from fewshot.results.scores import name_of_scores
from fewshot.stats.metrics import FEWEST_NATURAL

ByView = dict[str, FloatArray]  # view -> (T, n) scores


@dataclass(frozen=True)
class ViewedHead:
    """What one head gives under every view.

    Args:
        rows: of the report.
        scores: (T, n) float32 by ``name_of_scores``; empty unless they are kept.
        by_key: layer -> its scores by view.
    """

    rows: tuple[Row, ...]
    scores: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    by_key: Mapping[LayerKey, ByView] = field(default_factory=dict)


@dataclass(frozen=True)
class ViewSweep:
    """Heads fitted on clean supports and scored under every view.

    Args:
        trials: what is fitted on and queried.
        shots: of the supports.
        layer: names of layers, ``fixed``, ``all``, ``support-cv``, ``oracle``.
        device: where batched heads compute.
        interval, fewest_natural, seed: how scores are measured, see ``measure`` and ``with_intervals``.
    """

    trials: Trials
    shots: int
    layer: tuple[str, ...] = ("fixed",)
    device: str = "cpu"
    interval: IntervalKind = "auto"
    fewest_natural: int = FEWEST_NATURAL
    seed: int = 0

    def on_head(self, backbone: str, views: Sequence[str], swept: HeadVariants, *, keep_scores: bool) -> ViewedHead:
        """Score and measure one head on every layer by itself, and on those chosen on clean images trial by trial.

        Args:
            views: the clean one first.
            swept: the head; of several scales every trial chooses one on clean images too.
        """
        fields = self.fields(LayerKey(backbone, ""), swept.label)
        rows: list[Row] = []
        kept: dict[str, NDArray[Any]] = {}
        scored: dict[LayerKey, ByView] = {}
        every: list[tuple[Candidate, ByView]] = []
        default = self._default(backbone)
        for key in keys_to_score(self.trials.pool.support_store, backbone, self.layer):
            on_layer = list(self._on_layer(swept, key, views))
            of_layer, scored[key] = self._one_scale(replace(fields, key=key), on_layer)
            if is_reported_fixed(key.layer, self.layer, default=default):
                rows += self.rows_by_view(of_layer, scored[key])
            every += on_layer
            if keep_scores:
                kept |= named_scores(scored[key], key, swept.label, self.shots)
        return ViewedHead((*rows, *self._chosen_rows(fields, every)), kept, scored)

    def _on_layer(self, swept: HeadVariants, key: LayerKey, views: Sequence[str]) -> Iterator[tuple[Candidate, ByView]]:
        """Yield a head on a layer on each of its scales: as it does on clean images, and its scores by view."""
        for variant in swept.variants:
            by_view = self._scores_by_view(variant.head, key, views)
            (found,) = self.candidates(variant.head, {key: by_view})
            yield replace(found, label=swept.called(variant, key.layer)), by_view

    def _one_scale(self, fields: RowFields, on_layer: Sequence[tuple[Candidate, ByView]]) -> tuple[RowFields, ByView]:
        """Return the scores by view of one layer, on the scale that every trial chooses where there are several."""
        if len(on_layer) == 1:
            return fields, on_layer[0][1]
        found = [candidate for candidate, _ in on_layer]
        chosen = chosen_scale(found, self.trials, fields.shots, solver=self.solver)
        by_label = {candidate.called: by_view for candidate, by_view in on_layer}
        return replace(fields, selection="support-cv", choices=chosen.labels), taken(by_label, chosen.labels)

    def fields(self, key: LayerKey, label: str) -> RowFields:
        """Return what all rows of one head say alike."""
        n_support = len(self.trials.draws[0].support(self.shots))
        return RowFields(key, label, n_support=n_support, shots=self.shots)

    @property
    def solver(self) -> HeadSolver:
        """How heads are fitted."""
        return HeadSolver(device=self.device)

    def _default(self, backbone: str) -> str:
        return self.trials.pool.support_store.default_layer(backbone)

    def _scores_by_view(self, head: Head, key: LayerKey, views: Sequence[str]) -> ByView:
        return self.scores_by_view(
            head, {view: self.trials.pool.for_head(head, replace(key, view=view)) for view in views}
        )

    def scores_by_view(self, head: Head, features: Mapping[str, FloatArray]) -> ByView:
        """Return the scores of features (n, D) by view, the clean one among them."""
        clean = features[CLEAN]
        return {view: self._scores(head, clean, perturbed) for view, perturbed in features.items()}

    def _scores(self, head: Head, clean: FloatArray, perturbed: FloatArray) -> FloatArray:
        """Return (T, n) scores of the perturbed images (n, D) by the head fitted on clean supports.

        Both are one pool to the head: supports lie in its first half, and the second is what is queried, which is
        what a transductive head looks at.
        """
        supports = np.stack(self.trials.supports(self.shots))
        both, labels = np.concatenate([clean, perturbed]), np.tile(self.trials.synthetic, 2)
        queried = self.trials.query_mask()
        queries = np.concatenate([np.zeros_like(queried), queried], axis=1)
        return self.solver.score_supports(head, both, labels, supports, queries=queries)[:, len(clean) :]

    def _chosen_rows(self, fields: RowFields, every: Sequence[tuple[Candidate, ByView]]) -> Iterator[Row]:
        for selection in CHOSEN:
            if selection not in self.layer:
                continue
            default = self._default(fields.key.backbone)
            candidates = [candidate for candidate, _ in every]
            found = choose(selection, candidates, self.trials, fields.shots, default=default, solver=self.solver)
            by_label = {candidate.called: by_view for candidate, by_view in every}
            yield from self.rows_by_view(fields.chosen(selection, found.labels), taken(by_label, found.labels))

    def candidates(self, head: Head, scored: Mapping[LayerKey, ByView]) -> list[Candidate]:
        """Return what a choice is made among: layers as they do on clean images, for a perturbation never chooses."""
        return [Candidate(key, head, measure(self.trials, by_view[CLEAN])) for key, by_view in scored.items()]

    def pretrained_rows(self, backbone: str, views: Sequence[str]) -> Iterator[Row]:
        """Yield the rows of the checkpoint's own head, where the store holds its score under a view."""
        found = {view: self.trials.pretrained_scores(backbone, view=view) for view in views}
        scored = {view: scores for view, scores in found.items() if scores is not None}
        yield from self.rows_by_view(RowFields(LayerKey(backbone, LOGIT), PRETRAINED), scored)

    def rows_by_view(self, fields: RowFields, scored: Mapping[str, FloatArray]) -> Iterator[Row]:
        """Yield the rows of scores (T, n) by view; verdicts flip against those of the clean view."""
        clean = scored.get(CLEAN)
        for view, scores in scored.items():
            measured = measure(self.trials, scores, fewest_natural=self.fewest_natural)
            options: dict[str, Any] = {"shots": fields.shots, "seed": self.seed}
            spanning = with_intervals(measured, self.trials, scores, wanted=self.interval, **options)
            found = spanning.rows(replace(fields, key=replace(fields.key, view=view)))
            yield from found
            if clean is not None:
                yield from self._flip_rows((scores > 0) != (clean > 0), found)

    def _flip_rows(self, flipped: BoolArray, measured: Sequence[Row]) -> Iterator[Row]:
        """Yield the flip rate, of verdicts (T, n) that differ, beside each query set that was measured."""
        pool = self.trials.pool
        for row in {(row.dataset, row.source): row for row in measured}.values():
            of_source = pool.images.synthetic & (pool.images.source == row.source)
            if row.source != POOLED and not of_source.any():
                continue
            counted = of_source if row.source != POOLED else np.ones(len(pool.images), bool)
            if row.dataset != pool.title:
                counted = counted & (pool.dataset == row.dataset)
            queries = [drawn.query[counted[drawn.query]] for drawn in self.trials.draws]
            values = [
                float(flipped[t, query].mean()) if len(query) else float("nan") for t, query in enumerate(queries)
            ]
            yield replace(row, metric=FLIP_RATE, values=tuple(values), interval=None, interval_kind=None)


def named_scores(by_view: ByView, key: LayerKey, label: str, shots: int) -> dict[str, NDArray[Any]]:
    """Return the scores of one head on one layer under the names by which they are kept, float32."""
    return {
        name_of_scores(key.backbone, key.layer, label, shots, view=view): scores.astype(np.float32)
        for view, scores in by_view.items()
    }


def taken(by_label: Mapping[str, ByView], chosen: Sequence[str]) -> ByView:
    """Return every trial's scores of what was chosen for it, by view.

    Args:
        by_label: what can be chosen -> its scores by view.
        chosen: (T,) what was, trial by trial.
    """
    views = set.intersection(*(set(by_view) for by_view in by_label.values()))
    return {
        view: np.stack([by_label[label][view][trial] for trial, label in enumerate(chosen)])
        for view in next(iter(by_label.values()))
        if view in views
    }
