"""Is A better than B, as a frame: what ``fewshot.compare`` returns."""

from typing import TYPE_CHECKING

from fewshot.results.comparison import best_across, compare_across, compare_best, compare_within
from fewshot.results.report import Report

if TYPE_CHECKING:
    import pandas as pd


def compare(
    report: Report, other: Report | None = None, *, metric: str = "auroc", source: str = "all", every: bool = False
) -> "pd.DataFrame":
    """Compare backbones and heads on the same draws: within a report, or with another that was drawn alike.

    Intervals and p-values hold for other draws from these images, not for other images; ``fewshot compare --interval
    two-way`` is for both.

    Args:
        report, other: few-shot reports. metric: which measure. source: of all images queried, or of one generator.
        every: every pair; otherwise, as the command does, the best of every backbone against those next to it.

    Returns:
        One line per pair: ``first, second, setting, interval, difference, low, high, p, p_holm, p_query_overlap,
        trials``; the difference is first minus second.

    Raises:
        ReportError: the two did not draw the same supports.
    """
    import pandas as pd

    if other is None:
        found = (compare_within if every else compare_best)(report, metric=metric, source=source)
    else:
        found = (compare_across if every else best_across)(report, other, metric=metric, source=source)
    return pd.DataFrame([one.to_json() for one in found])
