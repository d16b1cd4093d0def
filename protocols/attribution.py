"""Single-class attribution with data curves: how little data of one class is enough (arXiv 2603.00717v2)."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

import numpy as np

from fewshot.core.arrays import IntArray
from fewshot.core.errors import OptionError, unknown_name
from fewshot.core.progress import Progress
from fewshot.core.provenance import provenance
from fewshot.embeddings.store import FeatureStore
from fewshot.fractions import PAPER_FRACTIONS, draw_fractions, smallest_fraction
from fewshot.protocols.base import Protocol
from fewshot.protocols.contestants import Contestant, Features, Outcome, Subset, contestants
from fewshot.protocols.families import add_means, count, family_of, is_known, measure, query_sets
from fewshot.protocols.points import Point, Points
from fewshot.protocols.trainingset import Split, SplitRule, split
from fewshot.reconstruction.recipe import Recipe
from fewshot.report import Report
from fewshot.rows import Row

METRICS = (
    "average_precision",
    "accuracy",
    "f1",
    "natural_accuracy",
    "synthetic_accuracy",
    "auroc",
    "tpr_at_5_fpr",
)
REFERENCES = ("linear-probe", "rbf-svm")


@dataclass(frozen=True)
class Attribution(Protocol):
    """Fit an encoder-decoder on one class at growing shares of the training set, beside references on the same images.

    Args:
        fit_on: the attributed classes: ``natural``, ``synthetic`` or a source's name.
        fractions: shares of the training set; None is the paper's, less those that the set is too small for.
        backbone: which backbone; None when the store has one.
        layer: which layer; None is the card's.
        where: which images take part.
        train: which of them train, by column; empty is ``split=train`` where the store has that, else a drawn share.
        query: which are asked; empty is every image that does not train (``split=test`` where the store has that).
        train_share: the share drawn for training where no column says it.
        group: images that share a value of this column never stand on both sides of a drawn split.
        validation: ``carved`` from each subset, ``none``, or ``COLUMN=VALUE``; chooses the step that is kept.
        validation_share: of a subset, when carved.
        references: heads on the same subsets: ``linear-probe``, ``rbf-svm``.
        trials: draws per fraction; None is 5 below 10 %, 3 from there, 1 at 100 %.
        recipe: changes to the defaults of ``Recipe``.
        families: generator -> ``gans``, ``diffusion`` or ``others``, where it is not known or wrong.
        seed: what all draws follow from.
        device: where to train.
        side_by_side: how many trials train at once; results do not depend on it beyond rounding.
    """

    name: ClassVar[str] = "attribution"

    fit_on: tuple[str, ...] = ("natural",)
    fractions: tuple[float, ...] | None = None
    backbone: str | None = None
    layer: str | None = None
    where: Mapping[str, str] = field(default_factory=dict)
    train: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    train_share: float = 0.5
    group: str = "group"
    validation: str = "carved"
    validation_share: float = 0.1
    references: tuple[str, ...] = REFERENCES
    trials: int | None = None
    recipe: Mapping[str, Any] = field(default_factory=dict)
    families: Mapping[str, str] = field(default_factory=dict)
    seed: int = 0
    device: str = "cpu"
    side_by_side: int = 1

    def __post_init__(self) -> None:
        for name in self.references:
            if name not in REFERENCES:
                raise unknown_name("reference", name, REFERENCES)
        if self.validation not in ("carved", "none") and "=" not in self.validation:
            raise OptionError(f"validation is {self.validation!r}; give carved, none or COLUMN=VALUE")
        if not self.fit_on:
            raise OptionError("nothing to fit on; give natural, synthetic or a source")

    def run(self, store: FeatureStore, *, points: Points | None = None, quiet: bool = True) -> Report:
        """Run every point that ``points`` does not hold yet, and report all.

        Raises:
            EpisodeError: a fraction that leaves a cell without an image, or a class without images.
            UnknownNameError: a backbone, layer, source or column that is not there.
        """
        return _Run(self, store, points, quiet).report()

    def rule(self) -> SplitRule:
        """Return how this protocol divides a store."""
        column, _, value = self.validation.partition("=")
        return SplitRule(
            where=self.where,
            train=self.train,
            query=self.query,
            validation={column: value} if value else {},
            train_share=self.train_share,
            group=self.group,
            seed=self.seed,
        )

    def training_recipe(self) -> Recipe:
        """Return the recipe with this protocol's changes."""
        try:
            return Recipe(**self.recipe)
        except TypeError as error:
            raise OptionError(f"the training cannot be set so ({error}); see `fewshot attribute --help`") from error

    def trials_at(self, fraction: float) -> int:
        """Return the number of draws: 5 seeds below 10 %, 3 at 10 %, 1 at 100 % (methods.md 2.4)."""
        if self.trials is not None:
            return self.trials
        return 5 if fraction < 0.1 else 3 if fraction < 1 else 1


