"""Heads on standardised features: against scikit-learn's scaler, against one fit after another, and what they see."""

from functools import partial
from typing import Any

import numpy as np
import pytest
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from fewshot.core.errors import OptionError
from fewshot.heads.pool_standardised import PoolStandardised
from fewshot.heads.scaling import Scaling
from fewshot.heads.standardised import Standardised
from fewshot.heads.svm import Svm
from fewshot.solvers import standardised as solver
from tests.heads.drawn import queries, supports

BASES = ("svm", "linear-svm", "logistic", "prototype", "knn", "ridge")


_queries, _supports = queries, partial(supports, trials=5)


def _pool(seed: int = 0, *, images: int = 150, signal: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Features of unlike scales, the signal in a dimension of small values, and a constant one."""
    generator = np.random.default_rng(seed)
    synthetic = np.arange(images) % 2 == 1
    features = generator.normal(size=(images, 12))
    features[:, 0] += np.where(synthetic, signal, -signal)
    features = features * np.logspace(-3, 3, 12) + np.linspace(-5, 50, 12)
    features[:, 5] = 7.0
    return features, synthetic


def test_many_images_are_standardised_as_scikit_learn_does() -> None:
    features, _ = _pool(images=20_000)
    expected = StandardScaler().fit_transform(features)
    np.testing.assert_allclose(Scaling.of(features).apply(features), expected, rtol=1e-6, atol=1e-9)


def test_deviations_of_few_images_are_drawn_towards_their_geometric_mean() -> None:
    # Deviations 1, 4 and none of two images: the geometric mean is 2, and the share 16 / 20.
    scaling = Scaling.of(np.array([[0.0, 0.0, 3.0], [2.0, 8.0, 3.0]]))
    np.testing.assert_allclose(scaling.mean, [1, 4, 3])
    np.testing.assert_allclose(scaling.factor, [1 / 2**0.8, 1 / (4**0.2 * 2**0.8), 0])


def test_svm_on_standardised_features_is_libsvm_on_them() -> None:
    features, synthetic = _pool()
    support = _supports(synthetic)[0]
    scaling = Scaling.of(features[support])
    expected = SVC(tol=1e-10).fit(scaling.apply(features[support]), synthetic[support])
    found = Standardised("svm", {"tol": 1e-10}).fit(features[support], synthetic[support].astype(int))
    values = expected.decision_function(scaling.apply(features))
    np.testing.assert_allclose(found.decision_function(features), values, rtol=0, atol=1e-8)


@pytest.mark.parametrize("base", BASES)
def test_all_draws_at_once_equal_one_after_another_whatever_the_base(base: str) -> None:
    features, synthetic = _pool()
    supports = _supports(synthetic)
    head = Standardised(base).converged()
    one_by_one = head.score_draws_one_by_one(features, synthetic, supports)
    np.testing.assert_allclose(head.score_draws(features, synthetic, supports), one_by_one, rtol=2e-6, atol=2e-6)
    rows = np.random.default_rng(2).integers(0, len(features), (len(supports), 4))
    some = head.score_rows(features, synthetic, supports, rows)
    np.testing.assert_allclose(some, np.take_along_axis(one_by_one, rows, axis=1), rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize("base", BASES)
def test_all_draws_by_their_queries_equal_one_after_another(base: str) -> None:
    features, synthetic = _pool()
    supports = _supports(synthetic)
    queries = _queries(supports, len(features), every=2)
    head = PoolStandardised(base).converged()
    expected = head.score_draws_with_one_by_one(features, synthetic, supports, queries)
    found = head.score_draws_with(features, synthetic, supports, queries)
    np.testing.assert_allclose(found, expected, rtol=2e-6, atol=2e-6)


def test_blocks_and_single_precision_change_no_score_by_a_thousandth(monkeypatch: pytest.MonkeyPatch) -> None:
    features, synthetic = _pool()
    supports = _supports(synthetic)
    head = Standardised("svm").converged()
    exact = head.score_draws(features, synthetic, supports)
    monkeypatch.setattr(solver, "EXACT_OPERATIONS", 0)
    monkeypatch.setattr(solver, "MOST_TRIALS", 2)
    monkeypatch.setattr(solver, "ROWS_AT_ONCE", 40)
    found = head.score_draws(features.astype(np.float32), synthetic, supports)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, exact, rtol=0, atol=1e-3)


def test_standardising_finds_a_signal_that_unit_length_drowns() -> None:
    features, synthetic = _pool(signal=3.0)
    supports = _supports(synthetic, shots=10)
    right = [np.mean((h.score_draws(features, synthetic, supports) > 0) == synthetic) for h in (Standardised(), Svm())]
    assert right[0] > 0.8
    assert right[1] < 0.65


def test_other_images_and_all_query_labels_leave_standardised_scores_as_they_are() -> None:
    features, synthetic = _pool()
    supports = _supports(synthetic, trials=1)
    query = int(np.flatnonzero(_queries(supports, len(features))[0])[3])
    head = Standardised("svm")
    score = head.score_draws(features, synthetic, supports)[0, query]
    others = features.copy()
    changed = np.setdiff1d(np.arange(len(features)), [*supports[0], query])
    others[changed] = np.random.default_rng(5).normal(size=(len(changed), 12)) * 1e3
    labels = synthetic.copy()
    labels[np.setdiff1d(np.arange(len(features)), supports[0])] ^= True
    assert head.score_draws(others, labels, supports)[0, query] == pytest.approx(score, abs=1e-9)


def test_one_fit_on_a_single_image_of_each_class_is_finite() -> None:
    features, synthetic = _pool()
    scores = Standardised("svm").fit(features[:2], synthetic[:2].astype(int)).decision_function(features)
    assert np.isfinite(scores).all()


def test_a_head_refined_by_unlabelled_images_stays_as_it_is_itself() -> None:
    features, synthetic = _pool()
    head = PoolStandardised("svm").fit(features[:20], synthetic[:20].astype(int))
    alone = head.decision_function(features)
    refined = head.refined(features[20:])
    assert not np.allclose(refined.decision_function(features), alone)
    assert np.array_equal(head.decision_function(features), alone)
    np.testing.assert_allclose(refined.mean_, features[20:].mean(0))


@pytest.mark.parametrize(
    ("base", "parameters", "message"),
    [
        ("rigid", None, "several views"),
        ("acm", None, "as they are stored"),
        ("standardised", None, "as they are stored"),
        ("soft-k-means", None, "transductive"),
        ("svm", {"k": 3}, "does not take the parameters"),
    ],
)
def test_a_base_that_takes_no_standardised_features_is_refused(base: str, parameters: Any, message: str) -> None:
    features, synthetic = _pool()
    with pytest.raises(OptionError, match=message):
        Standardised(base, parameters).fit(features, synthetic.astype(int))
