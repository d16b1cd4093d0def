"""Figures show the numbers that they were given; curves and projections equal an independent answer."""

from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.container import BarContainer
from matplotlib.figure import Figure
from sklearn.decomposition import PCA
from sklearn.metrics import roc_auc_score, roc_curve

from fewshot.core.errors import OutputError, ReportError
from fewshot.figures.bars import detector_name, generator_bars, largest_support
from fewshot.figures.canvas import save_figure, save_png, to_svg
from fewshot.figures.confusion import confusion
from fewshot.figures.curves import has_curve, support_curves
from fewshot.figures.data_curve import data_curve
from fewshot.figures.deviations import deviation_violins
from fewshot.figures.fisher import fisher_bars
from fewshot.figures.logits import logit_scatter
from fewshot.figures.projection import principal_plane, projection
from fewshot.figures.roc import GRID, roc_curves, roc_on_grid
from fewshot.figures.standings import ranked_dots
from fewshot.figures.views import view_lines
from fewshot.results.row import Row
from fewshot.results.standing import Standing


def row(backbone: str, source: str, values: tuple[float, ...], *, shots: int = 10, head: str = "svm") -> Row:
    return Row(backbone, "pooled", "fixed", head, "toy", source, "auroc", 2 * shots, 80, values, shots=shots)


ROWS = [
    row("npr", "all", (0.6, 0.8), shots=1),
    row("npr", "all", (0.7, 0.9)),
    row("npr", "glide", (0.5, 0.7)),
    row("unifd", "all", (0.8, 1.0)),
    row("unifd", "glide", (0.9, 1.0)),
]


def test_bars_have_the_means_of_the_largest_support() -> None:
    (axes,) = generator_bars(ROWS).axes
    bars = [container for container in axes.containers if isinstance(container, BarContainer)]
    assert [bar.get_label() for bar in bars] == ["npr", "unifd"]
    heights = [[patch.get_height() for patch in bar] for bar in bars]
    assert heights == [pytest.approx([0.8, 0.6]), pytest.approx([0.9, 0.95])]


def test_a_letter_that_the_font_lacks_is_nothing_to_warn_of(tmp_path: Path) -> None:
    figure = generator_bars([row("npr", "\u167e", (0.5, 0.7))])

    assert "\u167e" in to_svg(figure, label="a figure")
    for name in ("a.png", "a.svg", "a.pdf"):
        assert save_figure(figure, tmp_path / name).stat().st_size


def test_pooled_sources_stand_last() -> None:
    (axes,) = generator_bars(ROWS).axes
    assert [label.get_text() for label in axes.get_xticklabels()] == ["glide", "all"]


def test_largest_support_keeps_one_row_of_each_setting() -> None:
    assert [kept.shots for kept in largest_support(ROWS[:2])] == [10]


def test_detector_name_says_only_what_differs() -> None:
    several = [row("npr", "all", (1.0,)), row("npr", "all", (1.0,), head="knn")]
    assert [detector_name(one, several) for one in several] == ["npr svm", "npr knn"]
    assert detector_name(several[0], several[:1]) == "npr"


def test_bars_of_an_unknown_metric_name_the_known_ones() -> None:
    with pytest.raises(ReportError, match=r"no row has the metric 'f1'; there are \['auroc'\]"):
        generator_bars(ROWS, metric="f1")


def test_curve_goes_through_the_means_in_order_of_shots() -> None:
    (axes,) = support_curves(list(reversed(ROWS[:2]))).axes
    (line,) = axes.lines
    assert np.asarray(line.get_xdata()).tolist() == [1, 10]
    assert np.asarray(line.get_ydata()).tolist() == pytest.approx([0.7, 0.8])


def test_curve_needs_a_size() -> None:
    assert has_curve(ROWS)
    assert not has_curve(ROWS[1:])
    with pytest.raises(ReportError, match="of the source 'sdxl'"):
        support_curves(ROWS, source="sdxl")


def test_roc_on_grid_equals_scikit_learn() -> None:
    random = np.random.default_rng(0)
    synthetic = random.random(120) < 0.4
    scores = np.round(random.standard_normal(120) + synthetic, 1)  # with ties
    ours = roc_on_grid(scores, synthetic)
    alarms, found, _ = roc_curve(synthetic, scores, drop_intermediate=False)
    fine = np.linspace(0, 1, 200_001)
    last = np.array([np.flatnonzero(alarms <= place)[-1] for place in GRID])
    for place, point, value in zip(GRID, last, ours, strict=True):
        if alarms[point] == place:
            assert value == pytest.approx(found[point])
        else:
            slope = (found[point + 1] - found[point]) / (alarms[point + 1] - alarms[point])
            assert value == pytest.approx(found[point] + slope * (place - alarms[point]))
    area = np.trapezoid(np.interp(fine, GRID, ours), fine)
    assert area == pytest.approx(roc_auc_score(synthetic, scores), abs=0.01)


def test_roc_of_perfect_scores_is_one_everywhere() -> None:
    assert roc_on_grid(np.array([0.1, 0.2, 0.8]), np.array([False, False, True])).tolist() == [1.0] * len(GRID)


