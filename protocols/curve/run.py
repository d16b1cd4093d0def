"""Run a data curve on one layer: every model at every share and draw, point by point."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fewshot.core.arrays import BoolArray, FloatArray, IntArray
from fewshot.core.progress import Progress
from fewshot.draws.fractions import PAPER_FRACTIONS, draw_fractions, smallest_fraction
from fewshot.embeddings.store.reader import FeatureStore
from fewshot.protocols.curve.finished_points import FinishedPoint, ResultCache
from fewshot.protocols.curve.generator_families import add_means, count, family_of, is_known, measure, query_sets
from fewshot.protocols.curve.models import HELD_OUT, Features, FittedModel, Model, Subset, SvmModel, models
from fewshot.protocols.curve.split import Split, split
from fewshot.results.report import Report
from fewshot.results.row import Row
from fewshot.results.scores import name_at_point, save_scores
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

# accuracy at the score that 5 % of the natural validation images exceed
AT_VALIDATION_THRESHOLD = "accuracy_at_validation_5_fpr"


def fingerprint(protocol: "Attribution", store: FeatureStore, backbone: str, layer: str) -> dict[str, Any]:
    """Return what every point depends on: the configuration, but for how it is computed, and the features."""
    config = {name: value for name, value in asdict(protocol).items() if name not in ("side_by_side", "fit_on")}
    return {**config, "fractions": None, "trials": None, "features": store.info(backbone, layer).digest}


class DataCurve:
    """One run of the protocol on one layer of a store."""

    def __init__(
        self, protocol: "Attribution", store: FeatureStore, points: ResultCache, *, backbone: str, layer: str
    ) -> None:
        self.protocol, self.store, self.points = protocol, store, points
        self.backbone, self.layer = backbone, layer
        self.warnings: list[str] = []
        self.splits: dict[int, Split] = {}
        self.fractions = self._fractions()
        self.models = models(
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
            model.steps(self._subset(model, fraction, 0)) * self.protocol.trials_at(fraction)
            for model, fraction in self.plan
        )

    def complete(self, progress: Progress) -> None:
        """Run every point that is not there yet."""
        for model, fraction in self.plan:
            self._complete(model, fraction, progress)
            for point in self.points_at(model, fraction):
                self.warnings += point.warnings

    def points_at(self, model: Model, fraction: float) -> list[FinishedPoint]:
        """Return the finished points of one model at one share, a point per draw."""
        found = [self._point(model, fraction, trial) for trial in range(self.protocol.trials_at(fraction))]
        points = [point for point in found if point is not None]
        assert len(points) == len(found), "every point was just made"
        return points

    def rows(self) -> Iterator[Row]:
        """Yield the rows of this layer."""
        for model, fraction in self.plan:
            about = {"backbone": self.backbone, "layer": self.layer, "selection": "fixed", "dataset": self.dataset}
            yield from rows_of(self.points_at(model, fraction), {**about, "fraction": fraction})

    @property
    def dataset(self) -> str:
        """The data sets that are asked, or the store's name."""
        return ",".join(sorted(set(self.store.column("dataset")[self._split(0).query]))) or self.store.path.stem

    def supports(self) -> dict[str, Any]:
        """Return per model, fraction and trial the SHA-256 of the training rows; the draw itself is repeatable."""
        return {
            f"{model.name} {100 * fraction:g}% trial {trial}": {
                key: getattr(point, key) for key in ("support", "n_support", "steps", "kept_step")
            }
            for model, fraction in self.plan
            for trial, point in enumerate(self.points_at(model, fraction))
        }

    def _plan(self) -> list[tuple[Model, float]]:
        """Return what is run: everything at every share, and at the smallest also with images held out of it.

        Images held out by a column are more than the smallest share itself, and count as data.
        """
        pairs = [(model, fraction) for model in self.models for fraction in self.fractions]
        if len(self._split(0).validation):
            trained = [model for model in self.models if not isinstance(model, SvmModel)]
            pairs += [(model.holding_out(), self.fractions[0]) for model in trained]
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

    def _subset(self, model: Model, fraction: float, trial: int) -> Subset:
        """Return the images of one fraction of one draw, those of them that train, and those that validate."""
        divided = self._split(trial)
        positions = draw_fractions(divided.cells, [fraction], seed=self.protocol.seed, trial=trial)[fraction]
        rows = divided.pool[positions]
        return model.subset(
            rows[model.takes(rows)],
            validation=np.empty(0, np.int64) if model.holds_out else divided.validation,
            share=self.protocol.validation_share if model.holds_out or self.protocol.validation == HELD_OUT else 0.0,
            seed=self.protocol.seed,
            trial=trial,
        )

    def _complete(self, model: Model, fraction: float, progress: Progress) -> None:
        trials = range(self.protocol.trials_at(fraction))
        missing = [trial for trial in trials if self._point(model, fraction, trial) is None]
        self._pass_over(model, fraction, progress, count=len(trials) - len(missing))
        width = max(1, self.protocol.side_by_side)
        for start in range(0, len(missing), width):
            together = missing[start : start + width]
            subsets = [self._subset(model, fraction, trial) for trial in together]
            reporter = _StepReporter(progress, f"{model.name} at {100 * fraction:g} %", models=len(together))
            found = model.fit(subsets, advance=reporter)
            for trial, subset, fitted in zip(together, subsets, found, strict=True):
                point = self._measured(model, subset, fitted, trial)
                self.points.put(self._name(model, fraction, trial), point)
            reporter.fill(sum(model.steps(subset) for subset in subsets))

    def _pass_over(self, model: Model, fraction: float, progress: Progress, *, count: int) -> None:
        if count:
            steps = model.steps(self._subset(model, fraction, 0))
            progress.advance(steps * count, note=f"{model.name} at {100 * fraction:g} %, done before")

    def _name(self, model: Model, fraction: float, trial: int) -> str:
        return _point_name(model.name, fraction, trial)

    def _point(self, model: Model, fraction: float, trial: int) -> FinishedPoint | None:
        return self.points.get(self._name(model, fraction, trial))

    def _measured(self, model: Model, subset: Subset, fitted: FittedModel, trial: int) -> FinishedPoint:
        divided = self._split(trial)
        scored = fitted.score(divided.query)
        synthetic = self.store.synthetic[divided.query]
        sets = query_sets(self.store.source[divided.query], synthetic, self.store.column("dataset")[divided.query])
        families = {q.source: family_of(q.source, self.protocol.families) for q in sets[1:]}
        measured = measure(scored.scores, synthetic, sets, METRICS)
        threshold = self._validation_threshold(subset, fitted)
        if threshold is not None:
            measured |= {
                (q.source, AT_VALIDATION_THRESHOLD): _accuracy(scored.scores, synthetic, q.chosen, threshold)
                for q in sets
            }
        values = add_means(measured, families)
        values |= {("all", metric): value for metric, value in scored.measures.items()}
        return FinishedPoint(
            head=fitted.head,
            values=values,
            n_query=count(sets, families),
            n_support=len(subset.rows),
            support=_digest(subset.rows),
            steps=fitted.steps,
            kept_step=fitted.kept_step,
            validation_auroc=self._validation_auroc(model, subset, fitted),
            warnings=fitted.warnings,
            arrays={"rows": divided.query, "scores": scored.scores.astype(np.float32), **scored.arrays},
        )

    def _validation_threshold(self, subset: Subset, fitted: FittedModel) -> float | None:
        """Return the score that 5 % of the natural validation images exceed; None without any.

        A head without steps trains on all of the subset, so that nothing of it is left to set a threshold on.
        """
        if not fitted.steps:
            return None
        natural = subset.validation[~self.store.synthetic[subset.validation]]
        return float(np.quantile(fitted.score(natural).scores, 0.95)) if len(natural) else None

    def _validation_auroc(self, model: Model, subset: Subset, fitted: FittedModel) -> float | None:
        """Return the AUROC on the images held out of the subset; None where it is not needed or they lack a class."""
        synthetic = self.store.synthetic[subset.validation]
        if "support-cv" not in self.protocol.layer or synthetic.all() or not synthetic.any():
            return None
        scores = model.refit_without_validation(subset, fitted).score(subset.validation).scores
        return Ranked.of(scores, synthetic).auroc()


