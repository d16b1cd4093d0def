"""The answer that a report gives: one sentence, and what it is made of, ranked.

Terminals, pages, notebooks and the demo lead with the same, so that none says more than another.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from fewshot.results.report import Report
from fewshot.results.row import PRETRAINED, Row
from fewshot.stats.intervals import ENOUGH_DRAWS, Summary

# The first of these that a report has is the one that it is ranked by.
LEADING_METRICS = ("auroc", "accuracy", "average_precision")


@dataclass(frozen=True)
class Standing:
    """One way of detecting and how well it did on all images queried.

    Args:
        row: of the leading measure.
        summary: of the row's values over the draws.
    """

    row: Row
    summary: Summary

    @property
    def size(self) -> str:
        """How much it was shown, in words; empty for a head that came with its checkpoint."""
        row = self.row
        if row.head == PRETRAINED:
            return ""
        if row.fraction is not None:
            return f"{100 * row.fraction:g} % of the training images"
        return "" if row.shots is None else f"{row.shots} {'shot' if row.shots == 1 else 'shots'}"

    @property
    def landed(self) -> str:
        """Where single draws landed, in words."""
        (low, high), draws = self.row.spread, self.summary.trials
        if draws < 2:
            return "one draw"
        if draws < ENOUGH_DRAWS:
            return f"{draws} draws landed between {low:.2f} and {high:.2f}"
        return f"a single draw lands between {low:.2f} and {high:.2f} nine times of ten"


def leading_metric(report: Report) -> str | None:
    """Return the measure that a report is ranked by, or None when it has no rows."""
    present = list(dict.fromkeys(row.metric for row in report.rows))
    return next((name for name in (*LEADING_METRICS, *present) if name in present), None)


def standings(report: Report) -> tuple[Standing, ...]:
    """Return what a report ranks, the best first: pooled rows of the leading measure, none chosen on query labels."""
    ddof, metric = int(report.config.get("ddof", 1)), leading_metric(report)
    rows = [row for row in report.where(metric=metric, source="all") if row.selection != "oracle"]
    found = [Standing(row, row.summary(ddof=ddof)) for row in rows]
    return tuple(sorted(found, key=lambda one: -np.nan_to_num(one.summary.mean, nan=-np.inf)))


def answer(report: Report) -> str:
    """Return the answer in one sentence: what did best, how far one draw can be trusted, and what came next.

    >>> values = dict(dataset="toy", source="all", metric="auroc", n_support=20, n_query=80, shots=10)
    >>> rows = [Row("npr", "pooled", "fixed", "svm", values=(0.9,) * 10, **values)]
    >>> rows += [Row("safe", "pooled", "fixed", "svm", values=(0.87,) * 10, **values)]
    >>> print(answer(Report("fiser", {}, tuple(rows))).replace("; ", chr(10)))
    npr + svm, 10 shots: AUROC 0.90
    a single draw lands between 0.90 and 0.90 nine times of ten
    next best safe, 0.03 lower
    """
    ranked = standings(report)
    return "; ".join(_parts(ranked)) if ranked else "nothing was measured"


def _parts(ranked: Sequence[Standing]) -> Iterator[str]:
    best = ranked[0]
    yield f"{_named(best)}: {measure_title(best.row.metric)} {best.summary.mean:.2f}"
    yield best.landed
    following = _next_best(ranked)
    if following is not None:
        name = following.row.backbone if following.row.backbone != best.row.backbone else following.row.head
        yield f"next best {name}, {best.summary.mean - following.summary.mean:.2f} lower"


def _next_best(ranked: Sequence[Standing]) -> Standing | None:
    """Return the best of another backbone that was shown as much, else of another head."""
    best = ranked[0]
    others = [one for one in ranked[1:] if one.row.head == PRETRAINED or one.size == best.size]
    for_other_backbone = (one for one in others if one.row.backbone != best.row.backbone)
    return next(for_other_backbone, next((one for one in others if one.row.head != best.row.head), None))


def _named(standing: Standing) -> str:
    row, size = standing.row, standing.size
    return f"{row.backbone} + {row.head}{f', {size}' if size else ''}"


def measure_title(metric: str) -> str:
    """Return a measure's name as tables print it."""
    return {"auroc": "AUROC", "average_precision": "AP", "tpr_at_5_fpr": "TPR@5%FPR"}.get(
        metric, metric.replace("_", " ")
    )
