"""What a reader of the numbers must know: duplicates, inverted labels, unsure intervals, oracles."""

import re
from collections.abc import Sequence

import numpy as np

from fewshot.draws.episodes import Draw, Pool
from fewshot.protocols.trials.intervals import (
    ENOUGH_TRIALS,
    FEW_IMAGES,
    LEAST_IMAGES,
    MANY_TRIALS,
    IntervalKind,
    covers,
)
from fewshot.protocols.trials.measures import MACRO, POOLED, TPR_AT_5
from fewshot.protocols.trials.trials import Trials
from fewshot.results.members import backbone_title
from fewshot.results.row import PRETRAINED, Row
from fewshot.stats.intervals import ENOUGH_DRAWS
from fewshot.stats.metrics import FEWEST_NATURAL

INVERTED_BELOW = 0.4
MOST_LISTED = 4  # sources with few images that a warning names
_NATURAL_NAME = re.compile(r"(?<![a-z])(cam|camera|photo(graph)?s?|real|natural|nature|web)(?![a-z])")


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
    return [*dict.fromkeys(notes), *_macro_caveats(rows), *tpr_caveats(rows), *oracle_caveats(rows)]


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


def tpr_caveats(rows: Sequence[Row]) -> list[str]:
    """Return why no TPR at 5 % FPR is given where another measure of the same draw is."""
    measured = {row.setting: row for row in rows if row.metric == "auroc"}
    withheld: dict[int, tuple[int, int]] = {}  # natural images queried -> draws without a rate, and all draws
    for row in rows:
        if row.metric == TPR_AT_5 and row.n_natural is not None and row.setting in measured and row.source != MACRO:
            lacking = np.isnan(row.values) & ~np.isnan(measured[row.setting].values)
            if lacking.any():
                withheld[row.n_natural] = int(lacking.sum()), len(lacking)
    if not withheld:
        return []
    natural, (draws, of) = min(withheld.items())
    if draws == of:
        queried = f"(n/a): {natural} natural images are queried, of which 5 % is less than one"
    else:
        queried = f"in {draws} of {of} draws: fewer natural images are left to query than make 5 % one of them"
    return [f"no TPR at 5 % FPR {queried}; it takes {FEWEST_NATURAL}"]


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


def interval_caveats(rows: Sequence[Row], trials: Trials, *, wanted: IntervalKind) -> list[str]:
    """Return how few images are queried, and which 95 % intervals of an AUROC may cover less than they say.

    Args:
        rows: of a report.
        trials: that they were measured on.
        wanted: the kind of interval that was wanted.
    """
    measured = [row for row in rows if row.metric == "auroc"]
    notes = _few_images(measured, wanted, draws=len(trials))
    few = MANY_TRIALS if any(row.interval_kind == "two-way" for row in measured) else ENOUGH_TRIALS
    if wanted != "delong" and 1 < len(trials) < few:
        notes.append(
            f"{len(trials)} draws are too few for 95 % intervals that cover 93 to 97 % (docs/experiments/coverage.md); "
            f"take {few} or more"
        )
        return notes
    return notes + _doubted_intervals(measured, draws=len(trials))


def _few_images(rows: Sequence[Row], wanted: IntervalKind, *, draws: int) -> list[str]:
    """Return of how few images of a class some query sets are, and what that makes of their intervals."""
    small = [row for row in rows if row.source != MACRO and row.scarcest is not None and row.scarcest < FEW_IMAGES]
    if not small:
        return []
    spans = {
        "auto": "intervals of the AUROC span draws and images (two-way), and other measures have none, for intervals "
        "over draws alone say nothing of other images",
        "trials": "intervals over draws alone say nothing of other images; --interval two-way spans both",
        "two-way": "intervals are wide for want of images, not of draws",
        "delong": "intervals are wide for want of images",
    }
    why = spans[wanted] if wanted != "auto" or draws >= ENOUGH_DRAWS else "they say little of other images"
    return [f"{_counted(small)} queried: {why} (docs/concepts/intervals.md)"]


def _counted(small: Sequence[Row]) -> str:
    """Return how many images are queried, for a sentence: of all sources, or of those that have few by themselves."""
    pooled = next((row for row in small if row.source == POOLED), None)
    if pooled is not None:
        natural = pooled.n_natural or 0
        return f"{natural} natural and {pooled.n_query - natural} synthetic images"
    counts = [f"{row.scarcest} of {row.source}" for row in {row.source: row for row in small}.values()]
    more = f" and {len(counts) - MOST_LISTED} more sources with few" if len(counts) > MOST_LISTED else ""
    return f"fewer than {FEW_IMAGES} images of a class ({', '.join(counts[:MOST_LISTED])}{more})"


def _doubted_intervals(rows: Sequence[Row], *, draws: int) -> list[str]:
    doubted: dict[str, list[str]] = {}
    for row in rows:
        if row.source == MACRO or (row.head == PRETRAINED and row.interval_kind is None):
            continue
        summary, scarcest = row.summary(), row.scarcest or 0
        sure = covers(row.interval_kind or "trials", summary.mean, trials=draws, scarcest=scarcest)
        if not sure and not np.isnan(summary.low):
            doubted.setdefault(_what(row), []).append(f"{row.source} {summary.mean:.3f}")
    return [
        f"{what}: the 95 % interval may cover less than 95 % of the time for AUROC {', '.join(dict.fromkeys(which))}: "
        f"near 1, or with fewer than {LEAST_IMAGES} images of a class, it needs more draws or images "
        f"(docs/experiments/coverage.md)"
        for what, which in doubted.items()
    ]


def _what(row: Row) -> str:
    what = backbone_title(row) if row.members else f"{row.backbone} {row.layer}"
    return f"{what}, head {row.head}" + (f", {row.shots} shots" if row.shots else "")
