"""One head over several backbones, and one backbone chosen among them: scores, weights and rows."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fewshot.core.arrays import BoolArray, Float64Array, FloatArray, IntArray
from fewshot.core.errors import EpisodeError, OptionError
from fewshot.core.progress import Progress
from fewshot.embeddings.layer_key import LayerKey
from fewshot.heads.base import HEADS, Head
from fewshot.protocols.trials.applied import Applied
from fewshot.protocols.trials.backbone_sets import BackboneSet, BackboneSets, FusionForm
from fewshot.protocols.trials.head_solver import HeadSolver
from fewshot.protocols.trials.head_sweep import HeadSweep, MeasuredHeads
from fewshot.protocols.trials.layers import CHOSEN
from fewshot.protocols.trials.measures import Measures, RowFields
from fewshot.protocols.trials.pool import EvaluationPool
from fewshot.protocols.trials.selection import Candidate, Choice, choose
from fewshot.protocols.trials.trials import Trials
from fewshot.results.row import ONE, WEIGHT, Row
from fewshot.results.scores import name_of_scores
from fewshot.solvers.blocks import FOLDS
from fewshot.solvers.fusion_weights import Weigh
from fewshot.solvers.not_solved import NotSolvedError

SVM = "svm"  # the head whose kernels can be summed


@dataclass(frozen=True)
class Fusion:
    """How several backbones make one head.

    Args:
        form: ``kernel`` sums kernels in one SVM, ``scores`` weighs the scores of the same head on every block; None
            for the first.
        weigh: by what blocks are weighed inside the support.
    """

    form: FusionForm | None = None
    weigh: Weigh = "alignment"

    def require_possible(self, heads: Sequence[str], shots: Sequence[int], wanted: BackboneSets) -> None:
        """Refuse heads that cannot be fused so, and supports in which nothing can be weighed or chosen.

        Args:
            heads: names. shots: counts; empty where supports are given.
            wanted: what is fused.

        Raises:
            OptionError: the message says what else to do.
        """
        if not wanted.sets:
            return
        other = next((name for name in heads if name != SVM), None)
        if self.form != "scores" and other is not None:
            raise OptionError(
                f"kernels are summed in one SVM, and --head names {other!r}; leave --head out, or weigh the scores of "
                f"{other!r} with --fuse scores"
            )
        if self.validates(wanted) and min(shots, default=2) < 2:
            raise OptionError(
                f"a fused head is weighed, or one backbone chosen, by cross-validation inside the support, which "
                f"takes at least 2 shots, and --shots names {min(shots)}; raise it"
            )

    def validates(self, wanted: BackboneSets) -> bool:
        """Return whether images of the support are held out: to choose one backbone, to weigh, or to stack scores."""
        return wanted.choice or self.weigh == "auroc" or self.form == "scores"

    def head(self, base: Head, widths: Sequence[int]) -> Head:
        """Return the head over blocks of so many columns each, unfitted.

        Raises:
            OptionError: scores of a head that has other parameters than its own defaults.
        """
        if self.form == "scores":
            usual = type(base)().get_params()
            if changed := [name for name, value in base.get_params().items() if value != usual[name]]:
                raise OptionError(
                    f"--fuse scores fits the head {base.name!r} with its own defaults, and {', '.join(changed)} is set "
                    f"otherwise; leave that out, or --fuse"
                )
            stacked: Head = HEADS.load("stacked")(base=base.name, widths=tuple(widths), weigh=self.weigh)
            return stacked
        parameters = base.get_params()
        fused: Head = HEADS.load("fused")(
            widths=tuple(widths), weigh=self.weigh, C=parameters["C"], gamma=parameters["gamma"]
        )
        return fused


@dataclass(frozen=True)
class Blocks:
    """The features of several layers side by side.

    Args:
        features: (n, D_1 + ... + D_B) floating, each block as the head wants it.
        widths: D_1 ... D_B.
    """

    features: FloatArray
    widths: tuple[int, ...]


def blocks_of(pool: EvaluationPool, head: Head, keys: Sequence[LayerKey]) -> Blocks:
    """Return the layers at ``keys`` as a head wants them, side by side."""
    parts = [pool.for_head(head, key) for key in keys]
    return Blocks(np.concatenate(parts, axis=1), tuple(part.shape[1] for part in parts))


def support_weights(head: Any, trials: Trials, features: FloatArray, shots: int, *, solver: HeadSolver) -> Float64Array:
    """Return (T, B) the weights of a head over several blocks in every trial, from its support alone.

    Args:
        head: over blocks, unfitted.
        features: (n, D_1 + ... + D_B) floating.
        solver: how heads are fitted.
    """
    found: dict[int, Float64Array] = {}
    for chosen, supports in trials.supports_by_size(shots):
        weights = _weights(head, features, trials.synthetic, supports, solver)
        found |= dict(zip(chosen.tolist(), weights, strict=True))
    return np.stack([found[trial] for trial in range(len(trials))])


def _weights(
    head: Any, features: FloatArray, synthetic: BoolArray, supports: IntArray, solver: HeadSolver
) -> Float64Array:
    """Return (T, B) the weights of supports (T, s): all at once, or one by one where that is wanted or needed."""
    if solver.solver == "batched":
        with suppress(NotSolvedError):
            found: Float64Array = head.draw_weights(features, synthetic, supports)
            return found
    labels = synthetic.astype(np.int64)
    return np.stack([head.unfitted().fit(features[rows], labels[rows]).weights_ for rows in supports])


def weight_rows(
    weights: Float64Array, keys: Sequence[LayerKey], fields: RowFields, trials: Trials, measures: Measures
) -> list[Row]:
    """Return a row per member, whose source it is, with its weight in every trial.

    Args:
        weights: (T, B).
        keys: the B layers.
        measures: of the fused scores.
    """
    pooled = next(name for name in measures.queries if name[0] == trials.pool.title)
    about = {**fields.to_row(), "n_query": measures.queries[pooled], "n_natural": measures.naturals[pooled]}
    return [
        Row(**about, dataset=trials.pool.title, source=str(key), metric=WEIGHT, values=tuple(map(float, column)))
        for key, column in zip(keys, weights.T, strict=True)
    ]


def set_fields(wanted: BackboneSet, keys: Sequence[LayerKey], layer: Sequence[str]) -> RowFields:
    """Return what all rows of a set say alike; the layer is what was wanted of every member."""
    return RowFields(LayerKey(wanted.name, "+".join(layer)), "", members=tuple(map(str, keys)))


def choice_among(found: Sequence[Candidate]) -> list[Candidate]:
    """Return candidates called by their backbone, or by backbone and layer where one has several."""
    several = len({each.key.backbone for each in found}) < len(found)
    return [replace(each, label=str(each.key) if several else each.key.backbone, best=None) for each in found]


@dataclass(frozen=True)
class FusionSweep:
    """Heads over several backbones, and the choice of one, on the trials of a sweep."""

    sweep: HeadSweep
    fusion: Fusion = field(default_factory=Fusion)

    def work(self, wanted: BackboneSets) -> int:
        """Return how many units ``on_all`` counts: a head on a layer, and a head on a set."""
        layers = sum(len(self.sweep.keys(name)) for name in wanted.singles)
        return (layers + len(wanted.sets)) * len(self.sweep.heads)

    def on_all(self, wanted: BackboneSets, *, keep_scores: bool, progress: Progress) -> MeasuredHeads:
        """Score and measure every head on every backbone by itself, on one chosen among them, and on every set.

        Raises:
            EpisodeError: a support in which nothing can be held out, where that is needed.
        """
        require_folds(wanted, self.fusion, self.sweep.trials, self.sweep.shots)
        found = [self.sweep.on_backbone(name, keep_scores=keep_scores, progress=progress) for name in wanted.singles]
        if wanted.choice:
            found.append(self.choice(found, keep_scores=keep_scores))
        found += [self.on_set(one, keep_scores=keep_scores, progress=progress) for one in wanted.sets]
        rows = tuple(row for each in found for row in each.rows)
        return MeasuredHeads(rows, {name: array for each in found for name, array in each.scores.items()})

    def keys(self, members: Sequence[str]) -> tuple[LayerKey, ...]:
        """Return the layers that are fused, member by member."""
        return tuple(key for name in members for key in self.sweep.keys(name))

    def on_set(self, wanted: BackboneSet, *, keep_scores: bool, progress: Progress) -> MeasuredHeads:
        """Score and measure every head on a set of backbones, with every trial's weights.

        Args:
            progress: counts one unit per head.
        """
        rows: list[Row] = []
        scores: dict[str, NDArray[Any]] = {}
        keys, trials = self.keys(wanted.members), self.sweep.trials
        for base in self.sweep.heads:
            blocks = blocks_of(trials.pool, base, keys)
            head = self.fusion.head(base, blocks.widths)
            for shots in self.sweep.shots:
                fields = self._fields(set_fields(wanted, keys, self.sweep.layer), base, shots)
                found = self.sweep.solver.score(head, trials, blocks.features, shots)
                measures = self.sweep.measured(found)
                weights = support_weights(head, trials, blocks.features, shots, solver=self.sweep.solver)
                rows += self.sweep.rows_of(measures, fields)
                rows += weight_rows(weights, keys, fields, trials, measures)
                if keep_scores:
                    name = name_of_scores(fields.key.backbone, fields.key.layer, base.name, shots)
                    scores[name] = found.astype(np.float32)
            progress.advance()
        return MeasuredHeads(tuple(rows), scores)

    def choice(self, measured: Sequence[MeasuredHeads], *, keep_scores: bool) -> MeasuredHeads:
        """Measure the one backbone that is chosen in every trial: inside its support, and by oracle.

        Args:
            measured: what heads give on every backbone.
            keep_scores: whether the scores of what was chosen are kept; those of ``measured`` must be.
        """
        rows: list[Row] = []
        scores: dict[str, NDArray[Any]] = {}
        kept = {name: array for each in measured for name, array in each.scores.items()}
        for base in self.sweep.heads:
            for shots in self.sweep.shots:
                found = choice_among([one for each in measured for one in each.candidates[base.name, shots]])
                for selection in CHOSEN:
                    chosen = choose(selection, found, self.sweep.trials, shots, default="", solver=self.sweep.solver)
                    fields = self._choice_fields(found, base, shots).chosen(selection, chosen.labels)
                    rows += self.sweep.rows_of(chosen.measures, fields)
                    if keep_scores:
                        scores[name_of_scores(ONE, selection, base.name, shots)] = _taken(kept, found, chosen, shots)
        return MeasuredHeads(tuple(rows), scores)

    def _choice_fields(self, found: Sequence[Candidate], base: Head, shots: int) -> RowFields:
        members = tuple(str(each.key) for each in found)
        return self._fields(RowFields(LayerKey(ONE, ""), "", members=members), base, shots)

    def _fields(self, fields: RowFields, base: Head, shots: int) -> RowFields:
        n_support = len(self.sweep.trials.draws[0].support(shots))
        return replace(fields, head=base.name, n_support=n_support, shots=shots)


def _taken(kept: Mapping[str, NDArray[Any]], found: Sequence[Candidate], chosen: Choice, shots: int) -> NDArray[Any]:
    """Return (T, n) every trial's scores of what was chosen in it."""
    by_label = {
        each.called: kept[name_of_scores(each.key.backbone, each.key.layer, each.head.name, shots)] for each in found
    }
    return np.stack([by_label[label][trial] for trial, label in enumerate(chosen.labels)])


