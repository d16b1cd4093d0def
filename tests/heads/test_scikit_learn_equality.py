"""Heads that scikit-learn fits and that score from their own arrays: the scores are scikit-learn's."""

from typing import Any

import numpy as np
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression
from sklearn.linear_model import Ridge as RidgeRegression
from sklearn.mixture import GaussianMixture
from sklearn.svm import SVC

from fewshot.core.errors import OptionError
from fewshot.heads.gmm import Gmm
from fewshot.heads.lda import Lda
from fewshot.heads.linear_svm import LinearSvm
from fewshot.heads.logistic import Logistic
from fewshot.heads.ridge import Ridge
from fewshot.heads.svm import Svm


def problem(*, offset: float = 0.0, scale: float = 1.0, dimension: int = 24) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(7)
    labels = np.arange(80) % 2
    features = generator.normal(size=(80, dimension))
    features[:, 0] += 1.5 * labels
    return scale * features + offset, labels


@pytest.mark.parametrize(("offset", "scale"), [(0.0, 1.0), (100.0, 1.0), (0.0, 1e-3), (-30.0, 1e3)])
@pytest.mark.parametrize("options", [{}, {"C": 100.0}, {"gamma": "auto"}, {"gamma": 0.5}])
def test_svm_scores_are_those_of_svc(offset: float, scale: float, options: dict[str, Any]) -> None:
    features, labels = problem(offset=offset, scale=scale)
    queries = problem(offset=offset, scale=scale)[0][::-1] * 1.01
    expected = SVC(**options).fit(features, labels).decision_function(queries)
    found = Svm(**options).fit(features, labels).decision_function(queries)
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


def test_svm_of_many_rows_is_scored_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    features, labels = problem()
    head = Svm().fit(features, labels)
    whole = head.decision_function(features)
    monkeypatch.setattr("fewshot.solvers.block_kernels._BLOCK_ROWS", 7)
    np.testing.assert_allclose(head.decision_function(features), whole, rtol=0, atol=1e-14)


def test_svm_of_features_without_variance_is_that_of_svc() -> None:
    features, labels = np.ones((6, 3)), np.arange(6) % 2
    expected = SVC().fit(features, labels).decision_function(features)
    np.testing.assert_allclose(Svm().fit(features, labels).decision_function(features), expected, atol=1e-12)


def test_svm_in_single_precision_is_svc_s() -> None:
    features, labels = problem()
    single = features.astype(np.float32)
    expected = SVC().fit(single, labels).decision_function(single)
    np.testing.assert_allclose(Svm().fit(single, labels).decision_function(single), expected, rtol=1e-12, atol=1e-12)


def test_linear_heads_score_as_scikit_learn_s() -> None:
    features, labels = problem()
    signs = np.where(labels == 1, 1.0, -1.0)
    pairs: list[tuple[Any, Any]] = [
        (LinearSvm(), SVC(kernel="linear").fit(features, labels).decision_function),
        (Logistic(), LogisticRegression(max_iter=2000).fit(features, labels).decision_function),
        (Lda(), LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto").fit(features, labels).decision_function),
        (Ridge(), RidgeRegression().fit(features, signs).predict),
    ]
    for head, expected in pairs:
        np.testing.assert_allclose(
            head.fit(features, labels).decision_function(features), expected(features), rtol=1e-12, atol=1e-12
        )


@pytest.mark.parametrize("shrinkage", ["auto", 0.3, 1.0])
def test_lda_of_few_images_and_many_columns_is_scikit_learn_s(shrinkage: Any) -> None:
    generator = np.random.default_rng(0)
    labels = np.arange(20) % 3 == 0
    features = generator.normal(size=(20, 200)) * generator.uniform(0.01, 3, 200) + labels[:, None]
    features[:, 7] = 5.0  # a column without variance
    theirs = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=shrinkage).fit(features, labels)
    head = Lda(shrinkage=shrinkage).fit(features, labels)
    expected = theirs.decision_function(features)
    np.testing.assert_allclose(head.decision_function(features), expected, rtol=0, atol=1e-10 * np.abs(expected).max())


@pytest.mark.parametrize("shrinkage", [-0.1, 1.5, "much"])
def test_lda_refuses_a_shrinkage_that_is_none(shrinkage: Any) -> None:
    features, labels = problem()
    with pytest.raises(OptionError, match="between 0 and 1"):
        Lda(shrinkage=shrinkage).fit(features, labels)


def test_linear_svm_far_from_the_origin_differs_by_the_rounding_of_libsvm_s_products() -> None:
    features, labels = problem(offset=100.0)
    expected = SVC(kernel="linear").fit(features, labels).decision_function(features)
    found = LinearSvm().fit(features, labels).decision_function(features)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-8)  # products of 24 * 100 ** 2, weights up to C


@pytest.mark.parametrize("components", [1, 3])
@pytest.mark.parametrize("covariance", ["diag", "full", "tied", "spherical"])
def test_mixture_scores_are_log_likelihoods_of_scikit_learn_s(covariance: Any, components: int) -> None:
    features, labels = problem(offset=5.0, dimension=6)
    own = features[labels == 0]
    floor = 0.01 * float(own.var(axis=0).mean())
    theirs = GaussianMixture(
        components, covariance_type=covariance, reg_covar=floor, init_params="k-means++", random_state=0
    ).fit(own)
    expected = np.quantile(theirs.score_samples(own), 0.02) - theirs.score_samples(features)
    found = Gmm(covariance=covariance, components=components).fit(features, labels).decision_function(features)
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-10)
