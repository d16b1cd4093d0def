"""Run a data curve on one layer: every model at every share and draw, point by point."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fewshot.core.progress import Progress
from fewshot.draws.fractions import PAPER_FRACTIONS, draw_fractions, smallest_fraction
from fewshot.embeddings.layer_key import LayerKey
from fewshot.protocols.curve.finished_points import FinishedPoint, ResultCache
from fewshot.protocols.curve.generator_families import is_known
from fewshot.protocols.curve.measurement import Measurement
from fewshot.protocols.curve.model import Features, Model, Subset
from fewshot.protocols.curve.models import SvmModel, models
from fewshot.protocols.curve.settings import CurveSettings
from fewshot.protocols.curve.split import Splits
from fewshot.protocols.trials.applied import Applied
from fewshot.results.row import Row
from fewshot.results.scores import name_at_point


class DataCurve:
    """One run of a curve on one layer of a store.

    Args:
        settings: what is run.
        splits: the divisions of the store, shared by all layers.
        key: the layer.
        cache: where its finished points are kept.
    """

    def __init__(self, settings: CurveSettings, splits: Splits, key: LayerKey, cache: ResultCache) -> None:
        self.settings, self.splits, self.key, self.cache = settings, splits, key, cache
        self.fractions = settings.fractions_of(splits.of(0))
        self.models = models(Features(splits.store, key), splits.of(0), settings)

    @cached_property
    def plan(self) -> tuple[tuple[Model, float], ...]:
        """What is run: everything at every share, and at the smallest also with images held out of it.

        Images held out by a column are more than the smallest share itself, and count as data.
        """
        pairs = [(model, fraction) for model in self.models for fraction in self.fractions]
        if len(self.splits.of(0).validation):
            trained = [model for model in self.models if not isinstance(model, SvmModel)]
            pairs += [(model.holding_out(), self.fractions[0]) for model in trained]
        return tuple(pairs)

    def total_steps(self) -> int:
        """Return the optimiser steps of all points."""
        return sum(
            model.steps(self._subset(model, fraction, 0)) * self.settings.trials_at(fraction)
            for model, fraction in self.plan
        )

    def complete(self, progress: Progress) -> None:
        """Run every point that is not there yet."""
        for model, fraction in self.plan:
            self._complete(model, fraction, progress)

    def points_at(self, model: Model, fraction: float) -> list[FinishedPoint]:
        """Return the finished points of one model at one share, a point per draw."""
        found = [self._point(model, fraction, trial) for trial in range(self.settings.trials_at(fraction))]
        points = [point for point in found if point is not None]
        assert len(points) == len(found), "every point was just made"
        return points

    def rows(self) -> Iterator[Row]:
        """Yield the rows of this layer."""
        about = {"backbone": self.key.backbone, "layer": self.key.layer, "selection": "fixed"}
        for model, fraction in self.plan:
            fields = {**about, "dataset": self.splits.dataset, "fraction": fraction}
            yield from rows_of(self.points_at(model, fraction), fields)

    def supports(self) -> dict[str, Any]:
        """Return per model, fraction and trial the SHA-256 of the training rows; the draw itself is repeatable."""
        return {
            f"{model.name} {100 * fraction:g}% trial {trial}": {
                key: getattr(point, key) for key in ("support", "n_support", "steps", "kept_step")
            }
            for model, fraction in self.plan
            for trial, point in enumerate(self.points_at(model, fraction))
        }

    def scores(self) -> dict[str, NDArray[Any]]:
        """Return the per-image arrays of every point, by ``name_at_point``, and the class of every row of the store."""
        kept = {
            name_at_point(kind, point.head, fraction, trial): values
            for model, fraction in self.plan
            for trial, point in enumerate(self.points_at(model, fraction))
            for kind, values in point.arrays.items()
        }
        return {"synthetic": self.splits.store.synthetic, **kept}

    def applied(self) -> Iterator[Applied]:
        """Yield the options that the store does not allow as given."""
        settings, rule = self.settings, self.settings.split
        for model, fraction in self.plan:
            wants = (settings.holds_out or model.holds_out) and not isinstance(model, SvmModel)
            if wants and not len(self._subset(model, fraction, 0).validation):
                option = f"--validation of {model.name} at {100 * fraction:g} %"
                why = f"{settings.validation_share:g} of the images of a class is no image, and the last step is kept"
                yield Applied(option, "held-out", "none", why)
        unknown = sorted(set(settings.families) - set(self.splits.of(0).generators))
        if unknown:
            yield Applied("--family", ", ".join(unknown), None, "no generator of that name is queried")
        if self.splits.by_column and rule.train_share != type(rule).train_share:
            yield Applied("--train-share", rule.train_share, None, "a column says which images train")

    def warnings(self) -> list[str]:
        """Return what a reader of this layer's rows must know."""
        divided = self.splits.of(0)
        notes = [*map(str, self.applied()), *divided.warnings, *self._left_out()]
        if self.splits.store.info(self.key.backbone, self.key.layer).normalised:
            notes.append("the features are stored with unit length; the paper's encoder-decoder sees raw ones")
        unknown = [name for name in divided.generators if not is_known(name, self.settings.families)]
        if unknown:
            notes.append(f"counted as others, for want of a known family: {', '.join(unknown)}")
        points = [point for model, fraction in self.plan for point in self.points_at(model, fraction)]
        return [*notes, *self.splits.warnings, *(text for point in points for text in point.warnings)]

    def _left_out(self) -> list[str]:
        cells = self.splits.of(0).cells
        missing = [share for share in PAPER_FRACTIONS if share not in self.fractions]
        if self.settings.fractions is not None or not missing:
            return []
        return [
            f"left out {', '.join(f'{100 * share:g} %' for share in missing)}: the smallest of {len(cells)} cells has "
            f"{min(len(cell.positions) for cell in cells)} images, so that the smallest fraction is "
            f"{100 * smallest_fraction(cells):.3g} %"
        ]

    def _subset(self, model: Model, fraction: float, trial: int) -> Subset:
        """Return the images of one fraction of one draw, those of them that train, and those that validate."""
        divided, settings = self.splits.of(trial), self.settings
        positions = draw_fractions(divided.cells, [fraction], seed=settings.seed, trial=trial)[fraction]
        rows = divided.training[positions]
        return model.subset(
            rows[model.takes(rows)],
            validation=np.empty(0, np.int64) if model.holds_out else divided.validation,
            share=settings.validation_share if model.holds_out or settings.holds_out else 0.0,
            seed=settings.seed,
            trial=trial,
        )

    def _complete(self, model: Model, fraction: float, progress: Progress) -> None:
        trials = range(self.settings.trials_at(fraction))
        missing = [trial for trial in trials if self._point(model, fraction, trial) is None]
        self._skip_finished(model, fraction, progress, count=len(trials) - len(missing))
        width = max(1, self.settings.side_by_side)
        for start in range(0, len(missing), width):
            together = missing[start : start + width]
            subsets = [self._subset(model, fraction, trial) for trial in together]
            reporter = _StepReporter(progress, f"{model.name} at {100 * fraction:g} %", models=len(together))
            for trial, subset, fitted in zip(together, subsets, model.fit(subsets, advance=reporter), strict=True):
                measurement = Measurement(self.splits.store, self.settings, self.splits.of(trial))
                self.cache.put(_name(model, fraction, trial), measurement.point(model, subset, fitted))
            reporter.fill(sum(model.steps(subset) for subset in subsets))

    def _skip_finished(self, model: Model, fraction: float, progress: Progress, *, count: int) -> None:
        if count:
            steps = model.steps(self._subset(model, fraction, 0))
            progress.advance(steps * count, note=f"{model.name} at {100 * fraction:g} %, done before")

    def _point(self, model: Model, fraction: float, trial: int) -> FinishedPoint | None:
        return self.cache.get(_name(model, fraction, trial))


def rows_of(points: Sequence[FinishedPoint], about: Mapping[str, Any], choices: Sequence[str] = ()) -> Iterator[Row]:
    """Yield the rows of one model at one share from its points, a value per draw.

    Args:
        about: the other fields of ``Row``.
        choices: the layer chosen in every draw; empty when it is fixed.
    """
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
            n_natural=first.n_natural[source],
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


def _name(model: Model, fraction: float, trial: int) -> str:
    return f"{model.name} {fraction!r} {trial}"
