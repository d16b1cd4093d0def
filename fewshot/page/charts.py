"""Which figures suit a report, each with the sentence that says how to read it."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from matplotlib.figure import Figure

from fewshot.embeddings.store.reader import FeatureStore
from fewshot.figures.bars import POOLED, generator_bars
from fewshot.figures.canvas import to_svg
from fewshot.figures.confusion import confusion
from fewshot.figures.curves import has_curve, support_curves
from fewshot.figures.projection import projection
from fewshot.figures.series import few_at_a_time
from fewshot.figures.views import view_lines
from fewshot.page.shown import MOST_CONFUSED, detector_of, drawable
from fewshot.results.answer import leading_metric
from fewshot.results.report import Report
from fewshot.results.row import Row, spread_in_words

MOST_POINTS = 800  # of a projection: more are not clearer, and the page stays light
GENERATORS, CURVES, VIEWS, CONFUSION = "By generator", "By number of labelled images", "By perturbation", "Confusion"


@dataclass(frozen=True)
class Chart:
    """One figure of the page.

    Args:
        figure: what is drawn.
        caption: how to read it.
        wide: whether it takes a whole line.
        part: the heading below which it stands.
        others: further figures of the same kind, which "show all" opens.
    """

    figure: Figure
    caption: str
    wide: bool = False
    part: str = ""
    others: tuple[Figure, ...] = ()

    @property
    def svg(self) -> str:
        """The drawing as one ``<svg>`` element."""
        return to_svg(self.figure, label=self.caption)

    @property
    def other_svgs(self) -> list[str]:
        """The drawings behind "show all"."""
        return [to_svg(figure, label=f"{self.caption} Further ones.") for figure in self.others]


def charts(report: Report) -> Iterator[Chart]:
    """Yield the figures that the rows of a report allow, each fact in one of them."""
    metric = leading_metric(report)
    if metric is None:
        return
    every = [row for row in report.rows if row.metric == metric]
    rows = drawable(every)
    yield from _views(rows, metric)
    clean = [row for row in rows if row.view == rows[0].view]
    yield from _curves(clean, metric)
    yield from _generators(clean, metric, left_out=len(every) - len(rows))
    if report.confusion is not None and len(report.confusion.names) <= MOST_CONFUSED:
        caption = "What each source was taken for, in per cent of its images."
        yield Chart(confusion(np.array(report.confusion.counts), report.confusion.names), caption, part=CONFUSION)


def _generators(rows: Sequence[Row], metric: str, *, left_out: int) -> Iterator[Chart]:
    found = [row for row in rows if row.source not in POOLED]
    if not found:
        return
    first, *others = _figures(found, partial(generator_bars, metric=metric, among=found))
    caption = f"At the largest support. Bars: mean over draws; whiskers: {spread_in_words(found)}."
    caption += f" {left_out:,} more rows are not drawn." if left_out else ""
    yield Chart(first, caption, first.get_figwidth() > 6, GENERATORS, tuple(others))


def _curves(rows: Sequence[Row], metric: str) -> Iterator[Chart]:
    """Yield the curve of all images, or where there is none that of the mean over generators."""
    for source in POOLED:
        pooled = [row for row in rows if row.source == source]
        if has_curve(pooled):
            draw = partial(support_curves, metric=metric, source=source, among=rows)
            first, *others = _figures(pooled, draw)
            caption = f"Of {_spoken(source)}. Line: mean over draws; band: {spread_in_words(pooled)}."
            yield Chart(first, caption, part=CURVES, others=tuple(others))
            return


def _views(rows: Sequence[Row], metric: str) -> Iterator[Chart]:
    pooled = [row for row in rows if row.source == "all"]
    if len({row.view for row in pooled}) < 2:
        return
    first, *others = _figures(pooled, partial(view_lines, metric=metric, among=pooled), views=True)
    caption = f"The same queries under every perturbation. Dot: mean over draws; whiskers: {spread_in_words(pooled)}."
    yield Chart(first, caption, part=VIEWS, others=tuple(others))


def _figures(rows: Sequence[Row], draw: Callable[[Sequence[Row]], Figure], *, views: bool = False) -> Iterator[Figure]:
    """Yield one figure of the best detectors, or of all where they are few, then those of the others."""
    of = [detector_of(row, views=views) for row in rows]
    for part in few_at_a_time(list(dict.fromkeys(of))):
        yield draw([row for row, detector in zip(rows, of, strict=True) if detector in part])


def _spoken(source: str) -> str:
    return "all images" if source == "all" else "the mean over generators"


def feature_charts(store: FeatureStore, reports: Iterable[Report]) -> Iterator[Chart]:
    """Yield the projection of every layer that the reports read and the store still has."""
    for backbone, layer in sorted({(row.backbone, row.layer) for report in reports for row in report.rows}):
        if backbone in store.backbones and layer in store.layer_names(backbone):
            present = np.flatnonzero(store.present(backbone))
            rows = np.sort(np.random.default_rng(0).permutation(present)[:MOST_POINTS])
            features = store.read(rows, backbone, layer)
            of = "" if len(rows) == len(present) else f", {len(rows):,} of {len(present):,} drawn at random"
            caption = f"Features of {backbone}, layer {layer}: leading principal components, one point per image{of}."
            title = f"Images by their features of {backbone}, layer {layer}"
            yield Chart(projection(features, store.source[rows], title=title), caption)