def require_folds(wanted: BackboneSets, fusion: Fusion, trials: Trials, shots: Sequence[int]) -> None:
    """Refuse supports in which nothing can be held out, where weights or a choice rest on that.

    Raises:
        EpisodeError: one has a single image of a class.
    """
    for _, fewest in _fewest_of_a_class(wanted, fusion, trials, shots):
        if fewest < 2:
            raise EpisodeError(
                f"a fused head is weighed, and one backbone chosen, by cross-validation inside the support, which "
                f"needs at least 2 images of every class in each, and one has {fewest}; list more"
            )


def of_fusion(wanted: BackboneSets, fusion: Fusion, trials: Trials, shots: Sequence[int]) -> Iterator[Applied]:
    """Yield the cross-validations behind weights and choice with fewer folds than usual, and weights of nothing."""
    if not wanted.sets and fusion.weigh != Fusion.weigh:
        yield Applied("--fuse-weights", fusion.weigh, None, "nothing is fused; add --fuse, or name a set with -b a+b")
    for count, fewest in _fewest_of_a_class(wanted, fusion, trials, shots):
        if fewest < FOLDS:
            what = f"folds behind the weights of a fused head, {count} shots"
            yield Applied(what, FOLDS, fewest, "each fold holds an image of every class out")


def _fewest_of_a_class(
    wanted: BackboneSets, fusion: Fusion, trials: Trials, shots: Sequence[int]
) -> Iterator[tuple[int, int]]:
    """Yield every shot count with the fewest images of a class in any support; none where nothing is validated."""
    if wanted.sets and fusion.validates(wanted):
        for count in shots:
            labels = [trials.synthetic[rows] for rows in trials.supports(count)]
            yield count, min(int(min(each.sum(), (~each).sum())) for each in labels)
