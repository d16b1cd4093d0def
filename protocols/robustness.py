"""Robustness: a head fitted on clean images, asked about the same queries after every perturbation in the store."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, ClassVar

import numpy as np

from fewshot.core.arrays import FloatArray
from fewshot.core.errors import InputError, OptionError, unknown_name
from fewshot.core.progress import Progress
from fewshot.core.provenance import provenance
from fewshot.draws.episodes import Draw, Per
from fewshot.embeddings.layer_key import CLEAN, LOGIT
from fewshot.embeddings.store.reader import FeatureStore
from fewshot.heads.base import HEADS, Head
from fewshot.protocols.base import Protocol
from fewshot.protocols.trials.caveats import draw_caveats, interval_caveats, row_caveats
from fewshot.protocols.trials.layers import CHOSEN, is_reported_fixed, layers_to_score, require_sense
from fewshot.protocols.trials.measures import POOLED, measure
from fewshot.protocols.trials.pool import EvaluationPool, load_pool
from fewshot.protocols.trials.selection import Candidate, chosen_by_cross_validation, chosen_by_oracle
from fewshot.protocols.trials.supports import draw_all
from fewshot.results.report import Report
from fewshot.results.row import PRETRAINED, Row

FLIP_RATE = "flip_rate"
INPUT_VIEW = "input-"


@dataclass(frozen=True)
class Robustness(Protocol):
    """Measure heads and pretrained detectors over views: JPEG 100 to 30 and blur 0 to 4, or any other.

    The levels are UnivFD's (WisconsinAIVision/UniversalFakeDetect @ 76a0e3e, validate.py).

    Support and threshold come from clean images; the queries of a draw are the same under every view, so that the flip
    rate (share of verdicts that differ from those on the clean image) stands beside each measure. In the row of a
    generator it counts that generator's images, in the pooled row all.

    Args:
        head: head names; a detector's own head is measured too wherever the store holds its score. Heads that learn
            their sign (``rigid``, ``minder``) are reported as calibrated and as in their paper.
        view: views besides ``clean``; empty is every view of the store that acts on pixels.
        shots: labelled clean images per class (or source).
        backbone: backbones; all of the store when empty.
        layer: names of layers; ``fixed`` for each backbone's default, ``all``, ``support-cv`` for the layer that
            cross-validation inside each clean support prefers, ``oracle`` for the best on the clean query labels.
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

    def run(self, store: FeatureStore, *, quiet: bool = True) -> Report:
        """Run the protocol on a store.

        Raises:
            EpisodeError: too few images for the draw.
            InputError: a store without any perturbed view.
            UnknownNameError: a backbone, layer, head or view is not there.
        """
        backbones = self.backbone or store.backbones
        views = {name: self._views(store, name) for name in backbones}
        if self.trials < 1 or self.shots < 1:
            raise OptionError(f"shots and trials must be at least 1, and are {self.shots} and {self.trials}")
        require_sense(self.layer)
        pool = load_pool(store, backbones=backbones, where=self.where, group=self.group)
        draws = draw_all(pool, method="nested", shots=self.shots, trials=self.trials, seed=self.seed, per=self.per)
        rows: list[Row] = []
        work = sum(len(found) for found in views.values()) * len(self.head)
        with Progress(work, label="robustness", unit="views", quiet=quiet) as progress:
            for name in backbones:
                rows += self._pretrained(pool, draws, name, views[name])
                for head in self.head:
                    for label, fresh in _heads(head):
                        rows += self._head_rows(pool, draws, name, label, fresh, views[name])
                    progress.advance(len(views[name]), note=f"{name} {head}")
        clean = [row for row in rows if row.view == CLEAN]
        return Report(
            protocol=self.name,
            config=_config(self, store, views),
            rows=tuple(rows),
            supports={str(drawn.trial): pool.keys[drawn.support(self.shots)].tolist() for drawn in draws},
            warnings=(
                *pool.warnings,
                *draw_caveats(draws),
                *row_caveats(clean),
                *interval_caveats(clean, draws, pool.images.synthetic, kind="trials"),
            ),
            provenance=provenance(),
        )

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

    def _head_rows(
        self,
        pool: EvaluationPool,
        draws: Sequence[Draw],
        backbone: str,
        label: str,
        head: Head,
        views: Sequence[str],
    ) -> list[Row]:
        """Return the rows of one head: of every fixed layer, and of those chosen on clean images trial by trial."""
        store = pool.parts[0][0]
        default, layers = store.default_layer(backbone), layers_to_score(store, backbone, self.layer)
        supports = np.stack([drawn.support(self.shots) for drawn in draws])
        about = {"backbone": backbone, "head": label, "n_support": supports.shape[1], "shots": self.shots}
        choices = [name for name in CHOSEN if name in self.layer]
        rows, scored = [], {}
        for layer in layers:
            found = self._scores_by_view(pool, head, backbone, layer, supports, views)
            if is_reported_fixed(layer, self.layer, default=default):
                rows += _rows_by_view(pool, draws, found, {**about, "layer": layer, "selection": "fixed"})
            if choices:
                scored[layer] = found
        for name in choices:
            candidates = [Candidate(layer, head, measure(pool, draws, scored[layer][CLEAN])) for layer in layers]
            labels = self._chosen(name, candidates, pool, draws, backbone, default)
            taken = {
                view: np.stack([scored[layer][view][trial] for trial, layer in enumerate(labels)]) for view in views
            }
            rows += _rows_by_view(pool, draws, taken, {**about, "layer": name, "selection": name}, labels)
        return rows

    def _chosen(
        self,
        name: str,
        candidates: Sequence[Candidate],
        pool: EvaluationPool,
        draws: Sequence[Draw],
        backbone: str,
        default: str,
    ) -> tuple[str, ...]:
        """Return the layer of every trial, chosen on clean images; a perturbation never chooses."""
        if name == "oracle":
            return chosen_by_oracle(candidates).labels
        return chosen_by_cross_validation(
            candidates, pool, draws, backbone=backbone, shots=self.shots, default=default
        ).labels

    def _scores_by_view(
        self, pool: EvaluationPool, head: Head, backbone: str, layer: str, supports: Any, views: Sequence[str]
    ) -> dict[str, FloatArray]:
        clean = pool.for_head(head, backbone, layer)
        return {
            view: self._scores(pool, head, clean, pool.for_head(head, backbone, layer, view=view), supports)
            for view in views
        }

    def _scores(
        self, pool: EvaluationPool, head: Head, clean: FloatArray, perturbed: FloatArray, supports: Any
    ) -> FloatArray:
        """Return (T, n) scores of the perturbed images by heads fitted on clean ones.

        Both halves are one pool to the head: supports lie in the first, and the second is what is asked.
        """
        both = np.concatenate([clean, perturbed])
        labels = np.tile(pool.images.synthetic, 2)
        return head.score_draws(both, labels, supports, device=self.device)[:, len(clean) :]

    def _pretrained(
        self, pool: EvaluationPool, draws: Sequence[Draw], backbone: str, views: Sequence[str]
    ) -> list[Row]:
        store, chosen = pool.parts[0]
        about = {"backbone": backbone, "layer": LOGIT, "head": PRETRAINED, "n_support": 0, "shots": 0}
        scored = {}
        for view in views:
            if store.has_logit(backbone, view=view):
                logit = store.read(chosen, backbone, LOGIT, view=view)[:, 0].astype(np.float64)
                scored[view] = np.broadcast_to(logit, (len(draws), len(logit)))
        return _rows_by_view(pool, draws, scored, {**about, "selection": "fixed"})


