"""Comparisons: only what was drawn alike is paired, and many comparisons are corrected for."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from sklearn.metrics import roc_auc_score

from fewshot.cli import group
from fewshot.core.errors import ReportError
from fewshot.results.comparison import best_across, compare_across, compare_best, compare_within
from fewshot.results.comparison_table import comparison_notes, comparison_sentence, comparison_table
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
    assert "not for other images" in " ".join(warned.stderr.split())


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


def _ten(backbone: str, mean: float, **changes: Any) -> Row:
    """A row of ten draws whose differences from another such row are all the same but for a little."""
    return _row(backbone, *(mean + 0.001 * (number % 2) for number in range(10)), **changes)


def test_the_best_of_every_backbone_meet_at_equal_shots_best_setting_first() -> None:
    rows = [_ten("a", 0.7, shots=1), _ten("b", 0.6, shots=1), _ten("a", 0.9), _ten("b", 0.8), _ten("c", 0.85)]
    rows += [replace(row, head="knn", values=tuple(value - 0.05 for value in row.values)) for row in rows]
    found = compare_best(_report(*rows))
    assert [(one.first, one.second, one.shown.shots) for one in found] == [
        ("a x svm", "c x svm", 10),
        ("a x svm", "b x svm", 10),
        ("a x svm", "b x svm", 1),
    ]
    assert len(compare_within(_report(*rows))) == 21  # 15 pairs at ten shots and 6 at one


def test_p_values_are_corrected_for_the_pairs_shown_and_no_others() -> None:
    rows = [_row(name, *values) for name, values in (("a", (0.9, 0.8, 0.7)), ("b", (0.8, 0.78, 0.69)))]
    (one,) = compare_best(_report(*rows, _row("c", 0.1, 0.2, 0.1, shots=1)))
    assert one.p_holm == one.result.p


def test_no_more_than_five_are_held_against_the_best() -> None:
    found = compare_best(_report(*(_ten(f"net{number}", 0.5 + number / 100) for number in range(9))))
    assert [one.second for one in found] == [f"net{number} x svm" for number in (7, 6, 5, 4, 3)]


def test_the_heads_of_a_single_backbone_meet_each_other() -> None:
    rows = [_ten("a", 0.9), replace(_ten("a", 0.8), head="knn"), replace(_ten("a", 0.7), head="lda")]
    assert [one.second for one in compare_best(_report(*rows))] == ["a x knn", "a x lda"]


def test_a_checkpoints_own_head_meets_fitted_ones_of_every_size() -> None:
    own = replace(_ten("a", 0.6), head="pretrained", shots=0)
    found = compare_best(_report(_ten("a", 0.9), _ten("a", 0.8, shots=1), own))
    assert [(one.second, one.shown.shots) for one in found] == [("a x pretrained", 10), ("a x pretrained", 1)]


def test_views_shares_and_choices_on_query_labels_are_not_mixed() -> None:
    views = [replace(_ten("a", 0.9), view=view) for view in ("clean", "jpeg:50")]
    shares = [replace(_ten("a", 0.9), shots=None, fraction=share) for share in (0.1, 1.0)]
    for rows in (views, shares):
        assert compare_within(_report(*rows)) == []
    assert compare_best(_report(_ten("a", 0.9), replace(_ten("b", 0.95), selection="oracle"))) == []


def test_the_sentence_says_which_is_better_and_by_how_much() -> None:
    found = compare_best(_report(_ten("a", 0.9), _row("b", *(0.8 + 0.002 * (number % 2) for number in range(10)))))
    assert comparison_sentence(found) == (
        "At 10 shots a + svm is better than b + svm by 0.10 (0.10 to 0.10), on the same 10 draws"
    )


def test_the_sentence_claims_nothing_of_chance_or_of_a_few_draws() -> None:
    chance = compare_best(_report(_row("a", *(0.9, 0.7) * 6), _row("b", *(0.7, 0.88) * 6)))
    assert "At 10 shots a + svm and b + svm cannot be told apart: 0.010 between them, p 0." in comparison_sentence(
        chance
    )
    few = compare_best(_report(_row("a", 0.9, 0.8), _row("b", 0.1, 0.0)))
    assert comparison_sentence(few).endswith("0.800 between them, and 2 draws are too few to say more")
    assert comparison_table(few).splitlines()[1].split()[-2:] == ["n/a", "n/a"]


def test_names_have_the_room_of_a_count_of_draws_that_is_the_same_for_all_pairs() -> None:
    names = ("torchvision:mobilenet_v2", "efficientnet-lite0")
    rows = [
        replace(_ten(name, 0.9 - 0.1 * number), head=head)
        for number, name in enumerate(names)
        for head in ("svm", "knn")
    ]
    table = comparison_table(compare_within(_report(*rows)))
    assert "efficientnet-lite0 + knn" in table
    assert "draws" not in table
    short = [_row(name, *(0.9,) * 12, shots=1) for name in names]
    assert "draws" in comparison_table(compare_within(_report(*rows, *short)))


@pytest.mark.parametrize(("kept", "advised"), [(False, True), (True, False)])
def test_only_who_kept_no_scores_is_told_to_keep_them(kept: bool, advised: bool) -> None:
    found = compare_best(_report(_ten("a", 0.9), _ten("b", 0.8)))
    (note,) = comparison_notes(found, scores_kept=kept)
    assert ("--keep-scores" in note) is advised
    assert note.endswith("compare with --interval two-way")


def test_the_best_of_two_reports_meet_row_by_row_or_best_against_best() -> None:
    first = _report(_ten("a", 0.9), replace(_ten("a", 0.7), head="knn"))
    (same,) = best_across(first, _report(_ten("a", 0.8), _ten("z", 0.99)))
    assert (same.first, same.second) == ("a x svm", "a x svm")
    assert comparison_table([same]).startswith("first report  second report  shots")
    assert "a + svm of the first report is better than a + svm of the second" in comparison_sentence([same])
    (best,) = best_across(first, _report(_ten("y", 0.6), _ten("z", 0.8)))
    assert (best.first, best.second) == ("a x svm", "z x svm")


def test_reports_of_two_protocols_are_named_and_refused(tmp_path: Path) -> None:
    paths = [_report(_ten("a", 0.9)).save(tmp_path / "a.json")]
    paths.append(replace(_report(_ten("a", 0.9)), protocol="robustness").save(tmp_path / "b.json"))
    result = CliRunner().invoke(group, ["compare", *map(str, paths)])
    assert result.exit_code == 1
    assert "the first report is of `fewshot adapt` and the second of `fewshot robustness`" in result.stderr


def test_the_command_says_over_how_many_pairs_it_corrected(tmp_path: Path) -> None:
    path = str(_report(_ten("a", 0.9), _ten("b", 0.8), _ten("c", 0.7)).save(tmp_path / "r.json"))
    best, every = (CliRunner().invoke(group, ["compare", path, *more]).stdout for more in ([], ["--all"]))
    assert "p is corrected (Holm) for the 2 pairs shown: the best, chosen on these queries" in " ".join(best.split())
    assert "--all compares every pair" in " ".join(best.split())
    assert "p is corrected (Holm) for the 3 pairs shown" in every
    assert best.startswith("At 10 shots a + svm is better than b + svm by 0.10")
    assert len(json.loads(CliRunner().invoke(group, ["compare", path, "--json"]).stdout)) == 2


def test_two_way_intervals_leave_out_heads_whose_scores_are_not_kept() -> None:
    generator = np.random.default_rng(2)
    kept = _kept(*(np.arange(80) % 2 + generator.normal(size=(4, 80)) for _ in "ab"))
    rows = [_row("a", 0.7, 0.8, 0.7, 0.8), _row("b", 0.6, 0.7, 0.7, 0.6)]
    own = replace(rows[0], head="pretrained", layer="logit", shots=0)
    (one,) = compare_best(_report(*rows, own), scores=kept)
    assert (one.first, one.second) == ("a x svm", "b x svm")
