"""Which figures suit a report, each with the sentence that says how to read it."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from fewshot.embeddings.store.reader import FeatureStore
from fewshot.figures.bars import POOLED, generator_bars
from fewshot.figures.canvas import to_svg
from fewshot.figures.confusion import confusion
from fewshot.figures.curves import has_curve, support_curves
from fewshot.figures.projection import projection
from fewshot.page.shown import MOST_CONFUSED, drawable
from fewshot.results.report import Report
from fewshot.results.row import spread_in_words

# The first of these that a report has is the one drawn.
LEADING_METRICS = ("auroc", "accuracy", "average_precision")
MOST_POINTS = 4000  # of a projection: more are not clearer, and the page stays light


@dataclass(frozen=True)
class Chart:
    """One figure of the page.

    Args:
        figure: what is drawn.
        caption: how to read it.
        wide: whether it takes a whole line.
    """

    figure: Figure
    caption: str
    wide: bool = False

    @property
    def svg(self) -> str:
        """The drawing as one ``<svg>`` element."""
        return to_svg(self.figure, label=self.caption)


def charts(report: Report) -> Iterator[Chart]:
    """Yield the figures that the rows of a report allow."""
    metric = leading_metric(report)
    if metric is None:
        return
    every = [row for row in report.rows if row.metric == metric]
    rows = drawable(every)
    words = metric.replace("_", " ")
    if {row.source for row in rows} - set(POOLED):
        figure = generator_bars(rows, metric=metric)
        spread = spread_in_words(rows)
        caption = f"{words} per generator, at the largest support. Bars: mean over draws; whiskers: {spread}."
        if len(rows) < len(every):
            caption += f" The first {len(rows):,} of {len(every):,} rows."
        yield Chart(figure, caption, wide=figure.get_figwidth() > 6)
    for source in POOLED:
        pooled = [row for row in rows if row.source == source]
        if has_curve(pooled):
            caption = (
                f"{words} against the size of the support ({source}). Line: mean over draws; band: "
                f"{spread_in_words(pooled)}."
            )
            yield Chart(support_curves(pooled, metric=metric, source=source), caption)
    if report.confusion is not None and len(report.confusion.names) <= MOST_CONFUSED:
        caption = "What each source was taken for, in per cent of its images."
        yield Chart(confusion(np.array(report.confusion.counts), report.confusion.names), caption)


def feature_charts(store: FeatureStore, reports: Iterable[Report]) -> Iterator[Chart]:
    """Yield the projection of every layer that the reports read and the store still has."""
    for backbone, layer in sorted({(row.backbone, row.layer) for report in reports for row in report.rows}):
        if backbone in store.backbones and layer in store.layer_names(backbone):
            present = np.flatnonzero(store.present(backbone))
            rows = np.sort(np.random.default_rng(0).permutation(present)[:MOST_POINTS])
            features = store.read(rows, backbone, layer)
            of = "" if len(rows) == len(present) else f", {len(rows):,} of {len(present):,} drawn at random"
            caption = f"Features of {backbone}, layer {layer}: leading principal components, one point per image{of}."
            yield Chart(projection(features, store.source[rows], title=f"{backbone} {layer}"), caption)


def leading_metric(report: Report) -> str | None:
    """Return the measure that the figures show, or None when the report has no rows."""
    present = list(dict.fromkeys(row.metric for row in report.rows))
    return next((name for name in (*LEADING_METRICS, *present) if name in present), None)