def _heads(name: str) -> list[tuple[str, Head]]:
    """Return the head under its name; one whose sign is calibrated also as its paper has it."""
    head: Head = HEADS.load(name)()
    if "direction" not in head.get_params():
        return [(name, head)]
    return [(name, head), (f"{name} (paper)", HEADS.load(name)(direction="paper"))]


def _rows_by_view(
    pool: EvaluationPool,
    draws: Sequence[Draw],
    scored: Mapping[str, FloatArray],
    about: Mapping[str, Any],
    choices: Sequence[str] = (),
) -> list[Row]:
    """Return the rows of scores (T, n) by view; verdicts flip against those of the first, the clean one."""
    rows: list[Row] = []
    for view, scores in scored.items():
        facts = {**about, "view": view}
        found = measure(pool, draws, scores).rows(facts, choices=choices)
        clean = scored.get(CLEAN)
        rows += found if clean is None else found + _flip_rows(pool, draws, scores, clean, found)
    return rows


def _flip_rows(
    pool: EvaluationPool, draws: Sequence[Draw], scores: FloatArray, clean: FloatArray, measured: Sequence[Row]
) -> list[Row]:
    """Return the flip rate beside each place that was measured."""
    flipped = (scores > 0) != (clean > 0)
    rows = []
    for row in {(row.dataset, row.source): row for row in measured}.values():
        of_source = pool.images.synthetic & (pool.images.source == row.source)
        if row.source != POOLED and not of_source.any():
            continue
        values = []
        for trial, drawn in enumerate(draws):
            asked = drawn.query if row.source == POOLED else drawn.query[of_source[drawn.query]]
            asked = asked if row.dataset == pool.title else asked[pool.dataset[asked] == row.dataset]
            values.append(float(flipped[trial, asked].mean()) if len(asked) else float("nan"))
        rows.append(replace(row, metric=FLIP_RATE, values=tuple(values), interval=None))
    return rows


def _config(protocol: Robustness, store: FeatureStore, views: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    fields = asdict(protocol) | {"view": {name: list(found) for name, found in views.items()}, "store": store.digest}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in fields.items()}
