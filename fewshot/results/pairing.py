"""Two rows on the same draws: how far apart they are, and whether that can be told from chance."""

import numpy as np

from fewshot.results.row import Row
from fewshot.stats.intervals import ENOUGH_DRAWS, Paired, paired

LEVEL = 0.05  # the p-value from which two are not told apart


def paired_rows(first: Row, second: Row) -> Paired:
    """Return the difference first minus second over the draws that both have values of."""
    return paired(
        first.values,
        second.values,
        n_support=max(first.n_support, second.n_support),
        n_query=min(first.n_query, second.n_query),
    )


def told_apart(found: Paired, *, p: float | None = None) -> bool:
    """Whether a difference is more than chance: with an interval without 0 and a small p-value.

    Args:
        p: the p-value, where it was corrected for other comparisons; None for the pair's own.
    """
    return not found.low <= 0 <= found.high and (found.p if p is None else p) < LEVEL


def distance_in_words(first: Row, second: Row) -> str:
    """Return how much lower or higher the second is, with an interval or with what speaks against the difference.

    >>> values = dict(dataset="toy", source="all", metric="auroc", n_support=20, n_query=80, shots=10)
    >>> a, b = (Row("npr", "pooled", "fixed", "svm", values=(mean,) * 10, **values) for mean in (0.9, 0.875))
    >>> distance_in_words(a, b)
    '0.03 lower (0.03 to 0.03)'
    """
    if len(first.values) != len(second.values):
        return _in_words(float(np.nanmean(first.values) - np.nanmean(second.values)))
    found = paired_rows(first, second)
    said = _in_words(found.difference)
    if found.trials < ENOUGH_DRAWS:
        draws = "one draw" if found.trials == 1 else f"{found.trials} draws"
        return f"{said}, a difference that {draws} cannot tell from chance"
    if told_apart(found):
        low, high = sorted((abs(found.low), abs(found.high)))
        return f"{said} ({low:.2f} to {high:.2f})"
    return f"{said}: the two cannot be told apart"


def _in_words(difference: float) -> str:
    if abs(difference) < 0.005:
        return "less than 0.01 away"
    return f"{abs(difference):.2f} {'lower' if difference > 0 else 'higher'}"