def fingerprint(protocol: Attribution, store: FeatureStore, backbone: str, layer: str) -> dict[str, Any]:
    """Return what every point depends on: the configuration, but for how it is computed, and the features."""
    config = {name: value for name, value in asdict(protocol).items() if name not in ("side_by_side", "fit_on")}
    return {**config, "fractions": None, "trials": None, "features": store.info(backbone, layer).digest}


def layer_of(protocol: Attribution, store: FeatureStore) -> tuple[str, str]:
    """Return (backbone, layer) that a protocol means in a store.

    Raises:
        OptionError: several backbones and none named.
        UnknownNameError: no such backbone or layer.
    """
    if protocol.backbone is None and len(store.backbones) != 1:
        raise OptionError(f"the store has the backbones {', '.join(store.backbones)}; choose one by --backbone")
    backbone = protocol.backbone or store.backbones[0]
    layer = protocol.layer or store.default_layer(backbone)
    store.info(backbone, layer)
    return backbone, layer


class _Run:
    """One run of the protocol on one store."""

    def __init__(self, protocol: Attribution, store: FeatureStore, points: Points | None, quiet: bool) -> None:
        self.protocol, self.store, self.quiet = protocol, store, quiet
        self.backbone, self.layer = layer_of(protocol, store)
        self.points = points or Points(None, fingerprint(protocol, store, self.backbone, self.layer))
        self.warnings: list[str] = []
        self.splits: dict[int, Split] = {}
        self.fractions = self._fractions()
        self.contestants = contestants(
            Features(store, self.backbone, self.layer),
            self._split(0),
            fit_on=protocol.fit_on,
            references=protocol.references,
            recipe=protocol.training_recipe(),
            device=protocol.device,
        )
        if store.info(self.backbone, self.layer).normalised:
            self.warnings.append("the features are stored with unit length; the paper's encoder-decoder sees raw ones")

    def report(self) -> Report:
        rows: list[Row] = []
        with Progress(self._total_steps(), label="attribute", unit="steps", quiet=self.quiet) as progress:
            for contestant in self.contestants:
                for fraction in self.fractions:
                    rows += self._rows(contestant, fraction, progress)
        split0 = self._split(0)
        unknown = [name for name in split0.generators if not is_known(name, self.protocol.families)]
        if unknown:
            self.warnings.append(f"counted as others, for want of a known family: {', '.join(unknown)}")
        return Report(
            protocol=self.protocol.name,
            config=_plain(asdict(self.protocol))
            | {"backbone": self.backbone, "layer": self.layer, "fractions": list(self.fractions)},
            rows=tuple(rows),
            supports=self._supports(),
            warnings=tuple(dict.fromkeys(self.warnings)),
            provenance={**provenance(), "store": self.store.digest},
        )

    def _fractions(self) -> tuple[float, ...]:
        cells = self._split(0).cells
        if self.protocol.fractions is not None:
            return tuple(sorted(set(self.protocol.fractions)))
        least = smallest_fraction(cells)
        fitting = tuple(fraction for fraction in PAPER_FRACTIONS if fraction >= least)
        if len(fitting) < len(PAPER_FRACTIONS):
            left_out = ", ".join(f"{100 * f:g} %" for f in PAPER_FRACTIONS if f < least)
            self.warnings.append(
                f"left out {left_out}: the smallest of {len(cells)} cells has {min(len(c.positions) for c in cells)} "
                f"images, so that the smallest fraction is {100 * least:.3g} %"
            )
        return fitting

    def _split(self, trial: int) -> Split:
        if trial not in self.splits:
            made = split(self.store, self.protocol.rule(), self.backbone, trial=trial)
            self.splits[trial] = made
            self.warnings += made.warnings
        return self.splits[trial]

    def _subset(self, contestant: Contestant, fraction: float, trial: int) -> Subset:
        """Return the images of one fraction of one draw, those of them that train, and those that validate."""
        divided = self._split(trial)
        positions = draw_fractions(divided.cells, [fraction], seed=self.protocol.seed, trial=trial)[fraction]
        rows = divided.pool[positions]
        return contestant.subset(
            rows[contestant.takes(rows)],
            held=divided.validation,
            carve=self.protocol.validation_share if self.protocol.validation == "carved" else 0.0,
            seed=self.protocol.seed,
            trial=trial,
        )

    def _total_steps(self) -> int:
        return sum(
            contestant.steps(self._subset(contestant, fraction, 0)) * self.protocol.trials_at(fraction)
            for contestant in self.contestants
            for fraction in self.fractions
        )

    def _rows(self, contestant: Contestant, fraction: float, progress: Progress) -> Iterator[Row]:
        trials = range(self.protocol.trials_at(fraction))
        missing = [trial for trial in trials if self._point(contestant, fraction, trial) is None]
        self._pass_over(contestant, fraction, progress, count=len(trials) - len(missing))
        width = max(1, self.protocol.side_by_side)
        for start in range(0, len(missing), width):
            together = missing[start : start + width]
            subsets = [self._subset(contestant, fraction, trial) for trial in together]
            note = f"{contestant.name} at {100 * fraction:g} %"
            told = [0]

            def advance(
                steps: int, losses: str, note: str = note, told: list[int] = told, count: int = len(together)
            ) -> None:
                told[0] += steps * count
                progress.advance(steps * count, note=f"{note}, {losses}" if losses else note)

            outcomes = contestant.fit(subsets, advance=advance)
            for trial, subset, outcome in zip(together, subsets, outcomes, strict=True):
                self.points.put(
                    self._name(contestant, fraction, trial), self._measured(contestant, subset, outcome, trial)
                )
            progress.advance(max(0, sum(contestant.steps(s) for s in subsets) - told[0]), note=note)
        yield from self._assembled(contestant, fraction, len(trials))

    def _pass_over(self, contestant: Contestant, fraction: float, progress: Progress, *, count: int) -> None:
        if count:
            steps = contestant.steps(self._subset(contestant, fraction, 0))
            progress.advance(steps * count, note=f"{contestant.name} at {100 * fraction:g} %, done before")

    def _name(self, contestant: Contestant, fraction: float, trial: int) -> str:
        return f"{contestant.name} {fraction!r} {trial}"

    def _point(self, contestant: Contestant, fraction: float, trial: int) -> Point | None:
        return self.points.get(self._name(contestant, fraction, trial))

    def _measured(self, contestant: Contestant, subset: Subset, outcome: Outcome, trial: int) -> Point:
        divided = self._split(trial)
        scored = outcome.score(divided.query)
        synthetic = self.store.synthetic[divided.query]
        sets = query_sets(self.store.source[divided.query], synthetic, self.store.column("dataset")[divided.query])
        families = {q.source: family_of(q.source, self.protocol.families) for q in sets[1:]}
        values = add_means(measure(scored.scores, synthetic, sets, METRICS), families)
        values |= {("all", name): number for name, number in scored.facts.items()}
        return Point(
            facts={
                "head": outcome.head,
                "warnings": list(outcome.warnings),
                "values": [[source, metric, value] for (source, metric), value in values.items()],
                "n_query": count(sets, families),
                "n_support": len(subset.rows),
                "support": _digest(subset.rows),
                "steps": outcome.steps,
                "kept_step": outcome.kept_step,
            },
            arrays={"rows": divided.query, "scores": scored.scores.astype(np.float32), **scored.arrays},
        )

    def _assembled(self, contestant: Contestant, fraction: float, trials: int) -> Iterator[Row]:
        points = []
        for trial in range(trials):
            point = self._point(contestant, fraction, trial)
            assert point is not None, "every point was just made"
            points.append(point)
            self.warnings += point.facts["warnings"]
        by_key: dict[tuple[str, str], list[float]] = {}
        for point in points:
            for source, metric, value in point.facts["values"]:
                by_key.setdefault((source, metric), []).append(value)
        first = points[0].facts
        dataset = ",".join(sorted(set(self.store.column("dataset")[self._split(0).query]))) or self.store.path.stem
        for (source, metric), values in by_key.items():
            yield Row(
                backbone=self.backbone,
                layer=self.layer,
                selection="fixed",
                head=first["head"],
                dataset=dataset,
                source=source,
                metric=metric,
                n_support=first["n_support"],
                n_query=first["n_query"][source],
                values=tuple(values),
                fraction=fraction,
            )

    def _supports(self) -> dict[str, Any]:
        """Return per contestant, fraction and trial the SHA-256 of the training rows; the draw itself is repeatable."""
        found: dict[str, Any] = {}
        for contestant in self.contestants:
            for fraction in self.fractions:
                for trial in range(self.protocol.trials_at(fraction)):
                    point = self._point(contestant, fraction, trial)
                    if point is not None:
                        facts = {key: point.facts[key] for key in ("support", "n_support", "steps", "kept_step")}
                        found[f"{contestant.name} {100 * fraction:g}% trial {trial}"] = facts
        return found


def _digest(rows: IntArray) -> str:
    return hashlib.sha256(rows.astype("<i8").tobytes()).hexdigest()


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _plain(part) for name, part in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(part) for part in value]
    return value
