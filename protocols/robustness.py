"""Robustness: a head fitted on clean images, measured on the same queries under every perturbation in the store."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Self, final

import numpy as np
from numpy.typing import NDArray

from fewshot.core.arrays import BoolArray, FloatArray
from fewshot.core.errors import InputError, ReportError, unknown_name
from fewshot.core.provenance import provenance
from fewshot.draws.episodes import Per
from fewshot.embeddings.layer_key import CLEAN, LOGIT, LayerKey
from fewshot.embeddings.store.reader import FeatureStore
from fewshot.heads.base import HEADS, Head
from fewshot.protocols.base import QUIET, Protocol, Result, RunContext
from fewshot.protocols.trials.applied import of_device, of_false_positive_rate, of_folds, of_heads, recorded
from fewshot.protocols.trials.caveats import draw_caveats, interval_caveats, row_caveats
from fewshot.protocols.trials.head_solver import HeadSolver
from fewshot.protocols.trials.head_sweep import MeasuredHeads
from fewshot.protocols.trials.intervals import IntervalKind, with_intervals
from fewshot.protocols.trials.layers import CHOSEN, Chosen, is_reported_fixed, keys_to_score, require_consistent
from fewshot.protocols.trials.measures import POOLED, RowFields, measure
from fewshot.protocols.trials.pool import load_pool
from fewshot.protocols.trials.selection import Candidate, choose
from fewshot.protocols.trials.supports import DrawRule, draw_trials
from fewshot.protocols.trials.trials import Trials
from fewshot.results.report import Report
from fewshot.results.row import FLIP_RATE, PRETRAINED, Row
from fewshot.results.scores import name_of_scores
from fewshot.stats.metrics import FEWEST_NATURAL

INPUT_VIEW = "input-"

ByView = dict[str, FloatArray]  # view -> (T, n) scores


@final
@dataclass(frozen=True)
class Robustness(Protocol):
    """Measure heads and pretrained detectors over views: JPEG 100 to 30, blur 0 to 4, or any other in the store.

    The levels are UnivFD's (WisconsinAIVision/UniversalFakeDetect @ 76a0e3e, validate.py).

    Support and threshold come from clean images; the queries of a draw are the same under every view, so that the flip
    rate (share of verdicts that differ from those on the clean image) stands beside each measure. In the row of a
    generator it counts that generator's images, in the pooled row all.

    Args:
        head: head names; a detector's own head is measured too wherever the store holds its score. Heads that learn
            their sign (``rigid``, ``minder``) are reported as calibrated and as in their paper.
        view: views besides ``clean``; empty is every view of the store that acts on pixels.
        shots: labelled clean images per class (or source).
        trials: random draws of the support. seed: what all of them follow from.
        per: shots of each class, or of each source.
        backbone: backbones; all of the store when empty.
        layer: names of layers; ``fixed`` for each backbone's default, ``all``, ``support-cv`` for the layer that
            cross-validation inside each clean support prefers, ``oracle`` for the best on the clean query labels.
        where: columns and the values wanted.
        group: images sharing a value of this column never stand on both sides.
        device: where batched heads compute.
        interval, fewest_natural: as for ``Fiser``.
    """

    name: ClassVar[str] = "robustness"

    head: tuple[str, ...] = ("svm",)
    view: tuple[str, ...] = ()
    shots: int = 10
    trials: int = 100
    seed: int = 0
    per: Per = "class"
    backbone: tuple[str, ...] = ()
    layer: tuple[str, ...] = ("fixed",)
    where: Mapping[str, str] = field(default_factory=dict)
    group: str | None = None
    device: str = "cpu"
    interval: IntervalKind = "auto"
    fewest_natural: int = FEWEST_NATURAL

    def run(self, store: FeatureStore, context: RunContext = QUIET) -> Result:
        """Run the protocol on a store; the scores are (T, n) float32 per layer, head and view.

        Raises:
            EpisodeError: too few images for the draw.
            InputError: a store without any perturbed view.
            UnknownNameError: a backbone, layer, head or view is not there.
        """
        rule = DrawRule(self.shots, self.trials, self.seed, per=self.per)
        require_consistent(self.layer)
        named = replace(self, backbone=self.backbone or store.backbones)
        views = {name: named._views(store, name) for name in named.backbone}
        pool = load_pool(store, backbones=named.backbone, where=self.where, group=self.group)
        return named._measured(draw_trials(pool, rule), views, context)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Return the protocol of a report's configuration, which says for every backbone what views were measured."""
        config = {"interval": "trials", "fewest_natural": 0, **config}  # all that earlier versions knew
        measured = config.get("view")
        if not isinstance(measured, Mapping):
            return super().from_config(config)
        if not all(isinstance(views, list) for views in measured.values()):
            raise ReportError(f"the report's configuration cannot be used (views {str(measured)[:80]}); run it again")
        lists = {tuple(map(str, views)) for views in measured.values()}
        named = lists.pop() if len(lists) == 1 else ()  # views that differ were all those of the store
        return super().from_config({**config, "view": list(named)})

    def _views(self, store: FeatureStore, backbone: str) -> tuple[str, ...]:
        """Return the views measured, ``clean`` first."""
        there = store.views(backbone)
        for view in self.view:
            if view not in there:
                raise unknown_name(f"view of {backbone} in {store.path}", view, there)
        wanted = [view for view in self.view or there if self.view or INPUT_VIEW not in view]
        perturbed = [view for view in wanted if view != CLEAN]
        if not perturbed:
            raise InputError(
                f"{store.path} holds no perturbed view of {backbone}; add some with "
                f"`fewshot embed ... --view clean,jpeg:90,jpeg:50,blur:1` and run again"
            )
        return (CLEAN, *perturbed)

    def _measured(self, trials: Trials, views: Mapping[str, Sequence[str]], context: RunContext) -> Result:
        rows: list[Row] = []
        scores: dict[str, NDArray[Any]] = {}
        work = sum(len(found) for found in views.values()) * len(self.head)
        with context.progress(work, label="robustness", unit="views") as progress:
            for backbone, names in views.items():
                sweep = _ViewSweep(self, trials, backbone, tuple(names))
                rows += sweep.pretrained_rows()
                for name in dict.fromkeys(self.head):
                    for label, head in _heads(name):
                        found = sweep.on_head(label, head, keep_scores=context.keep_scores)
                        rows += found.rows
                        scores |= found.scores
                    progress.advance(len(names), note=f"{backbone} {name}")
        kept = {**scores, **trials.described([self.shots])} if context.keep_scores else None
        return Result(self._report(trials, views, rows), kept)

    def _report(self, trials: Trials, views: Mapping[str, Sequence[str]], rows: Sequence[Row]) -> Report:
        clean = [row for row in rows if row.view == CLEAN]
        config = {
            "view": {name: list(found) for name, found in views.items()},
            "store": trials.pool.support_store.digest,
            "stores": trials.pool.stores_read(self._keys_read(trials, views)),
        }
        heads = [head for name in self.head for _, head in _heads(name)]
        applied = (
            *of_heads(heads, trials, [self.shots]),
            *of_device(heads, self.device, one_by_one=False),
            *of_folds(self.layer, trials, [self.shots]),
            *of_false_positive_rate(trials, "at-most", fewest_natural=self.fewest_natural),
        )
        config |= {"applied": recorded(applied)}
        keys = trials.pool.keys
        return Report(
            protocol=self.name,
            config=self.to_config() | config,
            rows=tuple(rows),
            supports={str(drawn.trial): keys[drawn.support(self.shots)].tolist() for drawn in trials.draws},
            warnings=(
                *trials.pool.warnings,
                *dict.fromkeys(map(str, applied)),
                *draw_caveats(trials.draws),
                *row_caveats(clean, trials.pool.images),
                *interval_caveats(clean, trials, wanted=self.interval),
            ),
            provenance=provenance(),
        )

    def _keys_read(self, trials: Trials, views: Mapping[str, Sequence[str]]) -> list[LayerKey]:
        pool, heads = trials.pool, [HEADS.load(name) for name in self.head]
        found: list[LayerKey] = []
        for backbone, names in views.items():
            layers = keys_to_score(pool.support_store, backbone, self.layer)
            for view in names:
                seen = [replace(key, view=view) for key in layers]
                found += [read for key in seen for head in heads for read in pool.keys_for_head(head, key)]
                found.append(LayerKey(backbone, LOGIT, view))
        return found


