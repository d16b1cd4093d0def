"""The table over backbones and what it says of the paper's claim, on numbers chosen by hand."""

import pytest

from fewshot.results.leaderboard import claims, standings, standings_table
from fewshot.results.report import Report, Row


def _row(backbone: str, head: str, *values: float, source: str = "all", selection: str = "fixed") -> Row:
    layer, shots, support = ("logit", 0, 0) if head == "shipped" else ("x", 10, 20)
    return Row(backbone, layer, selection, head, "toy", source, "auroc", support, 90, values, shots=shots)  # type: ignore[arg-type]


def _report(*rows: Row) -> Report:
    return Report("fiser", {}, rows)


def test_refitted_and_shipped_heads_stand_side_by_side() -> None:
    report = _report(
        _row("npr", "shipped", 0.6, 0.6),
        _row("npr", "svm", 0.7, 0.9),
        _row("npr", "svm", 0.6, 0.8, source="macro"),
        _row("mobilenet", "svm", 0.9, 0.9),
        _row("npr", "svm", 1.0, 1.0, selection="oracle"),
    )
    first, second = standings(report)
    assert (first.backbone, first.shipped, first.gain) == ("mobilenet", None, None)
    assert second.gain == pytest.approx(0.2)
    assert second.macro == pytest.approx(0.7)
    assert "+0.200" in standings_table([first, second])


def test_both_readings_of_the_claim_are_computed() -> None:
    report = _report(
        _row("npr", "shipped", 0.6),
        _row("npr", "svm", 0.8),
        _row("unifd:crop224", "shipped", 0.7),
        _row("unifd:crop224", "svm", 0.8),
        _row("fiser", "svm", 0.95),
    )
    average, own_head, fiser = claims(standings(report))
    assert "average over 2 of the paper's twelve detectors: AUROC 0.8000" in average
    assert "missing: resnet50" in average
    assert "+0.1500 AUROC, averaged over 2 detectors" in own_head
    assert "+0.1500" in fiser


def test_what_was_not_measured_is_said() -> None:
    found = claims(standings(_report(_row("mobilenet", "svm", 0.8))))
    assert all("not measured" in line for line in found)
