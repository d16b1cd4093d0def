"""The few-shot protocol of FiSeR (arXiv 2606.00606): freeze the backbone, fit a head on a few images, query the rest.

What the published evaluation chooses on query labels (layer, k) is fixed here, unless the user asks for the oracle and
gets it beside the honest number (evaluate.py @ ad2637c; docs/decisions/0003-selection.md).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, final

from fewshot.core.errors import OptionError
from fewshot.core.provenance import provenance
from fewshot.draws.episodes import Per
from fewshot.embeddings.store.reader import FeatureStore
from fewshot.heads.base import HEADS, Head
from fewshot.protocols.base import QUIET, Protocol, Replayed, Result, RunContext
from fewshot.protocols.trials.applied import (
    Applied,
    of_device,
    of_false_positive_rate,
    of_folds,
    of_heads,
    of_scale,
    of_solver,
    recorded,
)
from fewshot.protocols.trials.backbone_sets import BackboneSets, FusionForm, backbone_sets
from fewshot.protocols.trials.caveats import draw_caveats, interval_caveats, row_caveats
from fewshot.protocols.trials.fusion import Fusion, FusionSweep, of_fusion
from fewshot.protocols.trials.head_solver import HeadSolver, Solver
from fewshot.protocols.trials.head_sweep import HeadSweep
from fewshot.protocols.trials.head_variants import Scale, require_not_fused, require_scale, transductive_caveats
from fewshot.protocols.trials.intervals import IntervalKind
from fewshot.protocols.trials.layers import keys_to_score, require_consistent
from fewshot.protocols.trials.replay_images import load_pool_beside_replay, unreplayed
from fewshot.protocols.trials.selection import KNN
from fewshot.protocols.trials.supports import CORESETS, DrawRule, Method, draw_trials, given_trials, unused_images
from fewshot.protocols.trials.trials import Trials
from fewshot.results.report import Report
from fewshot.results.row import Row
from fewshot.solvers.fusion_weights import Weigh
from fewshot.stats.metrics import FEWEST_NATURAL, Tpr

DEFAULT_SHOTS = 10
ROUTE = "route"
HONEST_K = 5  # the k that stands beside the oracle's
LARGEST_K = 51  # FiSeR tries k = 1 .. 51 (evaluate.py @ ad2637c)


@final
@dataclass(frozen=True)
class Fiser(Protocol):
    """The few-shot protocol of FiSeR: few labelled images per class (or per source), a small head, all else queried.

    Args:
        shots: shot counts; all of a trial share one query set. Empty with ``support``: every image listed.
        head: head names.
        trials: random draws of the support. seed: what all of them follow from.
        per: shots of each class, or of each source.
        backbone: backbones, and sets ``a+b`` that are fused; all of the store when empty.
        layer: ``fixed`` (the backbone's default), layer names, ``all``, ``support-cv`` or ``oracle``.
        where: columns and the values wanted.
        group: images sharing a value of this column never stand on both sides.
        query: path of another store whose images are queried.
        support: lists of sample keys, one per trial, instead of a draw.
        draw: ``nested``, ``fiser`` (Python's shuffle, scikit-learn's solvers, ddof 0, duplicates stay), ``herding`` or
            ``kcenter``.
        stratified: spread a class's shots over its sources.
        tpr: TPR at the largest FPR of at most 5 %, or at the ROC point nearest to it.
        solver: ``batched``, or ``sklearn`` for one fit after another: to the same optimum, or with ``draw="fiser"`` at
            scikit-learn's tolerance, as published.
        k: neighbours of the head ``knn``; ``oracle`` for the best of 1 .. 51 on query labels.
        rule: rule of the head ``knn``.
        device: where batched heads compute.
        interval: of the mean AUROC: over ``trials``, ``two-way`` over trials and query images, or ``delong`` over the
            query images of a single trial; ``auto`` is the second where the query has fewer than thirty images of a
            class, the third of a single trial, else the first, which ``draw="fiser"`` has throughout.
        replay_where: columns and values of images that heads replay; they are neither drawn nor queried.
        start: weight file from which the head ``route`` begins.
        fewest_natural: with fewer natural images in a query, no TPR at 5 % FPR is given, except with ``draw="fiser"``.
        scale: of the features: ``unit`` length; ``standard``, by mean and deviation of each support; ``auto``, which of
            both cross-validation inside each support prefers, layer by layer; ``pool``, by mean and deviation of the
            unlabelled query images of each trial, which is transductive.
        fuse: also one head over all backbones, beside each of them and beside the choice of one: ``kernel`` sums their
            kernels in one SVM, ``scores`` weighs the scores of the same head on each of them. None: only over
            the sets that ``backbone`` names as ``a+b``, which are fused by kernels.
        fuse_weights: by what a fused head weighs, in every support: ``alignment``, ``auroc`` or ``uniform``.
    """

    name: ClassVar[str] = "fiser"

    shots: tuple[int, ...] = (DEFAULT_SHOTS,)
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
    k: int | Literal["oracle"] = HONEST_K
    rule: Literal["legacy", "exponential"] = "legacy"
    device: str = "cpu"
    interval: IntervalKind = "auto"
    fewest_natural: int = FEWEST_NATURAL
    replay_where: Mapping[str, str] = field(default_factory=dict)
    start: str = ""
    scale: Scale = "unit"
    fuse: FusionForm | None = None
    fuse_weights: Weigh = "alignment"

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Return the protocol of a report's configuration; earlier versions knew intervals over draws alone."""
        return super().from_config({"interval": "trials", "fewest_natural": 0, **config})

    def run(self, store: FeatureStore, context: RunContext = QUIET) -> Result:
        """Run the protocol on a store; the scores are (T, n) float32 per row, beside the masks of its trials.

        Raises:
            EpisodeError: too few images for the draw.
            UnknownNameError: a backbone, layer, head or column is not there.
            InputError: one class only, or features that cannot be used.
        """
        self._check()
        named = replace(self, backbone=self.backbone or store.backbones)
        sets = named._sets(store)
        for name in sets.members:
            store.info(name, store.default_layer(name))
        self._fusion.require_possible(self.head, self.shots, sets)
        if sets.sets:
            require_not_fused([_head(name, self) for name in self.head], self.scale)
        trials = named.draw_from(store)
        return replace(named, shots=self.shots or (trials.largest_count,))._measured(trials, context)

    def draw_from(self, store: FeatureStore) -> Trials:
        """Return the draws from a store, without measuring anything."""
        backbones = self._sets(store).members
        query = FeatureStore(self.query) if self.query else None
        pool = load_pool_beside_replay(
            store, backbones=backbones, where=self.where, replay_where=self.replay_where, group=self.group, query=query
        )
        if self.support:
            return given_trials(pool, self._draw_rule(), self.support)
        if self.draw not in CORESETS:
            return draw_trials(pool, self._draw_rule())
        keys = keys_to_score(store, backbones[0], self.layer)
        if len(backbones) != 1 or len(keys) != 1:
            raise OptionError(f"--draw {self.draw} looks at features: choose one --backbone and one --layer")
        return draw_trials(pool, self._draw_rule(), pool.features(keys[0]))

    def reading(self, others: Sequence[Path | str]) -> Self:
        """Return the same protocol with the query store at another path."""
        return replace(self, query=str(others[0])) if others else self

    def replay(self, store: FeatureStore, supports: Mapping[str, Any]) -> Replayed:
        """Run again on the saved supports, and say whether they would be drawn today as well."""
        saved = tuple(tuple(listed) for listed in supports.values())
        again = replace(self, support=saved).run(store).report
        return Replayed(again, bool(self.support) or self.draw_from(store).support_keys() == saved)

    def _measured(self, trials: Trials, context: RunContext) -> Result:
        sweep, sets = self._sweep(trials), self._sets(trials.pool.support_store)
        fusion = FusionSweep(sweep, self._fusion)
        with context.progress(fusion.work(sets), label="adapt", unit="heads") as progress:
            found = fusion.on_all(sets, keep_scores=context.keep_scores, progress=progress)
        kept = {**found.scores, **trials.described(self.shots)} if context.keep_scores else None
        return Result(self._report(sweep, found.rows), kept)

    def _sweep(self, trials: Trials) -> HeadSweep:
        return HeadSweep(
            trials,
            heads=tuple(_head(name, self) for name in dict.fromkeys(self.head)),
            shots=self.shots,
            layer=self.layer,
            solver=HeadSolver(self.solver, self.device, "published" if self.draw == "fiser" else "optimum"),
            tpr=self.tpr,
            fewest_natural=self._fewest_natural,
            interval=self._interval,
            seed=self.seed,
            best_k_up_to=LARGEST_K if self.k == "oracle" else None,
            scale=self.scale,
        )

    def _applied(self, sweep: HeadSweep) -> Iterator[Applied]:
        """Yield the options that these trials do not allow as given."""
        trials, heads = sweep.trials, sweep.heads
        yield from of_heads(heads, trials, self.shots)
        yield from of_scale(heads, self.scale)
        yield from of_device(heads, self.device, one_by_one=self.solver == "sklearn")
        yield from of_folds(self.layer, trials, self.shots, scale=self.scale)
        yield from of_fusion(self._sets(trials.pool.support_store), self._fusion, trials, self.shots)
        yield from of_false_positive_rate(trials, self.tpr, fewest_natural=self._fewest_natural)
        yield from of_solver(sweep.solver.unsolved)
        if KNN not in self.head:
            for option, given, usual in (("-k", self.k, HONEST_K), ("--rule", self.rule, "legacy")):
                if given != usual:
                    yield Applied(option, given, None, f"it is of the head {KNN}, which is not fitted")
        if self.replay_where and not any(head.takes_replay for head in heads):
            yield Applied("--replay-where", dict(self.replay_where), None, "no head that is fitted replays images")
        if self.start and ROUTE not in self.head:
            yield Applied("--start", self.start, None, f"it is of the head {ROUTE}, which is not fitted")
        if self.support and self.trials not in (len(self.support), type(self).trials):
            yield Applied("--trials", self.trials, len(self.support), "a support file has one list a trial")
        if self.support and self.draw != "nested":
            yield Applied("--draw", self.draw, None, "the supports are given")

    def _report(self, sweep: HeadSweep, rows: Sequence[Row]) -> Report:
        applied = tuple(self._applied(sweep))
        trials, sets = sweep.trials, self._sets(sweep.trials.pool.support_store)
        read = [key for name in sets.members for key in sweep.keys_read(name)]
        config = {"ddof": 0 if self.draw == "fiser" else 1, "stores": trials.pool.stores_read(read)}
        config |= {"applied": recorded(applied)}
        supports = zip(trials.draws, trials.support_keys(), strict=True)
        return Report(
            protocol=self.name,
            config=self.to_config() | config,
            rows=tuple(rows),
            supports={str(drawn.trial): list(keys) for drawn, keys in supports},
            warnings=(
                *trials.pool.warnings,
                *map(str, applied),
                *unreplayed(sweep.heads, trials.pool),
                *(unused_images(self.support, trials) if self.support else ()),
                *draw_caveats(trials.draws),
                *transductive_caveats(sweep.swept, trials),
                *row_caveats(rows, trials.pool.images),
                *interval_caveats(rows, trials, wanted=self._interval),
            ),
            provenance=provenance(),
        )

    def _sets(self, store: FeatureStore) -> BackboneSets:
        return backbone_sets(store, self.backbone, layer=self.layer, fuse=self.fuse)

    @property
    def _fusion(self) -> Fusion:
        return Fusion(self.fuse, self.fuse_weights)

    @property
    def _interval(self) -> IntervalKind:
        return "trials" if self.draw == "fiser" and self.interval == "auto" else self.interval

    @property
    def _fewest_natural(self) -> int:
        return 0 if self.draw == "fiser" else self.fewest_natural  # published rates are of queries of any size

    def _draw_rule(self) -> DrawRule:
        most = max(self.shots, default=None)
        return DrawRule(most, self.trials, self.seed, self.draw, self.per, self.stratified)

    def _check(self) -> None:
        if (not self.shots and not self.support) or any(count < 1 for count in self.shots):
            raise OptionError(f"--shots must be at least 1, and is {', '.join(map(str, self.shots)) or 'empty'}")
        self._draw_rule()
        if self.k != "oracle" and self.k < 1:
            raise OptionError(f"-k must be at least 1 or 'oracle', and is {self.k}")
        for name in self.head:
            HEADS.load(name)
        require_scale(self.scale, self.shots)
        if self.scale != "unit" and self.k == "oracle":
            raise OptionError("-k oracle is of features of unit length; leave --scale out, or give -k a number")
        if "support-cv" in self.layer and min(self.shots, default=2) < 2:
            raise OptionError(
                "--layer support-cv needs at least 2 shots, one to fit and one to validate; raise --shots"
            )
        require_consistent(self.layer)


def _head(name: str, protocol: Fiser) -> Head:
    options: dict[str, Any] = {}
    if name == KNN:
        k = HONEST_K if protocol.k == "oracle" else protocol.k
        options = {"k": k, "rule": protocol.rule, "metric": "ip" if protocol.draw == "fiser" else "cosine"}
    if name == ROUTE and protocol.start:
        options = {"start": protocol.start}
    head: Head = HEADS.load(name)(**options)
    return head


def adapt(
    store: FeatureStore | Path | str,
    *,
    shots: int | Sequence[int] | None = None,
    head: str | Sequence[str] = "svm",
    trials: int = 100,
    seed: int = 0,
    quiet: bool = True,
    **options: Any,
) -> Report:
    """Fit small heads on a few labelled images of a store and measure them on the others.

    For the scores as well, see ``adapt_with_scores``.

    Args:
        store: a feature store or its path.
        shots: labelled images per class (or per source), one or several counts; ten when None, or every image
            listed where ``support`` is given.
        head: head name or names, see ``fewshot list heads``.
        trials: random draws of the support.
        seed: the number that all draws follow from.
        quiet: show no progress.
        options: any other field of ``Fiser``: ``per, backbone, layer, where, group, query, support, draw, stratified,
            tpr, solver, k, rule, device, interval, fewest_natural, replay_where, start, scale, fuse, fuse_weights``.

    Raises:
        EpisodeError: too few images for the draw.
        UnknownNameError: a backbone, layer, head or column is not there.
        InputError: one class only, or features that cannot be used.
    """
    protocol = fiser_of(shots=shots, head=head, trials=trials, seed=seed, **options)
    return protocol.run(_opened(store), RunContext(quiet=quiet)).report


def adapt_with_scores(store: FeatureStore | Path | str, *, quiet: bool = True, **options: Any) -> Result:
    """Do what ``adapt`` does, and return the scores of all images beside the report.

    Args:
        store: a feature store or its path.
        quiet: show no progress.
        options: those of ``adapt``.

    Returns:
        The report, and as scores: (T, n) float32 of every fixed row under ``name_of_scores``, ``query`` and
        ``support|SHOTS`` (T, n) bool, ``synthetic``, ``source`` and ``key`` (n,).
    """
    return fiser_of(**options).run(_opened(store), RunContext(quiet=quiet, keep_scores=True))


def fiser_of(*, shots: int | Sequence[int] | None = None, head: str | Sequence[str] = "svm", **options: Any) -> Fiser:
    """Return the protocol of ``adapt``'s options: names may be separated by commas, one count stand alone.

    Args:
        shots, head, options: as for ``adapt``.
    """
    for name in ("backbone", "layer"):
        if name in options:
            options[name] = _names(options[name])
    if options.get("draw") == "fiser":
        options.setdefault("solver", "sklearn")
    if shots is None:
        shots = () if options.get("support") else DEFAULT_SHOTS
    counts = (shots,) if isinstance(shots, int) else tuple(shots)
    return Fiser(shots=counts, head=_names(head), **options)


def _opened(store: FeatureStore | Path | str) -> FeatureStore:
    return store if isinstance(store, FeatureStore) else FeatureStore(store)


def _names(given: str | Sequence[str] | None) -> tuple[str, ...]:
    if given is None:
        return ()
    return tuple(part for part in given.split(",") if part) if isinstance(given, str) else tuple(given)
