"""Is A better than B: backbones and heads compared on the same draws, with an interval and a corrected p-value."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any, Literal

import numpy as np

from fewshot.core.errors import ReportError
from fewshot.results.report import Report
from fewshot.results.row import PRETRAINED, Row
from fewshot.results.scores import Arrays, Kept, kept_of_draws
from fewshot.results.tables import text_table
from fewshot.stats.intervals import Paired, holm, paired
from fewshot.stats.two_way import two_way_difference

Kind = Literal["draws", "two-way"]
NEAR_ONE = 0.9  # the simulation of docs/experiments/coverage.md found 93 to 97 % for two-way differences below


@dataclass(frozen=True)
class Comparison:
    """One pair of rows measured on the same draws.

    Args:
        first, second: what is compared, for example ``"npr pooled svm"``.
        setting: data set, source, shots and metric of both.
        interval: what interval and p-value generalise to: other ``draws`` from these images, or ``two-way``: other
            draws and other images.
        result: the difference first minus second.
        p_holm: its p-value corrected for all comparisons of the list.
        highest: the larger of the two means.
    """

    first: str
    second: str
    setting: str
    result: Paired
    p_holm: float
    interval: Kind = "draws"
    highest: float = float("nan")

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        result = self.result
        return {
            "first": self.first,
            "second": self.second,
            "setting": self.setting,
            "interval": self.interval,
            "difference": result.difference,
            "low": result.low,
            "high": result.high,
            "p": result.p,
            "p_holm": self.p_holm,
            "p_query_overlap": result.p_query_overlap,
            "trials": result.trials,
        }


def compare_within(
    report: Report, *, metric: str = "auroc", source: str = "all", scores: Arrays | None = None
) -> list[Comparison]:
    """Compare every two backbones or heads of one report.

    Args:
        scores: what was kept beside the report; given, intervals and p-values are those of the two-way bootstrap.

    Raises:
        ReportError: the scores of a row were not kept, or the measure is not one AUROC.
    """
    rows = report.where(metric=metric, source=source)
    pairs = [(a, b) for a, b in combinations(rows, 2) if _setting(a) == _setting(b) and _fits(a, b)]
    return _compared(pairs, None if scores is None else (scores, scores))


def compare_across(
    first: Report,
    second: Report,
    *,
    metric: str = "auroc",
    source: str = "all",
    scores: tuple[Arrays, Arrays] | None = None,
) -> list[Comparison]:
    """Compare the rows of one report with those of another that was drawn alike.

    Rows of the same backbone, layer and head stand against each other; where no two rows match so, every row of one
    stands against every row of the other.

    Raises:
        ReportError: the two did not draw the same supports.
    """
    shared = [trial for trial in first.supports if first.supports[trial] == second.supports.get(trial)]
    if not shared or len(shared) != len(first.supports) or len(shared) != len(second.supports):
        raise ReportError(
            f"the reports share {len(shared)} of {max(len(first.supports), len(second.supports))} draws; a paired "
            f"comparison needs the same: run both with equal --seed, --trials, --shots, --where and --group"
        )
    mine, theirs = (report.where(metric=metric, source=source) for report in (first, second))
    pairs = [(a, b) for a in mine for b in theirs if _setting(a) == _setting(b)]
    same = [(a, b) for a, b in pairs if _name(a) == _name(b)]
    return _compared(same or pairs, scores)


def comparison_table(comparisons: Sequence[Comparison]) -> str:
    """Return the comparisons as text, the largest difference first."""
    header = ["first", "second", "setting", "difference", "95 % interval", "p", "p (Holm)", "trials"]
    lines = []
    for one in sorted(comparisons, key=lambda one: -abs(one.result.difference)):
        result = one.result
        interval = f"{result.low:+.3f} to {result.high:+.3f}"
        lines.append([one.first, one.second, one.setting, f"{result.difference:+.3f}", interval])
        lines[-1] += [f"{result.p:.2g}", f"{one.p_holm:.2g}", str(result.trials)]
    return text_table(header, lines)


def comparison_notes(comparisons: Sequence[Comparison]) -> list[str]:
    """Return what a reader of the intervals must know."""
    if not comparisons:
        return []
    if comparisons[0].interval == "two-way":
        unsure = [one for one in comparisons if one.highest > NEAR_ONE]
        return [
            f"{len(unsure)} of {len(comparisons)} differences are of a mean AUROC above {NEAR_ONE}, where two-way "
            f"intervals cover about 90 % and not 95 % (docs/experiments/coverage.md)"
        ] * bool(unsure)
    return [
        "intervals and p-values hold for other draws from these images, not for other images, whose difference such "
        "intervals cover about a third of the time (docs/experiments/coverage.md); for both run adapt with "
        "--keep-scores and compare with --interval two-way"
    ]


def _compared(pairs: Sequence[tuple[Row, Row]], scores: tuple[Arrays, Arrays] | None) -> list[Comparison]:
    results = [
        paired(a.values, b.values, n_support=max(a.n_support, b.n_support), n_query=min(a.n_query, b.n_query))
        for a, b in pairs
    ]
    if scores is not None:
        results = [_over_images(one, pair, scores) for one, pair in zip(results, pairs, strict=True)]
    corrected = holm([result.p for result in results])
    kind: Kind = "draws" if scores is None else "two-way"
    return [
        Comparison(_name(a), _name(b), " ".join(_setting(a)), result, p, kind, max(a.summary().mean, b.summary().mean))
        for (a, b), result, p in zip(pairs, results, corrected, strict=True)
    ]


def _over_images(over_draws: Paired, pair: tuple[Row, Row], scores: tuple[Arrays, Arrays]) -> Paired:
    """Return the comparison with the interval and p-value of the two-way bootstrap."""
    first, second = (_kept(row, arrays) for row, arrays in zip(pair, scores, strict=True))
    if first.scores.shape != second.scores.shape or not np.array_equal(first.masks.query, second.masks.query):
        raise ReportError(
            f"{_name(pair[0])} and {_name(pair[1])} were not measured on the same queries; run both with one --where"
        )
    found = two_way_difference(first.scores, second.scores, first.masks, seed=0)
    return replace(over_draws, low=found.low, high=found.high, p=found.p)


def _kept(row: Row, arrays: Arrays) -> Kept:
    if row.metric != "auroc" or row.source == "macro":
        raise ReportError(
            f"the two-way interval is of an AUROC of all images or of one generator, not of {row.source} {row.metric}; "
            f"use --interval draws"
        )
    kept = kept_of_draws(row, arrays)
    if kept is None:
        raise ReportError(
            f"the scores of {_name(row)} were not kept beside the report; run adapt again with --keep-scores, or use "
            f"--interval draws"
        )
    return kept if row.source == "all" else kept.against(row.source)


def _name(row: Row) -> str:
    choice = "" if row.selection == "fixed" else f" ({row.selection})"
    return f"{row.backbone} {row.layer} {row.head}{choice}"


def _setting(row: Row) -> tuple[str, ...]:
    size = "" if row.head == PRETRAINED or row.shots is None else f"{row.shots} shots"
    return (row.dataset, row.source, *([size] if size else []), row.metric)


def _fits(first: Row, second: Row) -> bool:
    return len(first.values) == len(second.values)
