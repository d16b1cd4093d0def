"""Run a data curve on one layer: every contestant at every share and draw, point by point."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fewshot.core.arrays import BoolArray, FloatArray, IntArray
from fewshot.core.errors import OutputError
from fewshot.core.progress import Progress
from fewshot.draws.fractions import PAPER_FRACTIONS, draw_fractions, smallest_fraction
from fewshot.embeddings.store.reader import FeatureStore
from fewshot.protocols.curve.finished_points import Point, Points
from fewshot.protocols.curve.generator_families import add_means, count, family_of, is_known, measure, query_sets
from fewshot.protocols.curve.models import Contestant, Features, Outcome, Subset, SvmContestant, contestants
from fewshot.protocols.curve.split import Split, split
from fewshot.results.report import Report
from fewshot.results.row import Row
from fewshot.results.scores import name_at_point
from fewshot.stats.metrics import Ranked

if TYPE_CHECKING:
    from fewshot.protocols.attribution import Attribution

METRICS = (
    "average_precision",
    "accuracy",
    "f1",
    "natural_accuracy",
    "synthetic_accuracy",
    "auroc",
    "tpr_at_5_fpr",
)

AT_BORDER = "accuracy_at_validation_5_fpr"  # accuracy at the score that 5 % of the natural validation images exceed


def fingerprint(protocol: "Attribution", store: FeatureStore, backbone: str, layer: str) -> dict[str, Any]:
    """Return what every point depends on: the configuration, but for how it is computed, and the features."""
    config = {name: value for name, value in asdict(protocol).items() if name not in ("side_by_side", "fit_on")}
    return {**config, "fractions": None, "trials": None, "features": store.info(backbone, layer).digest}


class DataCurve:
    """One run of the protocol on one layer of a store."""

    def __init__(
        self, protocol: "Attribution", store: FeatureStore, points: Points, *, backbone: str, layer: str
    ) -> None:
        self.protocol, self.store, self.points = protocol, store, points
        self.backbone, self.layer = backbone, layer
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
        self.plan = self._plan()
        if store.info(self.backbone, self.layer).normalised:
            self.warnings.append("the features are stored with unit length; the paper's encoder-decoder sees raw ones")
        unknown = [name for name in self._split(0).generators if not is_known(name, protocol.families)]
        if unknown:
            self.warnings.append(f"counted as others, for want of a known family: {', '.join(unknown)}")

    @property
    def images(self) -> IntArray:
        """The rows that take part in the first draw, ascending."""
        return np.union1d(self._split(0).pool, self._split(0).query)

    def total_steps(self) -> int:
        """Return the optimiser steps of all points."""
        return sum(
            contestant.steps(self._subset(contestant, fraction, 0)) * self.protocol.trials_at(fraction)
            for contestant, fraction in self.plan
        )

    def complete(self, progress: Progress) -> None:
        """Run every point that is not there yet."""
        for contestant, fraction in self.plan:
            self._complete(contestant, fraction, progress)
            for point in self.points_at(contestant, fraction):
                self.warnings += point.facts["warnings"]

    def points_at(self, contestant: Contestant, fraction: float) -> list[Point]:
        """Return the finished points of one contestant at one share, a point per draw."""
        found = [self._point(contestant, fraction, trial) for trial in range(self.protocol.trials_at(fraction))]
        points = [point for point in found if point is not None]
        assert len(points) == len(found), "every point was just made"
        return points

    def rows(self) -> Iterator[Row]:
        """Yield the rows of this layer."""
        for contestant, fraction in self.plan:
            about = {"backbone": self.backbone, "layer": self.layer, "selection": "fixed", "dataset": self.dataset}
            yield from rows_of(self.points_at(contestant, fraction), {**about, "fraction": fraction})

    @property
    def dataset(self) -> str:
        """The data sets that are asked, or the store's name."""
        return ",".join(sorted(set(self.store.column("dataset")[self._split(0).query]))) or self.store.path.stem

    def supports(self) -> dict[str, Any]:
        """Return per contestant, fraction and trial the SHA-256 of the training rows; the draw itself is repeatable."""
        return {
            f"{contestant.name} {100 * fraction:g}% trial {trial}": {
                key: point.facts[key] for key in ("support", "n_support", "steps", "kept_step")
            }
            for contestant, fraction in self.plan
            for trial, point in enumerate(self.points_at(contestant, fraction))
        }

    def _plan(self) -> list[tuple[Contestant, float]]:
        """Return what is run: everything at every share, and carved variants at the smallest.

        Images held out by a column are more than the smallest share itself, and count as data.
        """
        pairs = [(contestant, fraction) for contestant in self.contestants for fraction in self.fractions]
        if len(self._split(0).validation):
            trained = [contestant for contestant in self.contestants if not isinstance(contestant, SvmContestant)]
            pairs += [(contestant.carving(), self.fractions[0]) for contestant in trained]
        return pairs

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
            held=np.empty(0, np.int64) if contestant.carves else divided.validation,
            carve=self.protocol.validation_share if contestant.carves or self.protocol.validation == "carved" else 0.0,
            seed=self.protocol.seed,
            trial=trial,
        )

    def _complete(self, contestant: Contestant, fraction: float, progress: Progress) -> None:
        trials = range(self.protocol.trials_at(fraction))
        missing = [trial for trial in trials if self._point(contestant, fraction, trial) is None]
        self._pass_over(contestant, fraction, progress, count=len(trials) - len(missing))
        width = max(1, self.protocol.side_by_side)
        for start in range(0, len(missing), width):
            together = missing[start : start + width]
            subsets = [self._subset(contestant, fraction, trial) for trial in together]
            teller = _Teller(progress, f"{contestant.name} at {100 * fraction:g} %", models=len(together))
            outcomes = contestant.fit(subsets, advance=teller)
            for trial, subset, outcome in zip(together, subsets, outcomes, strict=True):
                point = self._measured(contestant, subset, outcome, trial)
                self.points.put(self._name(contestant, fraction, trial), point)
            teller.fill(sum(contestant.steps(subset) for subset in subsets))

    def _pass_over(self, contestant: Contestant, fraction: float, progress: Progress, *, count: int) -> None:
        if count:
            steps = contestant.steps(self._subset(contestant, fraction, 0))
            progress.advance(steps * count, note=f"{contestant.name} at {100 * fraction:g} %, done before")

    def _name(self, contestant: Contestant, fraction: float, trial: int) -> str:
        return _point_name(contestant.name, fraction, trial)

    def _point(self, contestant: Contestant, fraction: float, trial: int) -> Point | None:
        return self.points.get(self._name(contestant, fraction, trial))

    def _measured(self, contestant: Contestant, subset: Subset, outcome: Outcome, trial: int) -> Point:
        divided = self._split(trial)
        scored = outcome.score(divided.query)
        synthetic = self.store.synthetic[divided.query]
        sets = query_sets(self.store.source[divided.query], synthetic, self.store.column("dataset")[divided.query])
        families = {q.source: family_of(q.source, self.protocol.families) for q in sets[1:]}
        measured = measure(scored.scores, synthetic, sets, METRICS)
        border = self._validation_border(subset, outcome)
        if border is not None:
            measured |= {(q.source, AT_BORDER): _accuracy(scored.scores, synthetic, q.chosen, border) for q in sets}
        values = add_means(measured, families)
        values |= {("all", name): number for name, number in scored.facts.items()}
        return Point(
            facts={
                "head": outcome.head,
                "warnings": list(outcome.warnings),
                "judged": self._judged(contestant, subset, outcome),
                "values": [[source, metric, value] for (source, metric), value in values.items()],
                "n_query": count(sets, families),
                "n_support": len(subset.rows),
                "support": _digest(subset.rows),
                "steps": outcome.steps,
                "kept_step": outcome.kept_step,
            },
            arrays={"rows": divided.query, "scores": scored.scores.astype(np.float32), **scored.arrays},
        )

    def _validation_border(self, subset: Subset, outcome: Outcome) -> float | None:
        """Return the score that 5 % of the natural validation images exceed; None without any.

        A head without steps trains on all of the subset, so that nothing of it is left to set a border on.
        """
        if not outcome.steps:
            return None
        natural = subset.validation[~self.store.synthetic[subset.validation]]
        return float(np.quantile(outcome.score(natural).scores, 0.95)) if len(natural) else None

    def _judged(self, contestant: Contestant, subset: Subset, outcome: Outcome) -> float | None:
        """Return the AUROC on the images held out of the subset; None where it is not wanted or they lack a class."""
        synthetic = self.store.synthetic[subset.validation]
        if "support-cv" not in self.protocol.layer or synthetic.all() or not synthetic.any():
            return None
        scores = contestant.unseen(subset, outcome).score(subset.validation).scores
        return Ranked.of(scores, synthetic).auroc()


