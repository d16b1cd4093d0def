"""What a report over views says in one sentence: which perturbation costs most."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from fewshot.results.pairing import distance_in_words
from fewshot.results.row import FLIP_RATE
from fewshot.results.standing import CLEAN, Measured, Names, Standing, best_of, measure_title, of_metric


@dataclass(frozen=True)
class UnderViews:
    """One detector on clean images and under every other view, the one that costs most first."""

    clean: Standing
    others: tuple[Standing, ...]

    def lost(self, under: Standing) -> float:
        """Return how much of the measure a view costs."""
        return self.clean.summary.mean - under.summary.mean


def under_views(ranked: Sequence[Standing]) -> tuple[UnderViews, ...]:
    """Return every detector with its views, the best on clean images first.

    Args:
        ranked: the report's standings, the best first; detectors without a clean one are left out.
    """
    by_detector: dict[tuple[Any, ...], list[Standing]] = {}
    for one in ranked:
        by_detector.setdefault(one.row.setting[:-1], []).append(one)
    found = []
    for alike in by_detector.values():
        clean = next((one for one in alike if one.row.view == CLEAN), None)
        if clean is not None:
            found.append(UnderViews(clean, tuple(one for one in reversed(alike) if one is not clean)))
    return tuple(sorted(found, key=lambda one: -one.clean.summary.mean))


def view_parts(report: Measured, ranked: Sequence[Standing]) -> list[str]:
    """Return the parts of the sentence.

    Args:
        ranked: the report's standings, the best first, with a clean one at least.
    """
    names, detectors = Names.of([one.row for one in ranked]), under_views(ranked)
    best = detectors[0]
    size = f", {best.clean.size}" if best.clean.size else ""
    measured = f"{measure_title(best.clean.row.metric)} {best.clean.summary.mean:.2f} on clean images"
    return [
        f"{names.detector(best.clean.row)}{size}: {measured}{best_of(detectors)}",
        *_costliest(report, best),
        *_loses_most(names, detectors),
    ]


def _costliest(report: Measured, detector: UnderViews) -> Iterator[str]:
    worst = next(iter(detector.others), None)
    if worst is None:
        return
    if detector.lost(worst) <= 0:
        yield "no view costs it anything"
        return
    flips = of_metric(report, worst.row, FLIP_RATE)
    flipped = "" if flips is None else f"; {100 * flips.summary().mean:.0f} % of its verdicts change there"
    distance = distance_in_words(detector.clean.row, worst.row)
    yield f"{worst.row.view} costs it most: {worst.summary.mean:.2f}, {distance}{flipped}"


def _loses_most(names: Names, detectors: Sequence[UnderViews]) -> Iterator[str]:
    """Yield which detector of several loses most, where it is not the best one."""
    losses = [(one.lost(one.others[0]), one) for one in detectors if one.others]
    if len(losses) < 2:
        return
    lost, found = max(losses, key=lambda pair: pair[0])
    if found is not detectors[0] and lost > 0:
        yield f"{names.detector(found.clean.row)} loses most of all, {lost:.2f} under {found.others[0].row.view}"
