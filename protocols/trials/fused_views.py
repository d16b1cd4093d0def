"""Heads over several backbones under every view, weighed on clean supports; and one backbone chosen on clean images."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from numpy.typing import NDArray

from fewshot.embeddings.layer_key import CLEAN, LayerKey
from fewshot.heads.base import Head
from fewshot.protocols.trials.backbone_sets import BackboneSet
from fewshot.protocols.trials.fusion import Fusion, blocks_of, choice_among, set_fields, support_weights, weight_rows
from fewshot.protocols.trials.layers import CHOSEN, keys_to_score
from fewshot.protocols.trials.measures import RowFields, measure
from fewshot.protocols.trials.selection import choose
from fewshot.protocols.trials.view_sweep import ByView, ViewedHead, ViewSweep, named_scores, taken
from fewshot.results.row import ONE, Row


@dataclass(frozen=True)
class FusedViews:
    """Heads over several backbones, and the choice of one, under the views that all of these have.

    Args:
        sweep: the trials, and how single heads are scored under views.
        fusion: how several backbones make one head.
    """

    sweep: ViewSweep
    fusion: Fusion

    def on_set(
        self, wanted: BackboneSet, views: Mapping[str, Sequence[str]], base: Head, *, keep_scores: bool
    ) -> ViewedHead:
        """Score and measure a head on a set of backbones; weights and fit come from clean supports.

        Args:
            views: backbone -> its views.
        """
        trials, pool = self.sweep.trials, self.sweep.trials.pool
        store, layer = pool.support_store, self.sweep.layer
        keys = [key for name in wanted.members for key in keys_to_score(store, name, layer)]
        under = {
            view: blocks_of(pool, base, [replace(key, view=view) for key in keys])
            for view in shared_views(views, wanted.members)
        }
        clean = under[CLEAN]
        head = self.fusion.head(base, clean.widths)
        fields = replace(set_fields(wanted, keys, layer), **_size(self.sweep, base))
        by_view = self.sweep.scores_by_view(head, {view: blocks.features for view, blocks in under.items()})
        weights = support_weights(head, trials, clean.features, self.sweep.shots, solver=self.sweep.solver)
        rows = list(self.sweep.rows_by_view(fields, by_view))
        rows += weight_rows(weights, keys, fields, trials, measure(trials, by_view[CLEAN]))
        return ViewedHead(tuple(rows), self._kept(by_view, fields) if keep_scores else {})

    def choice(self, base: Head, scored: Mapping[LayerKey, ByView], *, keep_scores: bool) -> ViewedHead:
        """Measure the backbone that is chosen in every trial on clean images, under every view.

        Args:
            scored: layers of all backbones -> their scores by view.
        """
        rows: list[Row] = []
        kept: dict[str, NDArray[Any]] = {}
        found = choice_among(self.sweep.candidates(base, scored))
        by_label = {one.called: scored[one.key] for one in found}
        for selection in CHOSEN:
            options: dict[str, Any] = {"default": "", "solver": self.sweep.solver}
            chosen = choose(selection, found, self.sweep.trials, self.sweep.shots, **options)
            members = tuple(str(one.key) for one in found)
            fields = replace(RowFields(LayerKey(ONE, ""), "", members=members), **_size(self.sweep, base))
            fields = fields.chosen(selection, chosen.labels)
            by_view = taken(by_label, chosen.labels)
            rows += self.sweep.rows_by_view(fields, by_view)
            kept |= self._kept(by_view, fields) if keep_scores else {}
        return ViewedHead(tuple(rows), kept)

    def _kept(self, by_view: ByView, fields: RowFields) -> dict[str, NDArray[Any]]:
        return named_scores(by_view, fields.key, fields.head, self.sweep.shots)


def shared_views(views: Mapping[str, Sequence[str]], members: Sequence[str]) -> list[str]:
    """Return the views that all members have, in the first one's order."""
    first, *others = (views[name] for name in members)
    return [view for view in first if all(view in other for other in others)]


def _size(sweep: ViewSweep, base: Head) -> dict[str, Any]:
    fields = sweep.fields(LayerKey("", ""), base.name)
    return {"head": fields.head, "n_support": fields.n_support, "shots": fields.shots}
