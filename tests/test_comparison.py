"""Comparisons: only what was drawn alike is paired, and many comparisons are corrected for."""

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from fewshot.cli import group
from fewshot.comparison import compare_across, compare_within, comparison_table
from fewshot.core.errors import ReportError
from fewshot.report import Report, Row


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
    assert result.stdout.strip() == comparison_table(compare_within(report))
    assert "+0.143" in result.stdout
    result = CliRunner().invoke(group, ["compare", str(path), "--metric", "f1"])
    assert result.exit_code == 1
    assert "nothing to compare" in result.stderr
