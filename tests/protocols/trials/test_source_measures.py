"""Measures of nearest-source answers against scikit-learn and against counts made by hand."""

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, recall_score, roc_auc_score

from fewshot.core.errors import InputError
from fewshot.protocols.trials.source_measures import closed_set, homophily, open_set_rate, unknown_auroc


def test_closed_set_measures_are_those_of_scikit_learn() -> None:
    generator = np.random.default_rng(3)
    names = np.array(["camera", "gan", "sd15", "sd3"])
    truth, answers = names[generator.integers(0, 3, 200)], names[generator.integers(0, 4, 200)]
    found = closed_set(list(truth), list(answers))
    np.testing.assert_array_equal(found.confusion, confusion_matrix(truth, answers, labels=found.names))
    assert found.accuracy == pytest.approx(accuracy_score(truth, answers))
    assert found.macro_f1 == pytest.approx(f1_score(truth, answers, average="macro"))
    recall = recall_score(truth, answers, labels=["camera", "gan", "sd15"], average="macro")
    assert found.balanced_accuracy == pytest.approx(recall)


def test_a_source_that_is_only_an_answer_has_no_recall_but_an_f1_of_zero() -> None:
    found = closed_set(["a", "a"], ["a", "b"])
    assert np.isnan(found.recall[1])
    assert found.f1.tolist() == [2 / 3, 0.0]
    assert found.balanced_accuracy == 0.5


def test_homophily_counts_edges_within_one_source() -> None:
    sources = np.array(["a", "a", "b", "b"], dtype=object)
    found = homophily(sources, np.array([[1, 2], [0, 3], [3, 0], [0, 1]]), deals=500)
    assert found.observed == 3 / 8
    assert found.each == {"a": 2 / 4, "b": 1 / 4}


def test_the_null_of_homophily_is_that_of_shuffled_names() -> None:
    """Two sources of 30 and 10 images: a random other image is of the same one with (30*29 + 10*9) / (40*39)."""
    generator = np.random.default_rng(4)
    sources = np.repeat(["a", "b"], [30, 10]).astype(object)
    neighbours = np.array([generator.choice(np.delete(np.arange(40), row), 5, replace=False) for row in range(40)])
    found = homophily(sources, neighbours, deals=2000)
    assert found.null == pytest.approx((30 * 29 + 10 * 9) / (40 * 39), abs=3 * found.null_sd / np.sqrt(2000))
    assert abs(found.observed - found.null) < 4 * found.null_sd
    assert found.p_value > 0.001
    assert abs(found.adjusted) < 0.3


def test_separate_sources_are_fully_homophilous() -> None:
    sources = np.repeat(["a", "b"], 6).astype(object)
    neighbours = np.array([[6 * (row // 6) + (row + 1) % 6] for row in range(12)])
    found = homophily(sources, neighbours)
    assert (found.observed, found.adjusted) == (1.0, 1.0)
    assert found.p_value < 0.05


def test_unknown_auroc_is_that_of_scikit_learn() -> None:
    generator = np.random.default_rng(6)
    known, unknown = generator.integers(3, 12, 70).astype(float), generator.integers(0, 9, 40).astype(float)
    labels = np.repeat([0, 1], [70, 40])
    wanted = roc_auc_score(labels, -np.concatenate([known, unknown]))
    assert unknown_auroc(known, unknown) == pytest.approx(wanted)


def test_open_set_rate_is_the_area_that_thresholds_trace() -> None:
    generator = np.random.default_rng(7)
    known, unknown = generator.normal(1, 1, 60), generator.normal(0, 1, 50)
    right = generator.random(60) < 0.7
    thresholds = np.concatenate([[np.inf], np.sort(np.concatenate([known, unknown]))[::-1]])
    correct = np.array([(right & (known >= threshold)).mean() for threshold in thresholds])
    false = np.array([(unknown >= threshold).mean() for threshold in thresholds])
    assert open_set_rate(known, right, unknown) == pytest.approx(np.trapezoid(correct, false))
    assert open_set_rate(known, np.ones(60, bool), unknown) == unknown_auroc(known, unknown)


def test_open_set_measures_need_both_kinds() -> None:
    with pytest.raises(InputError, match="3 known and 0 unknown"):
        unknown_auroc(np.ones(3), np.empty(0))
