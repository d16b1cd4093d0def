"""Comparisons: only what was drawn alike is paired, and many comparisons are corrected for."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from sklearn.metrics import roc_auc_score

from fewshot.cli import group
from fewshot.core.errors import ReportError
from fewshot.results.comparison import best_across, compare_across, compare_best, compare_within
from fewshot.results.comparison_table import comparison_sentence, comparison_table
from fewshot.results.report import Report, Row


def _row(backbone: str, *values: float, **changes: Any) -> Row:
    place = {"source": "all", "metric": "auroc", "n_support": 20, "n_query": 180, "shots": 10, **changes}
    return Row(backbone, "x", "fixed", "svm", "toy", values=values, **place)


def _report(*rows: Row, seed: str = "a") -> Report:
    return Report("fiser", {}, rows, supports={"0": [seed]})


def test_every_two_backbones_of_a_report_are_compared() -> None:
    found = compare_within(_report(_row("a", 0.9, 0.8), _row("b", 0.7, 0.7), _row("c", 0.5, 0.6)))
    assert [(one.first, one.second) for one in found] == [
        ("a x svm", "b x svm"),
        ("a x svm", "c x svm"),
        ("b x svm", "c x svm"),
    ]
    assert found[0].result.difference == pytest.approx(0.15)
    assert all(one.p_holm >= one.result.p for one in found)


def test_other_shots_and_sources_are_not_mixed() -> None:
    rows = [_row("a", 0.9, 0.8), _row("b", 0.7, 0.6, shots=1), _row("c", 0.5, 0.5, source="sd15")]
    assert compare_within(_report(*rows)) == []


def test_two_reports_meet_row_by_row() -> None:
    first, second = _report(_row("a", 0.9, 0.8), _row("b", 0.5, 0.5)), _report(_row("a", 0.7, 0.7))
    (one,) = compare_across(first, second)
    assert (one.first, one.second) == ("a x svm", "a x svm")
    assert one.result.difference == pytest.approx(0.15)


def test_reports_of_other_draws_are_refused() -> None:
    with pytest.raises(ReportError, match="share 0 of 1 draws"):
        compare_across(_report(_row("a", 0.9)), _report(_row("a", 0.9), seed="b"))


def test_command_prints_the_table(tmp_path: Path) -> None:
    report = _report(_row("a", 0.9, 0.8, 0.85), _row("b", 0.7, 0.7, 0.72))
    path = report.save(tmp_path / "r.json")
    result = CliRunner().invoke(group, ["compare", str(path)])
    assert result.exit_code == 0, result.output
    assert comparison_table(compare_within(report)) in result.stdout
    assert "+0.143" in result.stdout
    result = CliRunner().invoke(group, ["compare", str(path), "--metric", "f1"])
    assert result.exit_code == 1
    assert "nothing to compare" in result.stderr


def _kept(*heads: np.ndarray) -> dict[str, Any]:
    trials, images = heads[0].shape
    kept = {f"{name}|x|svm|10": scores for name, scores in zip("ab", heads, strict=True)}
    synthetic = np.arange(images) % 2 == 1
    source = np.where(synthetic, np.where(np.arange(images) % 4 == 1, "sd15", "ldm"), "coco")
    masks = {"query": np.ones((trials, images), bool), "support|10": np.zeros((trials, images), bool)}
    return {**kept, **masks, "synthetic": synthetic, "source": source}


def test_two_way_interval_speaks_of_other_images_too(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    image = generator.normal(size=80) + (np.arange(80) % 2)
    heads = [image + 0.05 * generator.normal(size=(6, 80)), 0.5 * generator.normal(size=80) + image[None].repeat(6, 0)]
    kept = _kept(*heads)
    rows = [
        _row(name, *(roc_auc_score(kept["synthetic"], one) for one in head))
        for name, head in zip("ab", heads, strict=True)
    ]
    report = _report(*rows)
    (over_draws,), (both,) = compare_within(report), compare_within(report, scores=kept)
    assert both.result.difference == over_draws.result.difference
    assert both.result.high - both.result.low > 3 * (over_draws.result.high - over_draws.result.low)

    path = report.save(tmp_path / "r.json")
    np.savez(path.with_suffix(".npz"), **kept)
    told = CliRunner().invoke(group, ["compare", str(path), "--interval", "two-way"])
    assert told.exit_code == 0, told.output
    assert comparison_table([both]) in told.stdout
    assert told.stderr == ""
    warned = CliRunner().invoke(group, ["compare", str(path)])
    assert "not for other images" in warned.stderr


def test_two_way_interval_of_a_generator_asks_its_images_only() -> None:
    generator = np.random.default_rng(1)
    image = generator.normal(size=80) + (np.arange(80) % 2)
    kept = _kept(*(image + generator.normal(size=(4, 80)) for _ in "ab"))
    other = {**kept, "a|x|svm|10": np.where(kept["source"] == "ldm", -9.0, kept["a|x|svm|10"])}
    rows = [_row("a", 0.7, 0.8, 0.7, 0.8, source="sd15"), _row("b", 0.6, 0.7, 0.7, 0.6, source="sd15")]
    found = [compare_within(_report(*rows), source="sd15", scores=scores) for scores in (kept, other)]
    assert found[0] == found[1]


@pytest.mark.parametrize(("changes", "message"), [({}, "not kept"), ({"metric": "ap"}, "--interval draws")])
def test_two_way_interval_needs_the_scores_of_an_auroc(changes: dict[str, Any], message: str) -> None:
    rows = [_row("a", 0.9, 0.8, **changes), _row("c", 0.7, 0.6, **changes)]
    kept = _kept(np.zeros((2, 8)), np.zeros((2, 8)))
    with pytest.raises(ReportError, match=message):
        compare_within(_report(*rows), metric=rows[0].metric, scores=kept)