def test_roc_figure_draws_the_mean_of_the_trials() -> None:
    (axes,) = roc_curves({"npr": [np.zeros(201), np.ones(201)]}).axes
    line = next(line for line in axes.lines if line.get_label() == "npr")
    assert set(np.asarray(line.get_ydata()).tolist()) == {0.5}


def test_confusion_writes_shares_of_each_row() -> None:
    (axes,) = confusion(np.array([[3, 1], [0, 0]]), ["natural", "glide"]).axes
    assert [text.get_text() for text in axes.texts] == ["75", "25", "0", "0"]


def test_principal_plane_equals_scikit_learn_up_to_sign() -> None:
    features = np.random.default_rng(1).standard_normal((40, 7)) * np.arange(1, 8)
    ours, shares = principal_plane(features)
    theirs = PCA(2, svd_solver="full").fit(features)
    assert np.abs(ours) == pytest.approx(np.abs(theirs.transform(features)))
    assert shares[:2] == pytest.approx(theirs.explained_variance_ratio_)


def test_projection_draws_every_image() -> None:
    features = np.random.default_rng(2).standard_normal((9, 4))
    (axes,) = projection(features, ["a"] * 4 + ["b"] * 5).axes
    assert [len(np.asarray(points.get_offsets())) for points in axes.collections] == [4, 5]


def test_svg_is_well_formed_and_repeats_byte_by_byte() -> None:
    first, second = (to_svg(generator_bars(ROWS), label="AUROC < & per generator") for _ in range(2))
    assert first == second
    root = ElementTree.fromstring(first)
    assert root.attrib["aria-label"] == "AUROC < & per generator"
    assert "http" not in first.replace("http://www.w3.org/", "").replace("https://www.w3.org/", "")


def test_the_light_svg_draws_as_many_points_at_the_same_places_within_a_tenth() -> None:
    features = np.random.default_rng(2).standard_normal((200, 4))
    svg = to_svg(projection(features, ["a"] * 100 + ["b"] * 100), label="points")
    root = ElementTree.fromstring(svg)
    uses = [one for one in root.iter("{http://www.w3.org/2000/svg}use") if one.get("y") is not None]
    places = [(float(one.attrib["x"]), float(one.attrib["y"])) for one in uses]
    assert len(set(places)) > 190
    assert all(len(f"{value:g}") <= 6 for place in places for value in place)
    assert len(svg) < 25_000  # 55,000 or so as matplotlib writes it


def test_png_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"missing/bars\.png cannot be written"):
        save_png(generator_bars(ROWS), tmp_path / "missing" / "bars.png")
    assert save_png(generator_bars(ROWS), tmp_path / "bars.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize(
    "figure",
    [
        generator_bars(ROWS),
        support_curves(ROWS),
        ranked_dots([Standing(one, one.summary()) for one in ROWS]),
        view_lines([replace(ROWS[1], view=view) for view in ("clean", "jpeg:50")]),
        roc_curves({"npr": [np.zeros(201), np.ones(201)]}),
        confusion(np.array([[3, 1], [0, 0]]), ["natural", "glide"]),
        projection(np.eye(4), ["a", "a", "b", "b"]),
        fisher_bars({"natural": (0.5, 3.0)}),
        logit_scatter((np.arange(4.0), np.arange(4.0)), ("probe", "acm"), np.arange(4) > 1),
        deviation_violins({"natural": np.arange(1.0, 7)}, ["a"] * 3 + ["b"] * 3, np.arange(6) > 2),
        data_curve([replace(ROWS[1], shots=None, fraction=0.5, source="macro")], metrics=("auroc",)),
    ],
    ids=lambda figure: figure.axes[0].get_ylabel() or figure.axes[0].get_xlabel(),
)
def test_every_figure_says_what_it_shows(figure: Figure) -> None:
    assert figure.get_suptitle() or figure.axes[0].get_title(loc="left")


def test_a_title_of_ones_own_replaces_it() -> None:
    assert generator_bars(ROWS, title="mine").axes[0].get_title(loc="left") == "mine"


def test_more_than_eight_sources_are_panels_of_at_most_eight() -> None:
    figure = projection(
        np.random.default_rng(2).standard_normal((20, 4)), [f"source{number % 10}" for number in range(20)]
    )
    assert [len(axes.collections) for axes in figure.axes] == [8, 2]


def test_views_are_drawn_in_their_order_at_the_means_of_their_rows() -> None:
    rows = [replace(ROWS[1], view="clean"), replace(ROWS[1], view="jpeg:50", values=(0.5, 0.7))]
    (axes,) = view_lines(rows).axes
    assert np.asarray(axes.lines[0].get_ydata()).tolist() == pytest.approx([0.8, 0.6])
    with pytest.raises(ReportError, match=r"no row has the metric 'f1'; there are \['auroc'\]"):
        view_lines(rows, metric="f1")


def test_nothing_to_rank_is_said() -> None:
    with pytest.raises(ReportError, match="there is nothing to rank"):
        ranked_dots([])


def test_a_long_name_is_written_smaller_so_that_it_stays_on_its_line() -> None:
    rows = [replace(ROWS[1], backbone="timm:" + "net" * 20), ROWS[1]]
    (axes,) = ranked_dots([Standing(one, one.summary()) for one in rows]).axes
    long, short = (float(text.get_fontsize()) for text in axes.texts if " + " in text.get_text())
    assert long < short == 9
