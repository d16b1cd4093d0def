"""Reports: what is saved is what comes back, and the numbers beside it follow from the values."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from fewshot.core.errors import OutputError, ReportError
from fewshot.results.report import Report, Row
from fewshot.results.row import spread_in_words
from fewshot.stats.intervals import draws_interval, mean_interval, summarise


def _row(values: tuple[float, ...] = (0.5, 0.75), **changes: object) -> Row:
    facts: dict[str, object] = {
        "backbone": "npr",
        "layer": "pooled",
        "selection": "fixed",
        "head": "svm",
        "dataset": "toy",
        "source": "all",
        "metric": "auroc",
        "n_support": 20,
        "n_query": 80,
        "shots": 10,
    }
    return Row(values=values, **{**facts, **changes})  # type: ignore[arg-type]


def _report(*rows: Row) -> Report:
    return Report("fiser", {"shots": [10], "seed": 0}, rows, supports={"0": ["a.png", "b.png"]}, warnings=("one",))


def test_saved_report_equals_loaded_one(tmp_path: Path) -> None:
    report = _report(_row(), _row(source="sd15", choices=("a", "b")), _row(shots=None, fraction=0.01, view="jpeg:75"))
    report.save(tmp_path / "report.json")
    assert Report.load(tmp_path / "report.json") == report


def test_file_has_the_keys_of_the_interface(tmp_path: Path) -> None:
    document = json.loads(_report(_row()).save(tmp_path / "r.json").read_text())
    assert set(document) == {"schema", "protocol", "config", "rows", "summary", "supports", "warnings", "provenance"}
    keys = {"backbone", "layer", "selection", "head", "dataset", "source", "shots", "metric", "n_support", "n_query"}
    assert keys | {"values"} <= set(document["rows"][0])
    assert keys | {"trials", "mean", "sd", "low", "high", "p5", "p95"} <= set(document["summary"][0])
    assert "fraction" not in document["rows"][0]


def test_a_report_that_says_shipped_is_read_as_pretrained() -> None:
    (row,) = Report.from_json(_report(_row(head="shipped", layer="logit", shots=0)).to_json()).rows
    assert row.head == "pretrained"


def test_a_report_that_says_carved_is_read_as_held_out(tmp_path: Path) -> None:
    document = _report(_row(head="acm:natural, carved")).to_json()
    document["supports"] = {"acm:natural, carved 10% trial 0": {"support": "abc"}}
    (tmp_path / "old.json").write_text(json.dumps(document))
    loaded = Report.load(tmp_path / "old.json")
    assert loaded.rows[0].head == "acm:natural, held-out"
    assert list(loaded.supports) == ["acm:natural, held-out 10% trial 0"]


def test_undefined_values_are_null_in_the_file_and_left_out_of_the_mean(tmp_path: Path) -> None:
    path = _report(_row((0.5, float("nan"), 0.7))).save(tmp_path / "r.json")
    assert json.loads(path.read_text())["rows"][0]["values"] == [0.5, None, 0.7]
    loaded = Report.load(path)
    assert math.isnan(loaded.rows[0].values[1])
    assert loaded.summary().loc[0, "mean"] == pytest.approx(0.6)
    assert loaded.summary().loc[0, "trials"] == 2


def test_summary_of_three_values_is_the_textbook_one() -> None:
    summary = summarise([0.7, 0.8, 0.9])
    assert summary.mean == pytest.approx(0.8)
    assert summary.sd == pytest.approx(0.1)
    half = 4.302652729911275 * 0.1 / math.sqrt(3)  # Student's t, 2 degrees of freedom, 97.5 %
    assert (summary.low, summary.high) == pytest.approx((0.8 - half, 0.8 + half))
    assert (summary.p5, summary.p95) == pytest.approx((0.71, 0.89))


def test_interval_of_the_mean_covers_at_its_confidence() -> None:
    draws = np.random.default_rng(0).normal(0.7, 0.1, (4000, 20))
    covered = [mean_interval(values).low <= 0.7 <= mean_interval(values).high for values in draws]
    assert 0.94 <= np.mean(covered) <= 0.96


def test_one_trial_has_a_mean_and_no_interval() -> None:
    summary = summarise([0.7])
    assert summary.mean == 0.7
    assert math.isnan(summary.sd)
    assert math.isnan(summary.low)


def test_table_leads_with_the_range_of_a_single_draw() -> None:
    rows = [_row((0.7, 0.8, 0.9)), _row((0.1, 0.2, 0.3), metric="tpr_at_5_fpr"), _row((0.4, 0.5, 0.6), source="sd15")]
    header, pooled, generator = _report(*rows).table(full=True).splitlines()[2:5]
    assert header.index("AUROC 5-95 %") < header.index("mean") < header.index("95 % interval") < header.index("sd")
    assert "0.710-0.890" in pooled
    assert "0.800" in pooled
    assert "0.200" in pooled
    assert "sd15" in generator


def test_comparison_names_the_row_that_differs_most() -> None:
    one = _report(_row((0.5, 0.6)), _row((0.5, 0.5), source="sd15"))
    two = _report(_row((0.5, 0.6)), _row((0.5, 0.7), source="sd15"))
    difference = one.compare(two, tolerance=0.1)
    assert difference.largest == pytest.approx(0.2)
    assert "sd15" in str(difference)
    assert not difference.equal
    assert one.compare(one).equal


def test_rows_of_one_report_only_make_a_difference() -> None:
    difference = _report(_row(), _row(head="knn")).compare(_report(_row()), tolerance=1.0)
    assert not difference.equal
    assert len(difference.missing) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [("no json", "is not JSON"), ("[]", "not a fewshot report"), ('{"schema": 99, "rows": []}', "reads up to 1")],
)
def test_what_is_no_report_says_so(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "r.json"
    path.write_text(text)
    with pytest.raises(ReportError, match=message):
        Report.load(path)


def test_missing_report_and_unwritable_place_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match="cannot be read"):
        Report.load(tmp_path / "none.json")
    with pytest.raises(OutputError, match="another path by -o"):
        _report(_row()).save(tmp_path / "no" / "folder" / "r.json")


def test_fewer_than_ten_draws_have_no_interval_and_more_have_one_between_0_and_1() -> None:
    three, ten = _row((0.1, 0.5, 0.9)), _row((0.99, 1.0, 0.98, 1.0, 1.0, 0.97, 1.0, 1.0, 1.0, 0.9))
    assert math.isnan(three.summary().low)
    assert three.spread == (0.1, 0.9)
    assert spread_in_words([three]) == "all 3 draws"
    found = ten.summary()
    assert 0.9 < found.low < found.mean < found.high < 1
    assert mean_interval(ten.values).high > 1  # what it is bounded against
    assert ten.spread == pytest.approx((0.9315, 1.0))
    assert spread_in_words([ten]) == "nine draws of ten"
    assert spread_in_words([_row((0.5,))]) == "one draw"


def test_the_bounded_interval_of_a_mean_covers_at_its_confidence() -> None:
    draws = np.random.default_rng(0).beta(18, 2, (4000, 20))
    covered = [found.low <= 0.9 <= found.high for found in map(draws_interval, draws)]
    assert 0.93 <= np.mean(covered) <= 0.97


def test_three_trials_have_no_interval_and_not_that_of_minus_0_380_to_1_254() -> None:
    values = (0.108, 0.437, 0.766)
    student = mean_interval(values)
    assert (round(student.low, 3), round(student.high, 3)) == (-0.380, 1.254)
    row = _row(values)
    assert (np.isnan(row.summary().low), np.isnan(row.summary().high)) == (True, True)
    assert spread_in_words([row]) == "all 3 draws"
    table = Report("fiser", {}, (row,)).table()
    assert "n/a" in table
    assert "1.254" not in table
    many = _row((*values,) * 4).summary()
    assert 0 < many.low < many.mean < many.high < 1
    assert spread_in_words([_row(values[:1])]) == "one draw"
