"""A comparison as a frame has the differences of the rows it compares, within a report and across two."""

import numpy as np
import pytest

import fewshot
from fewshot.core.errors import ReportError
from fewshot.results.report import Report
from fewshot.results.row import Row


def report(*, drawn: str = "a.png", **means: float) -> Report:
    """Twelve draws of named heads, around the given means."""
    draws = np.linspace(-0.02, 0.02, 12)
    rows = [
        Row("npr", "pooled", "fixed", head, "toy", "all", "auroc", 20, 80, tuple(mean + draws**number), 10)
        for number, (head, mean) in enumerate(means.items(), start=1)
    ]
    return Report("fiser", {}, tuple(rows), {str(trial): [f"{trial}-{drawn}"] for trial in range(12)})


def test_heads_of_one_report_are_compared_pair_by_pair() -> None:
    one = report(svm=0.9, logistic=0.8)
    frame = fewshot.compare(one)
    assert frame[["first", "second"]].to_numpy().tolist() == [["npr pooled svm", "npr pooled logistic"]]
    svm, logistic = (row.values for row in one.rows)
    assert frame["difference"][0] == pytest.approx(np.mean(np.subtract(svm, logistic)))
    assert frame["low"][0] < frame["difference"][0] < frame["high"][0]


def test_every_pair_is_compared_only_where_that_is_asked_for() -> None:
    one = report(svm=0.9, logistic=0.8, knn=0.7)
    assert len(fewshot.compare(one)) == 2
    assert len(fewshot.compare(one, every=True)) == 3


def test_rows_without_a_value_take_no_part() -> None:
    one = report(svm=0.9, logistic=0.8, knn=float("nan"))
    assert not fewshot.compare(one, every=True).isna().any().any()


def test_the_same_head_of_two_reports_is_compared_on_the_same_draws() -> None:
    frame = fewshot.compare(report(svm=0.9), report(svm=0.7))
    assert frame["difference"].tolist() == [pytest.approx(0.2)]


def test_reports_of_other_draws_are_refused() -> None:
    with pytest.raises(ReportError, match="share 0 of 12 draws"):
        fewshot.compare(report(svm=0.9), report(svm=0.7, drawn="b.png"))
