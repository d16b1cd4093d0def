"""Which figures a page draws: every fact once, no more series than can be told apart, and a title on each."""

import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from fewshot.figures.bars import generator_bars
from fewshot.figures.series import BEST, MOST, look
from fewshot.page.charts import CURVES, GENERATORS, VIEWS, Chart, charts
from fewshot.page.document import page_html
from fewshot.page.ranked import ranked_charts
from fewshot.results.report import Report
from fewshot.results.row import PRETRAINED, Row

GENERATOR_NAMES = ("glide", "sd3")


def row(detector: int, source: str, *, shots: int = 10, head: str = "svm", view: str = "clean") -> Row:
    values = tuple(0.5 + 0.02 * detector + 0.001 * draw for draw in range(12))
    return Row(
        f"net{detector:02}", "pooled", "fixed", head, "toy", source, "auroc", 20, 80, values, shots=shots, view=view
    )


def report(detectors: int, *, shots: Sequence[int] = (1, 10), views: Sequence[str] = ("clean",)) -> Report:
    """The later detectors are the better ones."""
    sources = ("all", "macro", *GENERATOR_NAMES)
    rows = [
        row(number, source, shots=size, view=view)
        for number in range(detectors)
        for source in sources
        for size in shots
        for view in views
    ]
    return Report("fiser", {}, tuple(rows))


@pytest.fixture(scope="module")
def page() -> str:
    """The page of twelve detectors."""
    return page_html({"a.json": report(12)}, title="t")


def titles(chart: Chart) -> list[str]:
    axes = [axes for figure in (chart.figure, *chart.others) for axes in figure.axes]
    return [one.get_title(loc="left") for one in axes]


def labels(chart: Chart) -> list[list[str]]:
    """The names in the legend of every figure of a chart."""
    return [
        [str(text.get_text()) for legend in figure.legends for text in legend.get_texts()]
        for figure in (chart.figure, *chart.others)
    ]


def test_no_fact_is_drawn_twice() -> None:
    found = list(charts(report(2)))
    assert [chart.part for chart in found] == [CURVES, GENERATORS]
    assert "of all images" not in "".join(titles(found[1]))
    shown = [label.get_text() for label in found[1].figure.axes[0].get_xticklabels()]
    assert shown == ["glide", "sd3"]  # all and macro are in the dots and the curve


def test_no_two_drawings_of_a_page_are_alike(page: str) -> None:
    drawings = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    assert len(drawings) == len(set(drawings)) == 2 + 2 + 2  # best and others of dots, curves and generators


@pytest.mark.parametrize("part", [CURVES, GENERATORS])
def test_more_than_eight_detectors_are_the_best_five_and_the_others_behind_a_press(part: str) -> None:
    (chart,) = (chart for chart in charts(report(12)) if chart.part == part)
    first, others = labels(chart)
    assert sorted(first) == [f"net{number:02}" for number in (7, 8, 9, 10, 11)]
    assert sorted(others) == [f"net{number:02}" for number in range(7)]


def test_eight_detectors_are_one_figure() -> None:
    for chart in charts(report(MOST)):
        assert [len(names) for names in labels(chart)] == [MOST]


def test_a_page_opens_the_other_detectors_by_details_and_not_by_a_script(page: str) -> None:
    assert page.count('<details class="all"><summary>Show all') == 2


def test_dots_rank_the_best_first_and_show_five() -> None:
    best, others = ranked_charts(report(12, shots=(10,)))
    names = [text.get_text() for text in best.figure.axes[0].texts if " + " in text.get_text()]
    assert names == [f"{rank}. net{12 - rank:02} + svm, 10 shots" for rank in range(1, BEST + 1)]
    assert others.part == "Show all: ranks 6 to 12"
    assert "6. net06 + svm, 10 shots" in [text.get_text() for text in others.figure.axes[0].texts]


def test_dots_stand_at_the_mean_with_a_line_where_draws_landed_and_ticks_at_the_interval() -> None:
    (chart,) = ranked_charts(report(1, shots=(10,)))
    line, ticks, dot = (np.asarray(one.get_xdata()) for one in chart.figure.axes[0].lines[:3])
    one = report(1, shots=(10,)).rows[0]
    assert tuple(line) == one.spread
    assert tuple(ticks) == (one.summary().low, one.summary().high)
    assert tuple(dot) == (one.summary().mean,)


def test_pretrained_heads_have_another_shape() -> None:
    rows = (row(0, "all"), replace(row(1, "all", head=PRETRAINED), shots=0))
    (chart,) = ranked_charts(Report("fiser", {}, rows))
    markers = {str(line.get_marker()) for line in chart.figure.axes[0].lines if len(np.asarray(line.get_xdata())) == 1}
    assert markers == {"o", "D"}
    assert "diamond: the checkpoint's own head" in chart.caption


def test_views_are_lines_of_their_own_and_generators_are_those_of_clean_images() -> None:
    found = {chart.part: chart for chart in charts(report(2, shots=(10,), views=("clean", "jpeg:50")))}
    assert [label.get_text() for label in found[VIEWS].figure.axes[0].get_xticklabels()] == ["clean", "jpeg:50"]
    assert labels(found[VIEWS]) == labels(found[GENERATORS]) == [["net00", "net01"]]


def test_every_figure_of_a_page_has_a_title() -> None:
    for made in (report(12), report(2, views=("clean", "blur:1"))):
        found = [*charts(made), *ranked_charts(made)]
        assert all(title for chart in found for title in titles(chart))


def test_eight_series_differ_in_colour_and_in_shape() -> None:
    looks = [look(number) for number in range(MOST)]
    for name in ("colour", "marker", "dash", "hatch"):
        assert len({getattr(one, name) for one in looks}) == MOST
    assert len({(one.colour, one.marker) for one in map(look, range(64))}) == 64


def test_bars_differ_in_hatch_as_well_as_in_colour() -> None:
    rows = [one for one in report(3, shots=(10,)).rows if one.source in GENERATOR_NAMES]
    (axes,) = generator_bars(rows).axes
    assert len({(patch.get_facecolor(), patch.get_hatch()) for patch in axes.patches}) == 3
    assert len({patch.get_hatch() for patch in axes.patches}) == 3


def test_a_page_as_large_as_the_demos_leaves_room_below_a_megabyte_and_a_half() -> None:
    random = np.random.default_rng(0)
    rows = tuple(
        replace(row(number, source, shots=size), metric=metric, values=tuple(random.random(100)))
        for number in range(2)
        for source in ("all", "macro", "autoencoder", "codebook", "spectral", "transposed-convolution")
        for size in (1, 5, 10)
        for metric in ("auroc", "accuracy", "f1", "average_precision", "tpr", "natural_accuracy", "synthetic_accuracy")
    )
    page = page_html({"a.json": Report("fiser", {}, rows)}, title="t")
    assert len(page.encode()) < 900_000  # the demo's has two reports and the projections of two backbones
