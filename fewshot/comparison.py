"""Is A better than B: backbones and heads compared on the same draws, with an interval and a corrected p-value."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from fewshot.core.errors import ReportError
from fewshot.report import Report, Row
from fewshot.statistics import Paired, holm, paired
from fewshot.tables import text_table


@dataclass(frozen=True)
class Comparison:
    """One pair of rows measured on the same draws.

    Args:
        first, second: what is compared, for example ``"npr pooled svm"``.
        place: where: data set, source, shots and metric.
        result: the difference first minus second.
        p_holm: its p-value corrected for all comparisons of the list.
    """

    first: str
    second: str
    place: str
    result: Paired
    p_holm: float

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        result = self.result
        return {
            "first": self.first,
            "second": self.second,
            "place": self.place,
            "difference": result.difference,
            "low": result.low,
            "high": result.high,
            "p": result.p,
            "p_holm": self.p_holm,
            "p_query_overlap": result.p_query_overlap,
            "trials": result.trials,
        }


def compare_within(report: Report, *, metric: str = "auroc", source: str = "all") -> list[Comparison]:
    """Compare every two backbones or heads of one report."""
    rows = report.where(metric=metric, source=source)
    pairs = [(a, b) for a, b in combinations(rows, 2) if _where(a) == _where(b) and _fits(a, b)]
    return _compared(pairs)


def compare_across(first: Report, second: Report, *, metric: str = "auroc", source: str = "all") -> list[Comparison]:
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
    pairs = [(a, b) for a in mine for b in theirs if _where(a) == _where(b)]
    same = [(a, b) for a, b in pairs if _who(a) == _who(b)]
    return _compared(same or pairs)


def comparison_table(comparisons: Sequence[Comparison]) -> str:
    """Return the comparisons as text, the largest difference first."""
    header = ["first", "second", "where", "difference", "95 % interval", "p", "p (Holm)", "trials"]
    lines = []
    for one in sorted(comparisons, key=lambda one: -abs(one.result.difference)):
        result = one.result
        interval = f"{result.low:+.3f} to {result.high:+.3f}"
        lines.append([one.first, one.second, one.place, f"{result.difference:+.3f}", interval])
        lines[-1] += [f"{result.p:.2g}", f"{one.p_holm:.2g}", str(result.trials)]
    return text_table(header, lines)


def _compared(pairs: Sequence[tuple[Row, Row]]) -> list[Comparison]:
    results = [
        paired(a.values, b.values, n_support=max(a.n_support, b.n_support), n_query=min(a.n_query, b.n_query))
        for a, b in pairs
    ]
    corrected = holm([result.p for result in results])
    return [
        Comparison(_who(a), _who(b), " ".join(_where(a)), result, p)
        for (a, b), result, p in zip(pairs, results, corrected, strict=True)
    ]


def _who(row: Row) -> str:
    choice = "" if row.selection == "fixed" else f" ({row.selection})"
    return f"{row.backbone} {row.layer} {row.head}{choice}"


def _where(row: Row) -> tuple[str, ...]:
    size = "" if row.head == "shipped" or row.shots is None else f"{row.shots} shots"
    return (row.dataset, row.source, *([size] if size else []), row.metric)


def _fits(first: Row, second: Row) -> bool:
    return len(first.values) == len(second.values)
