"""The estimator without scikit-learn's base class: the same answers as through scikit-learn's own checks."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import is_classifier
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fewshot.heads.estimator import checked_support
from fewshot.heads.logistic import Logistic
from fewshot.heads.svm import Svm

FEATURES = np.random.default_rng(0).normal(size=(30, 4))
TABLE: Any = pd.DataFrame(FEATURES, columns=list("abcd"))
LABELS = (FEATURES[:, 0] > 0).astype(int)


def test_arrays_lists_and_tables_are_the_same_features() -> None:
    expected = Svm().fit(FEATURES, LABELS).decision_function(FEATURES)
    assert np.array_equal(Svm().fit(FEATURES.tolist(), LABELS.tolist()).decision_function(FEATURES), expected)
    by_table = Svm().fit(TABLE, LABELS).decision_function(TABLE)  # in another order in memory: other rounding
    np.testing.assert_allclose(by_table, expected, rtol=0, atol=1e-12)


def test_a_head_fitted_on_a_table_and_again_on_an_array_forgets_the_columns() -> None:
    head = Svm().fit(TABLE, LABELS)
    assert head.feature_names_in_.tolist() == list("abcd")  # type: ignore[attr-defined]  # scikit-learn's
    assert not hasattr(head.fit(FEATURES, LABELS), "feature_names_in_")
    head.decision_function(FEATURES)  # without a warning about names


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite_is_refused_in_support_and_query(value: float) -> None:
    broken = FEATURES.copy()
    broken[3, 1] = value
    with pytest.raises(ValueError, match=r"contains (NaN|infinity)"):
        Svm().fit(broken, LABELS)
    with pytest.raises(ValueError, match=r"contains (NaN|infinity)"):
        Svm().fit(FEATURES, LABELS).decision_function(broken)


def test_features_whose_sum_overflows_are_still_finite() -> None:
    large = np.full((2, 4), 3e38, np.float32)
    rows, labels = checked_support(Svm(), large, np.array([0, 1]))
    assert np.array_equal(rows, large)
    assert labels.tolist() == [0, 1]


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        Svm().fit(FEATURES, LABELS[:-1])
    with pytest.raises(ValueError, match="X has 3 features, but Svm is expecting 4"):
        Svm().fit(FEATURES, LABELS).decision_function(FEATURES[:, :3])
    with pytest.raises(NotFittedError, match="This Svm instance is not fitted yet"):
        Svm().decision_function(FEATURES)


def test_scikit_learns_searches_and_pipelines_take_a_head() -> None:
    search = GridSearchCV(make_pipeline(StandardScaler(), Logistic()), {"logistic__C": [0.01, 1.0]}, cv=3)
    found = search.fit(FEATURES, LABELS)
    assert is_classifier(Logistic())
    assert found.best_score_ > 0.8
    assert "Logistic" in repr(found)


def test_parameters_are_shown_changed_and_checked() -> None:
    head = Svm(C=2.0)
    assert repr(head) == "Svm(C=2.0)"
    assert repr(head.set_params(C=1.0, gamma="auto")) == "Svm(gamma='auto')"
    with pytest.raises(ValueError, match=r"Invalid parameter 'cost' .* Valid parameters are: \['C', 'gamma', 'tol'\]"):
        head.set_params(cost=1.0)
