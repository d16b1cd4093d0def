"""Robustness: a head fitted on clean images, measured on the same queries under every perturbation in the store."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Self, final

from fewshot.core.errors import InputError, ReportError, unknown_name
from fewshot.core.progress import Progress
from fewshot.core.provenance import provenance
from fewshot.draws.episodes import Per
from fewshot.embeddings.layer_key import CLEAN, LOGIT, LayerKey
from fewshot.embeddings.store.reader import FeatureStore
from fewshot.heads.base import HEADS, Head
from fewshot.protocols.base import QUIET, Protocol, Result, RunContext
from fewshot.protocols.trials.applied import of_device, of_false_positive_rate, of_folds, of_heads, of_scale, recorded
from fewshot.protocols.trials.backbone_sets import BackboneSets, FusionForm, backbone_sets
from fewshot.protocols.trials.caveats import draw_caveats, interval_caveats, row_caveats
from fewshot.protocols.trials.fused_views import FusedViews
from fewshot.protocols.trials.fusion import Fusion, of_fusion, require_folds
from fewshot.protocols.trials.head_variants import (
    HeadVariants,
    Scale,
    require_not_fused,
    require_scale,
    transductive_caveats,
    variants_of,
)
from fewshot.protocols.trials.intervals import IntervalKind
from fewshot.protocols.trials.layers import keys_to_score, require_consistent
from fewshot.protocols.trials.pool import load_pool
from fewshot.protocols.trials.supports import DrawRule, draw_trials
from fewshot.protocols.trials.trials import Trials
from fewshot.protocols.trials.view_sweep import ByView, ViewedHead, ViewSweep
from fewshot.results.report import Report
from fewshot.results.row import Row
from fewshot.solvers.fusion_weights import Weigh
from fewshot.stats.metrics import FEWEST_NATURAL

INPUT_VIEW = "input-"


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
        backbone: backbones, and sets ``a+b`` that are fused; all of the store when empty.
        layer: names of layers; ``fixed`` for each backbone's default, ``all``, ``support-cv`` for the layer that
            cross-validation inside each clean support prefers, ``oracle`` for the best on the clean query labels.
        where: columns and the values wanted.
        group: images sharing a value of this column never stand on both sides.
        device: where batched heads compute.
        interval, fewest_natural, fuse, fuse_weights: as for ``Fiser``; weights and fit come from clean supports, and
            every view that all of a set's backbones have is measured.
        scale: as for ``Fiser``; ``standard`` and ``auto`` look at clean supports, ``pool`` at the unlabelled queries
            under the view that is measured.
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
    scale: Scale = "unit"
    fuse: FusionForm | None = None
    fuse_weights: Weigh = "alignment"

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
        sets = backbone_sets(store, self.backbone, layer=self.layer, fuse=self.fuse)
        named._fusion.require_possible(self.head, (self.shots,), sets)
        require_scale(self.scale, (self.shots,))
        if sets.sets:
            require_not_fused([head for name in self.head for _, head in _heads(name)], self.scale)
        views = {name: named._views(store, name) for name in sets.members}
        pool = load_pool(store, backbones=sets.members, where=self.where, group=self.group)
        return named._measured(draw_trials(pool, rule), sets, views, context)

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

    def _measured(
        self, trials: Trials, sets: BackboneSets, views: Mapping[str, Sequence[str]], context: RunContext
    ) -> Result:
        sweep = ViewSweep(trials, self.shots, self.layer, self.device, self.interval, self.fewest_natural, self.seed)
        require_folds(sets, self._fusion, trials, (self.shots,))
        work = sum(map(len, views.values())) * len(self.head)
        with context.progress(work, label="robustness", unit="views") as progress:
            found = list(self._found(sweep, sets, views, context.keep_scores, progress))
        rows = [row for each in found for row in each.rows]
        scores = {name: array for each in found for name, array in each.scores.items()}
        kept = {**scores, **trials.described([self.shots])} if context.keep_scores else None
        return Result(self._report(trials, sets, views, rows), kept)

    def _found(
        self,
        sweep: ViewSweep,
        sets: BackboneSets,
        views: Mapping[str, Sequence[str]],
        keep_scores: bool,
        progress: Progress,
    ) -> Iterator[ViewedHead]:
        """Yield what every head gives on every backbone, on one chosen among them, and on every set."""
        scored: dict[str, dict[LayerKey, ByView]] = {}
        for backbone in sets.singles:
            yield ViewedHead(tuple(sweep.pretrained_rows(backbone, views[backbone])))
            for name in dict.fromkeys(self.head):
                for label, head in _heads(name):
                    swept = _variants(label, head, self.scale)
                    one = sweep.on_head(backbone, views[backbone], swept, keep_scores=keep_scores)
                    if sets.choice and label == name:
                        scored.setdefault(name, {}).update(one.by_key)
                    yield replace(one, by_key={})
                progress.advance(len(views[backbone]), note=f"{backbone} {name}")
        fused = FusedViews(sweep, self._fusion)
        for name in dict.fromkeys(self.head if sets.sets else ()):
            _, base = _heads(name)[0]
            if sets.choice:
                yield fused.choice(base, scored.pop(name), keep_scores=keep_scores)
            for wanted in sets.sets:
                yield fused.on_set(wanted, views, base, keep_scores=keep_scores)

    def _report(
        self, trials: Trials, sets: BackboneSets, views: Mapping[str, Sequence[str]], rows: Sequence[Row]
    ) -> Report:
        clean = [row for row in rows if row.view == CLEAN]
        config = {
            "view": {name: list(found) for name, found in views.items()},
            "store": trials.pool.support_store.digest,
            "stores": trials.pool.stores_read(self._keys_read(trials, views)),
        }
        heads = [head for name in self.head for _, head in _heads(name)]
        applied = (
            *of_heads(heads, trials, [self.shots]),
            *of_scale(heads, self.scale),
            *of_device(heads, self.device, one_by_one=False),
            *of_folds(self.layer, trials, [self.shots], scale=self.scale),
            *of_fusion(sets, self._fusion, trials, [self.shots]),
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
                *transductive_caveats([_variants(head.name, head, self.scale) for head in heads], trials),
                *row_caveats(clean, trials.pool.images),
                *interval_caveats(clean, trials, wanted=self.interval),
            ),
            provenance=provenance(),
        )

    @property
    def _fusion(self) -> Fusion:
        return Fusion(self.fuse, self.fuse_weights)

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


def _variants(label: str, head: Head, scale: Scale) -> HeadVariants:
    """Return a head on the scale that is wanted; a label of its own stays."""
    found = variants_of(head, scale)
    return found if label == head.name else replace(found, label=label)


def _heads(name: str) -> list[tuple[str, Head]]:
    """Return the head under its name; one whose sign is calibrated also as its paper has it."""
    head: Head = HEADS.load(name)()
    if "direction" not in head.get_params():
        return [(name, head)]
    return [(name, head), (f"{name} (paper)", HEADS.load(name)(direction="paper"))]