def rows_of(points: Sequence[Point], about: Mapping[str, Any], choices: Sequence[str] = ()) -> Iterator[Row]:
    """Yield the rows of one contestant at one share from its points, a value per draw."""
    by_key: dict[tuple[str, str], list[float]] = {}
    for point in points:
        for source, metric, value in point.facts["values"]:
            by_key.setdefault((source, metric), []).append(value)
    first = points[0].facts
    for (source, metric), values in by_key.items():
        yield Row(
            **about,
            head=first["head"],
            source=source,
            metric=metric,
            n_support=first["n_support"],
            n_query=first["n_query"][source],
            values=tuple(values),
            choices=tuple(choices),
        )


class _Teller:
    """Tells the progress of models that train side by side: one step of all is as many steps as there are models."""

    def __init__(self, progress: Progress, note: str, *, models: int) -> None:
        self.progress, self.note, self.models, self.told = progress, note, models, 0

    def __call__(self, steps: int, losses: str) -> None:
        self.told += steps * self.models
        self.progress.advance(steps * self.models, note=f"{self.note}, {losses}")

    def fill(self, total: int) -> None:
        """Count what was planned and not needed."""
        self.progress.advance(max(0, total - self.told), note=self.note)


def _accuracy(scores: FloatArray, synthetic: BoolArray, chosen: BoolArray, border: float) -> float:
    return float(np.mean((scores[chosen] > border) == synthetic[chosen]))