@dataclass(frozen=True)
class _ViewSweep:
    """Heads on one backbone, fitted on clean supports and scored under every view, the clean one first."""

    protocol: Robustness
    trials: Trials
    backbone: str
    views: tuple[str, ...]

    def on_head(self, label: str, head: Head, *, keep_scores: bool) -> MeasuredHeads:
        """Score and measure one head on every layer by itself, and on those chosen on clean images trial by trial."""
        n_support = len(self.trials.draws[0].support(self.protocol.shots))
        fields = RowFields(LayerKey(self.backbone, ""), label, n_support=n_support, shots=self.protocol.shots)
        rows: list[Row] = []
        kept: dict[str, NDArray[Any]] = {}
        scored: dict[LayerKey, ByView] = {}
        for key in keys_to_score(self.trials.pool.support_store, self.backbone, self.protocol.layer):
            by_view = self._scores_by_view(head, key)
            if is_reported_fixed(key.layer, self.protocol.layer, default=self._default):
                rows += self._rows_by_view(replace(fields, key=key), by_view)
            if self._selections:
                scored[key] = by_view
            if keep_scores:
                kept |= _named(by_view, key, label, self.protocol.shots)
        return MeasuredHeads((*rows, *self._chosen_rows(fields, head, scored)), kept)

    @property
    def _selections(self) -> list[Chosen]:
        return [selection for selection in CHOSEN if selection in self.protocol.layer]

    @property
    def _solver(self) -> HeadSolver:
        return HeadSolver(device=self.protocol.device)

    @property
    def _default(self) -> str:
        return self.trials.pool.support_store.default_layer(self.backbone)

    def _scores_by_view(self, head: Head, key: LayerKey) -> ByView:
        pool = self.trials.pool
        clean = pool.for_head(head, key)
        return {
            view: self._scores(head, clean, clean if view == CLEAN else pool.for_head(head, replace(key, view=view)))
            for view in self.views
        }

    def _scores(self, head: Head, clean: FloatArray, perturbed: FloatArray) -> FloatArray:
        """Return (T, n) scores of the perturbed images (n, D) by the head fitted on clean supports.

        Both are one pool to the head: supports lie in its first half, and the second is what is queried.
        """
        supports = np.stack(self.trials.supports(self.protocol.shots))
        both, labels = np.concatenate([clean, perturbed]), np.tile(self.trials.synthetic, 2)
        return self._solver.score_supports(head, both, labels, supports)[:, len(clean) :]

    def _chosen_rows(self, fields: RowFields, head: Head, scored: Mapping[LayerKey, ByView]) -> Iterator[Row]:
        candidates = [Candidate(key, head, measure(self.trials, by_view[CLEAN])) for key, by_view in scored.items()]
        for selection in self._selections:
            found = choose(selection, candidates, self.trials, fields.shots, default=self._default, solver=self._solver)
            yield from self._rows_by_view(fields.chosen(selection, found.labels), self._taken(scored, found.labels))

    def _taken(self, scored: Mapping[LayerKey, ByView], layers: Sequence[str]) -> ByView:
        """Return every trial's scores on the layer chosen for it; a perturbation never chooses."""
        keys = [LayerKey(self.backbone, layer) for layer in layers]
        return {view: np.stack([scored[key][view][trial] for trial, key in enumerate(keys)]) for view in self.views}

    def pretrained_rows(self) -> Iterator[Row]:
        """Yield the rows of the checkpoint's own head, where the store holds its score under a view."""
        found = {view: self.trials.pretrained_scores(self.backbone, view=view) for view in self.views}
        scored = {view: scores for view, scores in found.items() if scores is not None}
        yield from self._rows_by_view(RowFields(LayerKey(self.backbone, LOGIT), PRETRAINED), scored)

    def _rows_by_view(self, fields: RowFields, scored: Mapping[str, FloatArray]) -> Iterator[Row]:
        """Yield the rows of scores (T, n) by view; verdicts flip against those of the clean view."""
        clean = scored.get(CLEAN)
        for view, scores in scored.items():
            measured = measure(self.trials, scores, fewest_natural=self.protocol.fewest_natural)
            options: dict[str, Any] = {"shots": fields.shots, "seed": self.protocol.seed}
            spanning = with_intervals(measured, self.trials, scores, wanted=self.protocol.interval, **options)
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


def _heads(name: str) -> list[tuple[str, Head]]:
    """Return the head under its name; one whose sign is calibrated also as its paper has it."""
    head: Head = HEADS.load(name)()
    if "direction" not in head.get_params():
        return [(name, head)]
    return [(name, head), (f"{name} (paper)", HEADS.load(name)(direction="paper"))]


def _named(by_view: ByView, key: LayerKey, label: str, shots: int) -> dict[str, NDArray[Any]]:
    return {
        name_of_scores(key.backbone, key.layer, label, shots, view=view): scores.astype(np.float32)
        for view, scores in by_view.items()
    }
