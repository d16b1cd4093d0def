"""What a reader of the numbers must know: duplicates, inverted labels, unsure intervals, oracles."""

import re
from collections.abc import Sequence

import numpy as np

from fewshot.draws.episodes import Draw, Pool
from fewshot.protocols.trials.measures import MACRO, POOLED, IntervalKind
from fewshot.protocols.trials.trials import Trials
from fewshot.results.row import PRETRAINED, Row

INVERTED_BELOW = 0.4
_NATURAL_NAME = re.compile(r"(?<![a-z])(cam|camera|photo(graph)?s?|real|natural|nature|web)(?![a-z])")
# Where the simulation of docs/experiments/coverage.md found 93 to 97 %:
NEAR_ONE = 0.98
NEAR_ONE_OF_FEW = 0.9  # with fewer than MANY_TRIALS
NEAR_ONE_OF_TWO_WAY = 0.995
ENOUGH_TRIALS, MANY_TRIALS = 30, 100
LEAST_IMAGES = 20
LEAST_ERRORS = 2.0  # images of the scarcer class on the wrong side, about, for DeLong's interval


def draw_caveats(draws: Sequence[Draw]) -> list[str]:
    """Return what the draws took out of the query."""
    notes = []
    duplicates = [drawn.duplicates for drawn in draws]
    same_group = [drawn.same_group for drawn in draws]
    if any(duplicates):
        notes.append(
            f"duplicates of support images (same pixels, or perceptual hash within 4 bits) left the query: "
            f"{np.mean(duplicates):.1f} a trial, at most {max(duplicates)}"
        )
    if any(same_group):
        notes.append(
            f"images that share a group with the support left the query: {np.mean(same_group):.1f} a trial, at most "
            f"{max(same_group)}"
        )
    return notes


def row_caveats(rows: Sequence[Row], images: Pool) -> list[str]:
    """Return what is suspicious or not honest in the pooled rows.

    Args:
        images: that the rows were measured on.
    """
    pooled = [row for row in rows if row.metric == "auroc" and row.source == POOLED]
    means = [(row, row.summary().mean) for row in pooled]
    wrong = [(row, mean) for row, mean in means if mean < INVERTED_BELOW]
    notes = [
        f"{_what(row)}: AUROC {mean:.3f} is far below 0.5: this detector ranks these images inverted, natural above "
        f"synthetic"
        for row, mean in wrong
    ]
    detectors, inverted = ({row.backbone for row, _ in part} for part in (means, wrong))
    if wrong and (doubt := _doubted_labels(len(inverted), len(detectors), images)):
        notes.append(f"the labels may be inverted (natural = 0, synthetic = 1): {doubt}; look at some images")
    return [*dict.fromkeys(notes), *_macro_caveats(rows), *oracle_caveats(rows)]


def _macro_caveats(rows: Sequence[Row]) -> list[str]:
    """Return where no average over generators is given in some trial, because one has no image left to query."""
    lacking: dict[str, int] = {}
    for row in rows:
        if row.source == MACRO and row.metric == "auroc" and np.isnan(row.values).any():
            shots = "" if row.shots is None else f" at {row.shots} shots"
            lacking[shots] = max(lacking.get(shots, 0), int(np.isnan(row.values).sum()))
    return [
        f"no average over generators (macro){shots} in {count} trials: a generator has no image left to query"
        for shots, count in lacking.items()
    ]


def _doubted_labels(inverted: int, detectors: int, images: Pool) -> str:
    """Return what speaks against the labels: most of several detectors, or the names of sources; empty if nothing."""
    synthetic = {str(name) for name in images.source[images.synthetic]}
    cameras = sorted(name for name in synthetic if _NATURAL_NAME.search(name.lower()))
    reasons = []
    if detectors > 1 and inverted > detectors / 2:
        reasons.append(f"{inverted} of {detectors} detectors rank them so")
    if cameras:
        reasons.append(f"the source {cameras[0]!r} is labelled synthetic")
    return " and ".join(reasons)


def oracle_caveats(rows: Sequence[Row]) -> list[str]:
    """Return which pooled rows were chosen on query labels."""
    notes = [
        f"{_what(row)}: chosen on query labels, which nobody has of new images; read the fixed rows"
        for row in rows
        if row.selection == "oracle" and row.metric == "auroc" and row.source == POOLED
    ]
    return list(dict.fromkeys(notes))


def interval_caveats(rows: Sequence[Row], trials: Trials, *, kind: IntervalKind) -> list[str]:
    """Return which 95 % intervals of an AUROC may cover less, by the simulation in docs/experiments/coverage.md.

    Args:
        rows: of a report.
        trials: that they were measured on.
        kind: of interval, where a row has another than Student's over the trials.
    """
    few = MANY_TRIALS if kind == "two-way" else ENOUGH_TRIALS
    if kind != "delong" and 1 < len(trials) < few:
        return [
            f"{len(trials)} draws are too few for 95 % intervals that cover 93 to 97 % (docs/experiments/coverage.md); "
            f"take {few} or more"
        ]
    natural = float(np.mean([np.count_nonzero(~trials.synthetic[drawn.query]) for drawn in trials.draws]))
    doubted: dict[str, list[str]] = {}
    for row in rows:
        if row.metric != "auroc" or row.head == PRETRAINED or row.source == MACRO:
            continue
        summary = row.summary()
        scarcest = min(natural, row.n_query - natural)
        sure = covers(kind if row.interval else "trials", summary.mean, trials=len(trials), scarcest=scarcest)
        if not sure and not np.isnan(summary.low):
            doubted.setdefault(_what(row), []).append(f"{row.source} {summary.mean:.3f}")
    return [
        f"{what}: the 95 % interval may cover less than 95 % of the time for AUROC {', '.join(dict.fromkeys(which))}: "
        f"near 1 it needs more draws or images (docs/experiments/coverage.md)"
        for what, which in doubted.items()
    ]


def covers(kind: IntervalKind, auroc: float, *, trials: int, scarcest: float) -> bool:
    """Return whether a 95 % interval covered 93 to 97 % in simulation; see ``benchmarks/coverage.py``.

    Args:
        auroc: the mean that the interval is of.
        trials: number of draws.
        scarcest: number of queried images of the class that has fewer.
    """
    if kind == "delong":
        return scarcest * (1 - auroc) >= LEAST_ERRORS
    if kind == "two-way":
        return auroc <= NEAR_ONE_OF_TWO_WAY and trials >= MANY_TRIALS and scarcest >= LEAST_IMAGES
    return trials >= ENOUGH_TRIALS and auroc <= (NEAR_ONE if trials >= MANY_TRIALS else NEAR_ONE_OF_FEW)


def _what(row: Row) -> str:
    return f"{row.backbone} {row.layer}, head {row.head}" + (f", {row.shots} shots" if row.shots else "")