def _digest(rows: IntArray) -> str:
    return hashlib.sha256(rows.astype("<i8").tobytes()).hexdigest()


def largest_points(report: Report, points: Points) -> dict[str, Point]:
    """Return per head the point of the largest fraction, first draw: what the figures per image are drawn from."""
    largest = max(row.fraction or 0.0 for row in report.rows)
    heads = dict.fromkeys(row.head for row in report.rows)
    found = {head: points.get(_point_name(head, largest, 0)) for head in heads}
    return {head: point for head, point in found.items() if point is not None}


def kept_scores(report: Report, points: Points, path: Path, *, synthetic: BoolArray) -> Path:
    """Write the scores of every point as .npz, by ``name_at_point``.

    Args:
        synthetic: (N,) of the store, which the rows number; kept as ``synthetic``.

    Raises:
        OutputError: the file cannot be written.
    """
    arrays: dict[str, Any] = {"synthetic": synthetic}
    for row in report.where(source="all", metric=METRICS[0]):
        fraction = row.fraction or 0.0
        for trial in range(len(row.values)):
            point = points.get(_point_name(row.head, fraction, trial))
            if point is not None:
                arrays |= {
                    name_at_point(kind, row.head, fraction, trial): values for kind, values in point.arrays.items()
                }
    try:
        np.savez_compressed(path, **arrays)
    except OSError as error:
        raise OutputError(f"the scores {path} cannot be written ({error}); give -o another place") from error
    return path


def _point_name(contestant: str, fraction: float, trial: int) -> str:
    return f"{contestant} {fraction!r} {trial}"
