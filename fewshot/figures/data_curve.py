"""The data curve: a measure against the share of the training set, for every attributed class and reference."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from fewshot.core.errors import ReportError
from fewshot.figures.canvas import drawn
from fewshot.results.answer import measure_title
from fewshot.results.row import Row

# Told apart by lightness, dash and marker as well as by colour, so that a grey print loses nothing.
_STYLES = (
    ("#0072B2", "-", "o"),
    ("#D55E00", "--", "s"),
    ("#000000", ":", "^"),
    ("#8a8a8a", "-.", "D"),
    ("#009E73", (0, (5, 1)), "v"),
    ("#CC79A7", (0, (1, 1)), "P"),
)


def data_curve(rows: Sequence[Row], *, metrics: Sequence[str], source: str = "macro", title: str = "") -> Figure:
    """Draw one panel per measure and one line per head: the mean over draws, and where the draws landed.

    That is a band for attributed classes and a whisker for references; a point of one draw has none. The axis of shares
    is logarithmic.

    Args:
        rows: of one report; rows without a fraction are left out.
        metrics: the measures, left to right.
        source: which query set, or a mean over generators.

    Raises:
        ReportError: no row of these measures has a fraction.
    """
    shown = [row for row in rows if row.fraction is not None and row.source == source and row.metric in metrics]
    if not shown:
        raise ReportError(f"no row has a fraction, the source {source!r} and one of {', '.join(metrics)}")
    figure, panels = drawn(3.4 * len(metrics) + 0.4, 3.3, columns=len(metrics))
    heads = list(dict.fromkeys(row.head for row in shown))
    for axes, metric in zip(panels, metrics, strict=True):
        of_metric = [row for row in shown if row.metric == metric]
        for number, head in enumerate(heads):
            line = sorted((row for row in of_metric if row.head == head), key=lambda row: row.fraction or 0.0)
            _line(axes, line, number, head if axes is panels[0] else "_nolegend_")
        fractions = sorted({row.fraction or 0.0 for row in of_metric})
        sizes = {row.fraction: row.n_support for row in of_metric}
        axes.set_xscale("log")
        axes.set_xticks(fractions, [f"{100 * f:g} %\n{sizes[f]:,}" for f in fractions])
        axes.minorticks_off()
        axes.set_xlabel("share of the training set, and its images")
        axes.set_ylabel(measure_title(metric))
    panels[0].set_title(title or "How much data of one class is enough", loc="left", fontsize=9)
    figure.legend(loc="outside upper left", ncols=min(4, len(heads)), fontsize=8)
    return figure


def _line(axes: "object", line: Sequence[Row], number: int, label: str) -> None:
    from matplotlib.axes import Axes

    assert isinstance(axes, Axes)
    colour, dash, marker = _STYLES[number % len(_STYLES)]
    fractions = np.array([row.fraction for row in line])
    summaries = [row.summary() for row in line]
    means = np.array([summary.mean for summary in summaries])
    several = np.array([summary.trials > 1 for summary in summaries])
    low, high = np.array([row.spread for row in line]).T
    if line[0].head.startswith("acm"):
        axes.fill_between(fractions, low, high, where=several, color=colour, alpha=0.2, linewidth=0.8)
    else:
        reach = np.maximum([means - low, high - means], 0)[:, several]
        axes.errorbar(fractions[several], means[several], yerr=reach, fmt="none", ecolor=colour, capsize=3, linewidth=1)
    axes.plot(fractions, means, color=colour, linestyle=dash, marker=marker, markersize=4.5, label=label)
