"""What a report says in one sentence: the right numbers, and no more than they bear."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from fewshot.results.answer import answer
from fewshot.results.report import Report, Row
from fewshot.results.standing import short_names, standings


def _row(backbone: str, values: Sequence[float], **changes: Any) -> Row:
    about: dict[str, Any] = {"layer": "pooled", "selection": "fixed", "head": "svm", "dataset": "toy", "source": "all"}
    about |= {"metric": "auroc", "n_support": 20, "n_query": 80, "shots": 10, "n_natural": 30}
    return Row(backbone, values=tuple(values), **{**about, **changes})


def _report(*rows: Row, protocol: str = "fiser") -> Report:
    return Report(protocol, {"seed": 0}, rows)


def _around(mean: float, *, draws: int = 21, reach: float = 0.1) -> list[float]:
    """Return values evenly spaced about a mean: nine of ten of 21 lie within nine tenths of the reach."""
    return list(np.linspace(mean - reach, mean + reach, draws))


def test_the_best_is_named_with_its_range_and_the_next_best_with_the_distance_between_them() -> None:
    said = answer(_report(_row("npr", _around(0.90)), _row("safe", _around(0.85))))
    assert said.startswith("npr + svm, 10 shots: AUROC 0.90, the best of 2 compared on these query images; a single ")
    assert "draw lands between 0.81 and 0.99 nine times of ten" in said
    assert said.endswith("next best backbone safe, 0.05 lower (0.05 to 0.05)")


def test_two_that_draws_cannot_tell_apart_are_said_to_be_so() -> None:
    said = answer(_report(_row("npr", _around(0.90)), _row("safe", _around(0.89)[::-1])))
    assert said.endswith("next best backbone safe, 0.01 lower: the two cannot be told apart")


def test_a_few_draws_decide_nothing() -> None:
    said = answer(_report(_row("npr", [0.9, 0.8, 0.85]), _row("safe", [0.5, 0.4, 0.45])))
    assert "3 draws landed between 0.80 and 0.90" in said
    assert said.endswith("next best backbone safe, 0.40 lower, a difference that 3 draws cannot tell from chance")


def test_the_only_one_is_not_called_the_best() -> None:
    assert "best" not in answer(_report(_row("npr", _around(0.9))))


def test_a_detector_stands_beside_its_own_pretrained_head() -> None:
    own = _row("npr", [0.61] * 21, head="pretrained", layer="logit", shots=0)
    rows = [_row("npr", _around(0.9)), _row("safe", _around(0.8)), own]
    assert answer(_report(*rows)).endswith("; its own pretrained head 0.61")
    others = replace(own, backbone="safe")
    assert answer(_report(*rows[:2], others)).endswith("; the best pretrained head, of safe, 0.61")


def test_a_pretrained_head_that_does_best_is_named_as_one() -> None:
    own = _row("npr", [0.95] * 21, head="pretrained", layer="logit", shots=0)
    said = answer(_report(_row("npr", _around(0.9)), own))
    assert said.startswith("the pretrained head of npr: AUROC 0.95")
    assert "next best head" not in said  # it was shown ten images, and the best none


def test_behind_a_pretrained_head_comes_the_best_of_another_backbone_even_one_that_was_fitted() -> None:
    own = _row("npr", [0.95] * 21, head="pretrained", layer="logit", shots=0)
    rows = [
        own,
        replace(own, backbone="safe", values=(0.6,) * 21),
        _row("npr", _around(0.92)),
        _row("dinov2", [0.9] * 21),
    ]
    said = answer(_report(*rows))
    assert "; next best backbone dinov2 + svm with 10 shots, 0.05 lower" in said
    assert "safe" not in said


def test_what_was_chosen_on_query_labels_is_an_upper_bound_and_ranks_below_all_others() -> None:
    oracle = _row("npr", _around(0.99), selection="oracle", layer="oracle")
    honest = _row("npr", _around(0.8))
    assert [one.row for one in standings(_report(oracle, honest))] == [honest]
    assert "(chosen on query labels: an upper bound)" in answer(_report(oracle))


def test_rows_without_a_value_answer_nothing() -> None:
    assert answer(_report()) == "nothing was measured"
    assert answer(_report(_row("npr", [float("nan")] * 3))) == "nothing was measured"


def test_data_sets_and_layers_are_said_where_there_are_several() -> None:
    rows = [_row("npr", _around(0.9), layer="late", dataset="a"), _row("npr", _around(0.8), layer="early", dataset="b")]
    assert answer(_report(*rows)).startswith("npr (late) + svm on a, 10 shots: ")


def test_a_library_is_left_out_of_a_name_only_where_that_is_clear() -> None:
    named = [_row(name, [0.5]) for name in ("torchvision:vgg16", "timm:vgg16", "timm:vit", "npr:progan")]
    assert list(short_names(named).values()) == ["torchvision:vgg16", "timm:vgg16", "vit", "npr:progan"]


def _curve(head: str, share: float, mean: float, **changes: Any) -> Row:
    return _row("npr", _around(mean), head=head, fraction=share, shots=None, **changes)


def test_a_data_curve_is_told_at_its_largest_share_beside_the_linear_probe() -> None:
    rows = [_curve("acm:natural", 0.01, 0.70), _curve("acm:natural", 1.0, 0.80), _curve("linear-probe", 1.0, 0.75)]
    rows.append(_curve("acm:natural", 1.0, 0.72, metric="accuracy"))
    said = answer(_report(*rows, protocol="attribution"))
    assert said == (
        "acm:natural on npr, 100 % of the training images: AUROC 0.80, accuracy 0.72; a single draw lands between "
        "0.71 and 0.89 nine times of ten; linear-probe on the same images 0.75, 0.05 lower (0.05 to 0.05); with 1 % of "
        "them acm:natural has 0.70"
    )


def test_a_reference_that_beats_the_attributed_class_is_not_kept_back() -> None:
    rows = [_curve("acm:natural", 1.0, 0.80), _curve("linear-probe", 1.0, 0.75), _curve("rbf-svm", 1.0, 0.9)]
    assert "; rbf-svm 0.90, 0.10 higher (0.10 to 0.10)" in answer(_report(*rows, protocol="attribution"))


def test_the_view_that_costs_most_is_named_with_the_verdicts_it_changes() -> None:
    rows = [
        _row("npr", _around(mean), view=view) for view, mean in (("clean", 0.9), ("blur:1", 0.88), ("jpeg:30", 0.6))
    ]
    rows.append(_row("npr", [0.25] * 21, view="jpeg:30", metric="flip_rate"))
    rows += [_row("safe", _around(mean), view=view) for view, mean in (("clean", 0.8), ("blur:1", 0.3))]
    assert answer(_report(*rows, protocol="robustness")) == (
        "npr + svm, 10 shots: AUROC 0.90 on clean images, the best of 2 compared on these query images; jpeg:30 costs "
        "it most: 0.60, 0.30 lower (0.30 to 0.30); 25 % of its verdicts change there; safe + svm loses most of all, "
        "0.50 under blur:1"
    )


def test_views_that_cost_nothing_are_said_to() -> None:
    rows = [_row("npr", _around(0.9), view=view) for view in ("clean", "blur:1")]
    assert answer(_report(*rows, protocol="robustness")).endswith("; no view costs it anything")


def test_nearest_sources_are_told_by_how_many_images_are_given_to_their_own() -> None:
    values = {"head": "nearest", "shots": None, "n_natural": None}
    rows = [_row("npr", [0.8], metric="source_accuracy", **values)]
    rows += [_row("npr", [0.7], metric="balanced_source_accuracy", **values)]
    rows += [_row("npr", [0.5], metric="source_accuracy", source="ldm", **values)]
    rows += [_row("npr", [0.6], metric="new_source_recall", source="macro", **{**values, "shots": 5})]
    rows += [_row("npr", [0.4], metric="unknown_rate", source="macro", **values)]
    assert answer(_report(*rows, protocol="nearest")) == (
        "npr: the nearest images name the right source of 80 % of 80, 70 % when every source counts alike; least of "
        "ldm, 50 %; a source known from 5 images is recalled 60 % of the time; a source that is not in the index is "
        "called unknown 40 % of the time"
    )


@pytest.mark.parametrize("name", ["a\x1b[2Jb", "line\nfewshot: all is well"])
def test_a_printed_report_is_inert(name: str) -> None:
    report = Report("fiser", {}, (_row(name, [0.5, 0.6]),), warnings=(name,))
    assert all(line.isprintable() for line in str(report).split("\n"))
    assert "\x1b" not in report._repr_html_()
