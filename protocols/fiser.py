"""The few-shot protocol of FiSeR (arXiv 2606.00606): freeze the backbone, fit a head on a few images, query the rest.

What the published evaluation chooses on query labels (layer, k) is fixed here, unless the user asks for the oracle and
gets it beside the honest number (evaluate.py @ ad2637c; docs/decisions/0003-selection.md).
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from fewshot.core.arrays import Float32Array, FloatArray
from fewshot.core.errors import OptionError
from fewshot.core.progress import Progress
from fewshot.core.provenance import provenance
from fewshot.draws.episodes import Draw, Per
from fewshot.embeddings.layer_key import LOGIT
from fewshot.embeddings.store.reader import FeatureStore
from fewshot.heads.base import HEADS, Head
from fewshot.heads.knn import Knn
from fewshot.protocols.base import Protocol
from fewshot.protocols.trials.caveats import draw_caveats, interval_caveats, row_caveats
from fewshot.protocols.trials.layers import is_reported_fixed, layers_to_score, require_sense
from fewshot.protocols.trials.measures import Kind, facts, measure, query_mask, support_mask, with_intervals
from fewshot.protocols.trials.pool import EvaluationPool, load_pool
from fewshot.protocols.trials.selection import (
    Candidate,
    Choice,
    chosen_by_cross_validation,
    chosen_by_oracle,
    score,
    score_best_k,
)
from fewshot.protocols.trials.supports import Method, draw_all, draw_given, left_over
from fewshot.results.report import Report
from fewshot.results.row import PRETRAINED, Row
from fewshot.results.scores import name_of_scores, name_of_support
from fewshot.stats.metrics import Tpr

Solver = Literal["batched", "sklearn"]
DEFAULT_SHOTS = 10
HONEST_K = 5  # the k that stands beside the oracle's
LARGEST_K = 51  # FiSeR tries k = 1 .. 51 (evaluate.py @ ad2637c)


@dataclass(frozen=True)
class Fiser(Protocol):
    """Few labelled images per class (or per source), a small head, everything else of the benchmark queried.

    Args:
        shots: shot counts; all of a trial share one query set. Empty with ``support``: every image listed.
        head: head names.
        per: shots of each class, or of each source.
        backbone: backbones; all of the store when empty.
        layer: ``fixed`` (the backbone's default), layer names, ``all``, ``support-cv`` or ``oracle``.
        where: columns and the values wanted.
        group: images sharing a value of this column never stand on both sides.
        query: path of another store whose images are queried.
        support: lists of sample keys, one per trial, instead of a draw.
        draw: ``nested``, ``fiser`` (Python's shuffle, scikit-learn's solvers, ddof 0, duplicates stay), ``herding`` or
            ``kcenter``.
        stratified: spread a class's shots over its sources.
        tpr: TPR at the largest FPR of at most 5 %, or at the ROC point nearest to it.
        solver: ``batched``, or ``sklearn`` for one fit after another at scikit-learn's tolerance.
        k: neighbours of the head ``knn``; ``oracle`` for the best of 1 .. 51 on query labels.
        rule: rule of the head ``knn``.
        device: where batched heads compute.
        interval: of the mean AUROC of fixed rows: over ``trials``, ``two-way`` over trials and query images, or
            ``delong`` over the query images of a single trial.
    """

    name: ClassVar[str] = "fiser"

    shots: tuple[int, ...] = (10,)
    head: tuple[str, ...] = ("svm",)
    trials: int = 100
    seed: int = 0
    per: Per = "class"
    backbone: tuple[str, ...] = ()
    layer: tuple[str, ...] = ("fixed",)
    where: Mapping[str, str] = field(default_factory=dict)
    group: str | None = None
    query: str | None = None
    support: tuple[tuple[str, ...], ...] = ()
    draw: Method = "nested"
    stratified: bool = False
    tpr: Tpr = "at-most"
    solver: Solver = "batched"
    k: int | Literal["oracle"] = 5
    rule: Literal["legacy", "exponential"] = "legacy"
    device: str = "cpu"
    interval: Kind = "trials"

    def run(self, store: FeatureStore, *, quiet: bool = True, scores: dict[str, FloatArray] | None = None) -> Report:
        """Run the protocol on a store.

        Args:
            quiet: show no progress.
            scores: where the scores (T, n) of every row and the query masks are put, when wanted.

        Raises:
            EpisodeError: too few images for the draw.
            UnknownNameError: a backbone, layer, head or column is not there.
            InputError: one class only, or features that cannot be used.
        """
        self._check()
        backbones = tuple(self.backbone) or store.backbones
        for name in backbones:
            store.info(name, store.default_layer(name))
        pool, draws = self._drawn(store, backbones)
        if not self.shots:
            most = max(len(rows) for drawn in draws for rows in drawn.order.values())
            return replace(self, shots=(most,))._measured(store, pool, draws, backbones, quiet, scores)
        return self._measured(store, pool, draws, backbones, quiet, scores)

    def drawn(self, store: FeatureStore) -> tuple[tuple[str, ...], ...]:
        """Return the sample keys of every trial's support, without measuring anything."""
        pool, draws = self._drawn(store, tuple(self.backbone) or store.backbones)
        return tuple(tuple(_keys(pool, drawn)) for drawn in draws)

    def _drawn(self, store: FeatureStore, backbones: Sequence[str]) -> tuple[EvaluationPool, Sequence[Draw]]:
        query = FeatureStore(self.query) if self.query else None
        pool = load_pool(store, backbones=backbones, where=self.where, group=self.group, query=query)
        return pool, self._draws(pool, store, backbones)

    def _measured(
        self,
        store: FeatureStore,
        pool: EvaluationPool,
        draws: Sequence[Draw],
        backbones: Sequence[str],
        quiet: bool,
        scores: dict[str, FloatArray] | None,
    ) -> Report:
        layers = {name: layers_to_score(store, name, self.layer) for name in backbones}
        rows: list[Row] = []
        work = sum(len(read) for read in layers.values()) * len(self.head)
        with Progress(work, label="adapt", unit="heads", quiet=quiet) as progress:
            for name in backbones:
                rows += self._pretrained(pool, draws, name)
                rows += self._backbone(pool, draws, name, store.default_layer(name), layers[name], progress, scores)
        if scores is not None:
            scores.update(_asked(pool, draws, self.shots))
        unsure = interval_caveats(rows, draws, pool.images.synthetic, kind=self.interval)
        return Report(
            protocol=self.name,
            config=self._config(pool, backbones, layers),
            rows=tuple(rows),
            supports={str(drawn.trial): _keys(pool, drawn) for drawn in draws},
            warnings=(
                *pool.warnings,
                *(left_over(self.support, draws) if self.support else ()),
                *draw_caveats(draws),
                *row_caveats(rows),
                *unsure,
            ),
            provenance=provenance(),
        )

    def _check(self) -> None:
        if self.trials < 1:
            raise OptionError(f"--trials must be at least 1, and is {self.trials}")
        if (not self.shots and not self.support) or any(count < 1 for count in self.shots):
            raise OptionError(f"--shots must be at least 1, and is {', '.join(map(str, self.shots)) or 'empty'}")
        if self.k != "oracle" and self.k < 1:
            raise OptionError(f"-k must be at least 1 or 'oracle', and is {self.k}")
        for name in self.head:
            HEADS.load(name)
        if "support-cv" in self.layer and min(self.shots, default=2) < 2:
            raise OptionError("--layer support-cv needs at least 2 shots, one to fit and one to judge; raise --shots")
        require_sense(self.layer)

    def _draws(self, pool: EvaluationPool, store: FeatureStore, backbones: Sequence[str]) -> list[Draw]:
        if self.support:
            most = max(self.shots, default=None)
            return draw_given(pool, self.support, shots=most, per=self.per, drop_near_duplicates=self.draw != "fiser")
        most = max(self.shots)
        features = None
        if self.draw in ("herding", "kcenter"):
            layers = layers_to_score(store, backbones[0], self.layer)
            if len(backbones) != 1 or len(layers) != 1:
                raise OptionError(f"--draw {self.draw} looks at features: choose one --backbone and one --layer")
            features = pool.features(backbones[0], layers[0])
        return draw_all(
            pool,
            method=self.draw,
            shots=most,
            trials=self.trials,
            seed=self.seed,
            per=self.per,
            stratified=self.stratified,
            features=features,
        )

    def _backbone(
        self,
        pool: EvaluationPool,
        draws: Sequence[Draw],
        backbone: str,
        default: str,
        layers: Sequence[str],
        progress: Progress,
        scores: dict[str, FloatArray] | None,
    ) -> list[Row]:
        found: dict[tuple[str, int], list[Candidate]] = {}
        for layer in layers:
            features = pool.features(backbone, layer)
            for name in self.head:
                like_others = not HEADS.load(name).raw and len(HEADS.load(name).views) == 1
                wanted = features if like_others else pool.for_head(_head(name), backbone, layer)
                for shots in self.shots:
                    head = _head(name, **self._head_options(name))
                    scored = score(head, pool, draws, wanted, shots, self.solver, self.device)
                    measures = measure(pool, draws, scored, tpr=self.tpr)
                    if self.interval != "trials":
                        kind, seed = self.interval, self.seed
                        measures = with_intervals(measures, pool, draws, scored, kind=kind, shots=shots, seed=seed)
                    best = self._best_k(head, pool, draws, features, shots, layer) if name == "knn" else None
                    found.setdefault((name, shots), []).append(Candidate(layer, head, measures, best))
                    if scores is not None:
                        scores[name_of_scores(backbone, layer, name, shots)] = scored.astype(np.float32)
                progress.advance()
        rows: list[Row] = []
        for (name, shots), candidates in found.items():
            about = {"backbone": backbone, "head": name, "shots": shots, "n_support": len(draws[0].support(shots))}
            rows += self._fixed_rows(about, candidates, default)
            rows += self._chosen_rows(about, candidates, pool, draws, default)
        return rows

    def _head_options(self, name: str) -> dict[str, Any]:
        if name != "knn":
            return {}
        k = HONEST_K if self.k == "oracle" else self.k
        return {"k": k, "rule": self.rule, "metric": "ip" if self.draw == "fiser" else "cosine"}

    def _best_k(
        self, head: Head, pool: EvaluationPool, draws: Sequence[Draw], features: Float32Array, shots: int, layer: str
    ) -> Choice | None:
        if self.k != "oracle" or not isinstance(head, Knn):
            return None
        scored, ks = score_best_k(head, pool, draws, features, shots, largest=LARGEST_K, tpr=self.tpr)
        return Choice(measure(pool, draws, scored, tpr=self.tpr), tuple(f"{layer} k={k}" for k in ks))

    def _fixed_rows(self, about: Mapping[str, Any], candidates: Sequence[Candidate], default: str) -> list[Row]:
        """The rows of every layer that was named, or of the default one beside a choice."""
        rows = []
        for candidate in candidates:
            if not is_reported_fixed(candidate.layer, self.layer, default=default):
                continue
            rows += candidate.measures.rows(facts(layer=candidate.layer, selection="fixed", **about))
            if candidate.best:
                chosen = facts(layer=candidate.layer, selection="oracle", **about)
                rows += candidate.best.measures.rows(chosen, choices=candidate.best.labels)
        return rows

    def _chosen_rows(
        self,
        about: Mapping[str, Any],
        candidates: Sequence[Candidate],
        pool: EvaluationPool,
        draws: Sequence[Draw],
        default: str,
    ) -> list[Row]:
        rows = []
        if "support-cv" in self.layer:
            best = chosen_by_cross_validation(
                candidates,
                pool,
                draws,
                backbone=about["backbone"],
                shots=about["shots"],
                default=default,
                solver=self.solver,
                device=self.device,
            )
            rows += best.measures.rows(facts(layer="support-cv", selection="support-cv", **about), choices=best.labels)
        if "oracle" in self.layer:
            best = chosen_by_oracle(candidates)
            rows += best.measures.rows(facts(layer="oracle", selection="oracle", **about), choices=best.labels)
        return rows

    def _pretrained(self, pool: EvaluationPool, draws: Sequence[Draw], backbone: str) -> list[Row]:
        """The checkpoint's own head on the same queries; it needs no support, so its shots are 0."""
        logit = pool.logit(backbone)
        if logit is None:
            return []
        found = measure(pool, draws, np.broadcast_to(logit, (len(draws), len(logit))), tpr=self.tpr)
        about = facts(backbone=backbone, layer=LOGIT, selection="fixed", head=PRETRAINED, n_support=0, shots=0)
        return found.rows(about)

    def _config(
        self, pool: EvaluationPool, backbones: Sequence[str], layers: Mapping[str, Sequence[str]]
    ) -> dict[str, Any]:
        fields = asdict(self)
        fields.update(
            where=dict(self.where),
            ddof=0 if self.draw == "fiser" else 1,
            stores=pool.digests(backbones, layers),
            support=[list(listed) for listed in self.support],
        )
        return {name: list(value) if isinstance(value, tuple) else value for name, value in fields.items()}


def adapt(
    store: FeatureStore | Path | str,
    *,
    shots: int | Sequence[int] | None = None,
    head: str | Sequence[str] = "svm",
    trials: int = 100,
    seed: int = 0,
    quiet: bool = True,
    scores: dict[str, FloatArray] | None = None,
    **options: Any,
) -> Report:
    """Fit small heads on a few labelled images of a store and measure them on the others.

    Args:
        store: a feature store or its path.
        shots: labelled images per class (or per source), one or several counts; ten when None, or every image
            listed where ``support`` is given.
        head: head name or names, see ``fewshot list heads``.
        trials: random draws of the support.
        seed: the number that all draws follow from.
        quiet: show no progress.
        scores: a dictionary to be filled with all scores and query masks.
        options: any other field of ``Fiser``: ``per, backbone, layer, where, group, query, support, draw, stratified,
            tpr, solver, k, rule, device, interval``.

    Raises:
        EpisodeError: too few images for the draw.
        UnknownNameError: a backbone, layer, head or column is not there.
        InputError: one class only, or features that cannot be used.
    """
    for name in ("backbone", "layer"):
        if name in options:
            options[name] = _names(options[name])
    if options.get("draw") == "fiser":
        options.setdefault("solver", "sklearn")
    if shots is None:
        shots = () if options.get("support") else DEFAULT_SHOTS
    counts = (shots,) if isinstance(shots, int) else tuple(shots)
    protocol = Fiser(shots=counts, head=_names(head), trials=trials, seed=seed, **options)
    opened = store if isinstance(store, FeatureStore) else FeatureStore(store)
    return protocol.run(opened, quiet=quiet, scores=scores)


def _names(given: str | Sequence[str] | None) -> tuple[str, ...]:
    if given is None:
        return ()
    return tuple(part for part in given.split(",") if part) if isinstance(given, str) else tuple(given)


def _head(name: str, **options: Any) -> Head:
    head: Head = HEADS.load(name)(**options)
    return head


def _keys(pool: EvaluationPool, drawn: Draw) -> list[str]:
    """The support in the order drawn, group by group, so that every smaller one can be read off."""
    return [str(pool.keys[row]) for rows in drawn.order.values() for row in rows]


def _asked(pool: EvaluationPool, draws: Sequence[Draw], shots: Sequence[int]) -> dict[str, Any]:
    """What the scores are of, beside them: query and support masks (T, n), class, source and key of every image."""
    supports = {name_of_support(count): support_mask(pool, draws, count) for count in shots}
    images = {"synthetic": pool.images.synthetic, "source": pool.images.source.astype(str)}
    return {"query": query_mask(pool, draws), **supports, **images, "key": pool.keys.astype(str)}