def rows_of(points: Sequence[FinishedPoint], about: Mapping[str, Any], choices: Sequence[str] = ()) -> Iterator[Row]:
    """Yield the rows of one model at one share from its points, a value per draw."""
    by_key: dict[tuple[str, str], list[float]] = {}
    for point in points:
        for key, value in point.values.items():
            by_key.setdefault(key, []).append(value)
    first = points[0]
    for (source, metric), values in by_key.items():
        yield Row(
            **about,
            head=first.head,
            source=source,
            metric=metric,
            n_support=first.n_support,
            n_query=first.n_query[source],
            values=tuple(values),
            choices=tuple(choices),
        )


class _StepReporter:
    """Reports the progress of models that train side by side: a step of all is as many steps as there are models."""

    def __init__(self, progress: Progress, note: str, *, models: int) -> None:
        self.progress, self.note, self.models, self.reported = progress, note, models, 0

    def __call__(self, steps: int, losses: str) -> None:
        self.reported += steps * self.models
        self.progress.advance(steps * self.models, note=f"{self.note}, {losses}")

    def fill(self, total: int) -> None:
        """Count what was planned and not needed."""
        self.progress.advance(max(0, total - self.reported), note=self.note)


def _accuracy(scores: FloatArray, synthetic: BoolArray, chosen: BoolArray, threshold: float) -> float:
    return float(np.mean((scores[chosen] > threshold) == synthetic[chosen]))


def _digest(rows: IntArray) -> str:
    return hashlib.sha256(rows.astype("<i8").tobytes()).hexdigest()


def largest_points(report: Report, points: ResultCache) -> dict[str, FinishedPoint]:
    """Return per head the point of the largest fraction, first draw: what the figures per image are drawn from."""
    largest = max(row.fraction or 0.0 for row in report.rows)
    heads = dict.fromkeys(row.head for row in report.rows)
    found = {head: points.get(_point_name(head, largest, 0)) for head in heads}
    return {head: point for head, point in found.items() if point is not None}


def kept_scores(report: Report, points: ResultCache, path: Path, *, synthetic: BoolArray) -> Path:
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
    return save_scores(path, arrays)


def _point_name(model: str, fraction: float, trial: int) -> str:
    return f"{model} {fraction!r} {trial}"
