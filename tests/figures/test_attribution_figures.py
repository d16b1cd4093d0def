"""Figures of attribution: what is drawn is what was measured, in all three formats, the same bytes every time."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fewshot.core.errors import OptionError, ReportError
from fewshot.figures.canvas import save_figure
from fewshot.figures.data_curve import data_curve
from fewshot.figures.deviations import deviation_violins
from fewshot.figures.fisher import fisher_bars
from fewshot.figures.logits import logit_scatter
from fewshot.results.row import Row


def rows() -> list[Row]:
    return [
        Row("clip", "pooled", "fixed", head, "toy", "macro", "auroc", size, 50, values, fraction=fraction)
        for head, bonus in (("acm:natural", 0.1), ("rbf-svm", 0.0))
        for fraction, size, values in ((0.01, 4, (0.5 + bonus, 0.7 + bonus)), (1.0, 400, (0.85 + bonus,)))
    ]


def test_the_curve_passes_through_the_means_on_a_logarithmic_axis() -> None:
    (axes,) = data_curve(rows(), metrics=("auroc",)).axes
    lines = {line.get_label(): line for line in axes.get_lines() if line.get_label() in ("acm:natural", "rbf-svm")}
    assert axes.get_xscale() == "log"
    np.testing.assert_allclose(np.asarray(lines["acm:natural"].get_xydata()), [[0.01, 0.7], [1.0, 0.95]])
    np.testing.assert_allclose(np.asarray(lines["rbf-svm"].get_xydata()), [[0.01, 0.6], [1.0, 0.85]])
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1 %\n4", "100 %\n400"]
    assert (
        len({line.get_linestyle() for line in lines.values()})
        == len({str(line.get_marker()) for line in lines.values()})
        == 2
    )


def test_a_report_without_fractions_has_no_curve() -> None:
    with pytest.raises(ReportError, match="no row has a fraction, the source 'all'"):
        data_curve(rows(), metrics=("auroc",), source="all")


def test_violins_stand_at_the_medians_of_their_source_and_class() -> None:
    values = np.array([1.0, 2.0, 3.0, 10.0, 20.0, 30.0])
    figure = deviation_violins({"natural": values}, ["a", "a", "a", "b", "b", "b"], np.arange(6) > 2)
    (axes,) = figure.axes
    medians: Any = axes.collections[-1]
    assert sorted(segment[0][1] for segment in medians.get_segments()) == [2.0, 20.0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["a", "b"]


def test_fisher_bars_say_by_how_much_the_ratio_grew() -> None:
    (axes,) = fisher_bars({"natural": (0.5, 3.0)}).axes
    assert [text.get_text() for text in axes.texts] == ["x6.0"]
    bars: Any = axes.patches
    assert [bar.get_height() for bar in bars] == [0.5, 3.0]


def test_the_scatter_counts_images_in_every_corner() -> None:
    first, second = np.array([-1.0, 1.0, 1.0, -1.0]), np.array([-1.0, 1.0, -1.0, 1.0])
    (axes,) = logit_scatter((first, second), ("probe", "acm"), np.array([False, True, True, False])).axes
    found = sorted(text.get_text() for text in axes.texts)
    assert found == [
        "0 natural\n1 synthetic",
        "0 natural\n1 synthetic",
        "1 natural\n0 synthetic",
        "1 natural\n0 synthetic",
    ]


@pytest.mark.parametrize("kind", ["png", "svg", "pdf"])
def test_every_format_is_written_and_repeats_byte_by_byte(tmp_path: Path, kind: str) -> None:
    first, again = (save_figure(fisher_bars({"a": (1, 2)}), tmp_path / f"{n}.{kind}").read_bytes() for n in (1, 2))
    assert first == again
    assert first[:4] in (b"\x89PNG", b"<?xm", b"%PDF")


def test_an_unknown_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"end its name in png, svg, pdf"):
        save_figure(fisher_bars({"a": (1, 2)}), tmp_path / "figure.bmp")
