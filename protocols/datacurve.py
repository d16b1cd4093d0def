"""Run a data curve: every contestant at every share and draw, point by point, and report all."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fewshot.audit import confound_warning
from fewshot.core.arrays import BoolArray, FloatArray, IntArray
from fewshot.core.errors import OptionError, OutputError
from fewshot.core.progress import Progress
from fewshot.core.provenance import provenance
from fewshot.embeddings.store import FeatureStore
from fewshot.fractions import PAPER_FRACTIONS, draw_fractions, smallest_fraction
from fewshot.protocols.contestants import Contestant, Features, Outcome, Subset, SvmContestant, contestants
from fewshot.protocols.families import add_means, count, family_of, is_known, measure, query_sets
from fewshot.protocols.points import Point, Points
from fewshot.protocols.trainingset import Split, split
from fewshot.report import Report
from fewshot.rows import Row

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


def layer_of(protocol: "Attribution", store: FeatureStore) -> tuple[str, str]:
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


class DataCurve:
    """One run of the protocol on one store."""

    def __init__(self, protocol: "Attribution", store: FeatureStore, points: Points | None, quiet: bool) -> None:
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
            for contestant, fraction in self._plan():
                rows += self._rows(contestant, fraction, progress)
        split0 = self._split(0)
        if told := confound_warning(self.store, np.union1d(split0.pool, split0.query)):
            self.warnings.insert(0, told)
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

    def _plan(self) -> list[tuple[Contestant, float]]:
        """Return what is run: everything at every share, and carved variants at the smallest.

        Images held out by a column are more than the smallest share itself, and count as data (methods.md 2.4).
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

    def _total_steps(self) -> int:
        return sum(
            contestant.steps(self._subset(contestant, fraction, 0)) * self.protocol.trials_at(fraction)
            for contestant, fraction in self._plan()
        )

    def _rows(self, contestant: Contestant, fraction: float, progress: Progress) -> Iterator[Row]:
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
        yield from self._assembled(contestant, fraction, len(trials))

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
        """Return the score that 5 % of the natural validation images exceed; None without any (methods.md 4.3).

        A head without steps trains on all of the subset, so that nothing of it is left to set a border on.
        """
        if not outcome.steps:
            return None
        natural = subset.validation[~self.store.synthetic[subset.validation]]
        return float(np.quantile(outcome.score(natural).scores, 0.95)) if len(natural) else None

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
        for contestant, fraction in self._plan():
            for trial in range(self.protocol.trials_at(fraction)):
                point = self._point(contestant, fraction, trial)
                if point is not None:
                    facts = {key: point.facts[key] for key in ("support", "n_support", "steps", "kept_step")}
                    found[f"{contestant.name} {100 * fraction:g}% trial {trial}"] = facts
        return found


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


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _plain(part) for name, part in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(part) for part in value]
    return value


def largest_points(report: Report, points: Points) -> dict[str, Point]:
    """Return per head the point of the largest fraction, first draw: what the figures per image are drawn from."""
    largest = max(row.fraction or 0.0 for row in report.rows)
    heads = dict.fromkeys(row.head for row in report.rows)
    found = {head: points.get(_point_name(head, largest, 0)) for head in heads}
    return {head: point for head, point in found.items() if point is not None}


def kept_scores(report: Report, points: Points, path: Path, *, synthetic: BoolArray) -> Path:
    """Write the scores of every point as .npz: ``rows | HEAD | FRACTION | TRIAL`` and ``scores | ...``.

    Args:
        synthetic: (N,) of the store, which the rows number; kept as ``synthetic``.

    Raises:
        OutputError: the file cannot be written.
    """
    arrays: dict[str, Any] = {"synthetic": synthetic}
    for row in report.where(source="all", metric=METRICS[0]):
        for trial in range(len(row.values)):
            point = points.get(_point_name(row.head, row.fraction or 0.0, trial))
            if point is not None:
                place = f"{row.head} | {row.fraction:g} | {trial}"
                arrays |= {f"{name} | {place}": values for name, values in point.arrays.items()}
    try:
        np.savez_compressed(path, **arrays)
    except OSError as error:
        raise OutputError(f"the scores {path} cannot be written ({error}); give -o another place") from error
    return path


def _point_name(contestant: str, fraction: float, trial: int) -> str:
    return f"{contestant} {fraction!r} {trial}"
