"""The table over backbones and what it says of the paper's claim, on numbers chosen by hand."""

from dataclasses import replace

import pytest

from fewshot.results.leaderboard import leaderboard, leaderboard_table, paper_comparison
from fewshot.results.report import Report, Row


def _row(backbone: str, head: str, *values: float, source: str = "all", selection: str = "fixed") -> Row:
    layer, shots, support = ("logit", 0, 0) if head == "pretrained" else ("x", 10, 20)
    return Row(backbone, layer, selection, head, "toy", source, "auroc", support, 90, values, shots=shots)  # type: ignore[arg-type]


def _report(*rows: Row) -> Report:
    return Report("fiser", {}, rows)


def test_refitted_and_pretrained_heads_stand_side_by_side() -> None:
    report = _report(
        _row("npr", "pretrained", 0.6, 0.6),
        _row("npr", "svm", 0.7, 0.9),
        _row("npr", "svm", 0.6, 0.8, source="macro"),
        _row("mobilenet", "svm", 0.9, 0.9),
        _row("npr", "svm", 1.0, 1.0, selection="oracle"),
    )
    first, second = leaderboard(report)
    assert (first.backbone, first.pretrained, first.gain) == ("mobilenet", None, None)
    assert second.gain == pytest.approx(0.2)
    assert second.macro == pytest.approx(0.7)
    assert "+0.200" in leaderboard_table([first, second])


def test_both_readings_of_the_claim_are_computed() -> None:
    report = _report(
        _row("npr", "pretrained", 0.6),
        _row("npr", "svm", 0.8),
        _row("unifd:crop224", "pretrained", 0.7),
        _row("unifd:crop224", "svm", 0.8),
        _row("fiser", "svm", 0.95),
    )
    average, own_head, fiser = paper_comparison(leaderboard(report))
    assert "average over 2 of the paper's twelve detectors: AUROC 0.8000" in average
    assert "missing: resnet50" in average
    assert "+0.1500 AUROC, averaged over 2 detectors" in own_head
    assert "+0.1500" in fiser


def test_what_was_not_measured_is_said() -> None:
    found = paper_comparison(leaderboard(_report(_row("mobilenet", "svm", 0.8))))
    assert all("not measured" in line for line in found)


def test_a_detector_with_several_heads_and_shots_counts_once() -> None:
    report = _report(
        _row("npr", "pretrained", 0.6),
        _row("npr", "svm", 0.7),
        _row("npr", "knn", 0.8),
        _row("npr", "lda", 0.9),
        _row("unifd", "pretrained", 0.5),
        _row("unifd", "svm", 0.8),
    )
    average, own_head, _ = paper_comparison(leaderboard(report))
    assert "average over 2 of the paper's twelve detectors: AUROC 0.8000" in average
    assert "+0.2500 AUROC, averaged over 2 detectors with a pretrained head" in own_head
    alone = paper_comparison(leaderboard(_report(_row("npr", "pretrained", 0.6), _row("npr", "svm", 0.7, 0.8))))
    assert "averaged over 1 detector with" in alone[1]


def test_one_detector_with_twelve_rows_of_heads_and_shots_is_one_detector() -> None:
    rows = [replace(_row("npr", head, 0.7), shots=shots) for head in ("svm", "knn", "lda") for shots in (1, 5, 10, 50)]
    assert len(rows) == 12
    _, own_head, _ = paper_comparison(leaderboard(_report(_row("npr", "pretrained", 0.6), *rows)))
    assert "+0.1000 AUROC, averaged over 1 detector with a pretrained head" in own_head
