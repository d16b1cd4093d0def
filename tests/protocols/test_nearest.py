"""Measures of nearest-source answers against scikit-learn and against counts made by hand."""

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, recall_score

from fewshot.protocols.nearest import closed_set


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
