"""Data curves over the layers of a backbone, and the layer that is chosen draw by draw."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fewshot.audit import confound_warning
from fewshot.embeddings.store.reader import FeatureStore
from fewshot.protocols.base import RunContext
from fewshot.protocols.curve.finished_points import FinishedPoint, ResultCache
from fewshot.protocols.curve.model import Model
from fewshot.protocols.curve.run import DataCurve, rows_of
from fewshot.protocols.curve.settings import CurveSettings
from fewshot.protocols.curve.split import Splits
from fewshot.protocols.trials.caveats import oracle_caveats, tpr_caveats
from fewshot.protocols.trials.layers import CHOSEN, is_reported_fixed
from fewshot.protocols.trials.pool import random_weights_warning
from fewshot.results.report import Report
from fewshot.results.row import Row


@dataclass(frozen=True)
class LayerCurves:
    """The curves of every layer that is scored, complete; the main layer's first."""

    settings: CurveSettings
    splits: Splits
    curves: tuple[DataCurve, ...]

    @property
    def main(self) -> DataCurve:
        """The curve of the main layer, which supports, kept scores and figures are of."""
        return self.curves[0]

    def rows(self) -> Iterator[Row]:
        """Yield the rows of every layer by itself, then those of the layer chosen in every draw."""
        default = self.splits.store.default_layer(self.main.key.backbone)
        for curve in self.curves:
            if is_reported_fixed(curve.key.layer, self.settings.layer, default=default):
                yield from curve.rows()
        for selection in CHOSEN:
            if selection in self.settings.layer:
                yield from self._chosen_rows(selection)

    def scores(self) -> dict[str, NDArray[Any]]:
        """Return the per-image arrays of the main layer, see ``DataCurve.scores``."""
        return self.main.scores()

    def warnings(self, rows: Sequence[Row]) -> tuple[str, ...]:
        """Return what a reader of the rows must know."""
        store = self.splits.store
        first = [confound_warning(store, self.splits.images), random_weights_warning(store, [self.main.key.backbone])]
        later = [text for curve in self.curves for text in curve.warnings()]
        return tuple(dict.fromkeys([*filter(None, first), *later, *tpr_caveats(rows), *oracle_caveats(rows)]))

    def _chosen_rows(self, selection: str) -> Iterator[Row]:
        about = {"backbone": self.main.key.backbone, "layer": selection, "selection": selection}
        for model, fraction in self.main.plan:
            taken, names = self._chosen(model, fraction, selection)
            yield from rows_of(taken, {**about, "dataset": self.splits.dataset, "fraction": fraction}, names)

    def _chosen(self, model: Model, fraction: float, selection: str) -> tuple[list[FinishedPoint], list[str]]:
        """Return the points of the layer that is best in each draw, and these layers; the first among equals."""
        by_layer = [curve.points_at(model, fraction) for curve in self.curves]
        taken, names = [], []
        for candidates in zip(*by_layer, strict=True):
            best = int(np.argmax([_merit(point, selection) for point in candidates]))
            taken.append(candidates[best])
            names.append(self.curves[best].key.layer)
        return taken, names


def run_layers(settings: CurveSettings, store: FeatureStore, context: RunContext) -> LayerCurves:
    """Run the curve of every layer that is wanted, resuming from the context's cache."""
    keys = settings.keys(store)
    splits = Splits(store, settings.split, keys[0].backbone)
    curves = [
        DataCurve(settings, splits, key, ResultCache(context.cache, settings.fingerprint(store, key))) for key in keys
    ]
    total = sum(curve.total_steps() for curve in curves)
    with context.progress(total, label="attribute", unit="steps") as progress:
        progress.say(_announced(curves, total))
        for curve in curves:
            curve.complete(progress)
    return LayerCurves(settings, splits, tuple(curves))


def _announced(curves: Sequence[DataCurve], total: int) -> str:
    """Return what a run is going to do; how long it takes is known after the first steps."""
    main = curves[0]
    names = ", ".join(model.name for model in main.models)
    shares = ", ".join(f"{100 * fraction:g} %" for fraction in main.fractions)
    layers = f" on {len(curves)} layers" if len(curves) > 1 else ""
    return (
        f"attribute: {total:,} steps to train {names} at {shares} of the training images{layers}; --steps, "
        f"--fractions and --trials make it shorter, and with -o an interrupted run resumes"
    )


def main_layer(report: Report) -> Report:
    """Return the report of the layer that stands first: what tables of the paper and figures are made of."""
    return replace(report, rows=tuple(row for row in report.rows if row.layer == report.config.get("layer")))


def _merit(point: FinishedPoint, selection: str) -> float:
    """Return the AUROC that chooses: on the query for the oracle, else on held-out images (0 without any)."""
    if selection == "oracle":
        return point.values["all", "auroc"]
    return point.validation_auroc or 0.0
