"""Heads on problems whose answer can be worked out by hand or by another road."""

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.linear_model import RidgeClassifier
from sklearn.svm import SVC
from sklearn.utils.estimator_checks import check_estimator

from fewshot.core.errors import OptionError
from fewshot.heads.euclid import Euclid
from fewshot.heads.gmm import Gmm
from fewshot.heads.knn import Knn
from fewshot.heads.lda import Lda
from fewshot.heads.linear_svm import LinearSvm
from fewshot.heads.mahalanobis import Mahalanobis
from fewshot.heads.prototype import Prototype
from fewshot.heads.ridge import Ridge
from fewshot.heads.tip_adapter import TipAdapter
from fewshot.heads.vib import Vib, divergence


def _problem(seed: int = 0, *, images: int = 60, dimension: int = 4) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    labels = np.arange(images) % 2
    features = generator.normal(size=(images, dimension))
    features[:, 0] += 2 * labels
    return features, labels


def _at_angles(degrees: list[float]) -> np.ndarray:
    radians = np.deg2rad(degrees)
    return np.stack([np.cos(radians), np.sin(radians)], axis=1)


def test_legacy_vote_of_the_worked_example() -> None:
    # By hand: s = 0.9, 0.8, 0.7 with labels 1, 0, 1 -> sigmoid(0.05 (0.9 - 0.8 + 0.7)) = 0.5099987
    support = _at_angles([np.rad2deg(np.arccos(s)) for s in (0.9, 0.8, 0.7)])
    head = Knn(k=3).fit(support, np.array([1, 0, 1]))
    score = head.decision_function(np.array([[1.0, 0.0]]))[0]
    assert 1 / (1 + np.exp(-score)) == pytest.approx(0.5099987, abs=1e-7)


def test_exponential_vote_of_two_neighbours() -> None:
    support = _at_angles([np.rad2deg(np.arccos(s)) for s in (0.9, 0.8)])
    head = Knn(k=5, rule="exponential").fit(support, np.array([1, 0]))
    share = 1 / (1 + np.exp(-0.1 / 0.07))
    assert head.decision_function(np.array([[1.0, 0.0]]))[0] == pytest.approx(share - 0.5)


def test_one_neighbour_is_the_nearest() -> None:
    head = Knn(k=1).fit(_at_angles([10, 80, 50]), np.array([0, 1, 1]))
    assert (head.decision_function(_at_angles([0, 29, 31, 90])) > 0).tolist() == [False, False, True, True]


@pytest.mark.parametrize("options", [{"k": 0}, {"rule": "majority"}, {"metric": "l2"}])
def test_knn_refuses_what_it_does_not_know(options: dict[str, object]) -> None:
    with pytest.raises(OptionError, match="k-NN"):
        Knn(**options).fit(_at_angles([0, 90]), np.array([0, 1]))  # type: ignore[arg-type]


def test_prototypes_part_the_plane_at_the_bisector() -> None:
    head = Prototype().fit(_at_angles([-20, 20, 70, 110]), np.array([0, 0, 1, 1]))
    scores = head.decision_function(_at_angles([45, 0, 90]))
    np.testing.assert_allclose(scores, [0.0, -1.0, 1.0], atol=1e-12)


def test_linear_svm_of_two_points_is_the_midline() -> None:
    head = LinearSvm(C=1e6).fit(np.array([[0.0, 0.0], [2.0, 0.0]]), np.array([0, 1]))
    np.testing.assert_allclose(head.decision_function(np.array([[0.0, 5.0], [1.0, 1.0], [3.0, 0.0]])), [-1, 0, 2])


def test_linear_svm_of_all_draws_equals_libsvm() -> None:
    features, labels = _problem()
    supports = np.array([[0, 1, 2, 3, 4, 5], [6, 7, 8, 9, 10, 11]])
    scores = LinearSvm().score_draws(features, labels == 1, supports)
    for row, support in zip(scores, supports, strict=True):
        expected = SVC(kernel="linear", tol=1e-10).fit(features[support], labels[support]).decision_function(features)
        np.testing.assert_allclose(row, expected, atol=1e-6)


def test_ridge_equals_scikit_learns_classifier() -> None:
    features, labels = _problem()
    expected = RidgeClassifier(alpha=3.0).fit(features, labels).decision_function(features)
    np.testing.assert_allclose(Ridge(alpha=3.0).fit(features, labels).decision_function(features), expected)


@pytest.mark.parametrize("dimension", [3, 80])
def test_mahalanobis_equals_distances_by_the_inverse_covariance(dimension: int) -> None:
    features, labels = _problem(images=30, dimension=dimension)
    head = Mahalanobis(shrinkage=0.3).fit(features, labels)
    means = [features[labels == side].mean(0) for side in (0, 1)]
    residual = features - np.stack(means)[labels]
    covariance = residual.T @ residual / 30
    shrunk = 0.7 * covariance + 0.3 * np.trace(covariance) / dimension * np.eye(dimension)
    inverse = np.linalg.inv(shrunk)
    distance = [np.einsum("nd,de,ne->n", features - mean, inverse, features - mean) for mean in means]
    np.testing.assert_allclose(head.decision_function(features), distance[0] - distance[1], rtol=1e-8)


def test_euclid_scores_differences_of_squared_distances_to_the_class_means() -> None:
    # By hand: means (1, 0) and (5, 3); from (2, 1) the squared distances are 2 and 13
    support = np.array([[0.0, 0.0], [2.0, 0.0], [5.0, 2.0], [5.0, 4.0]])
    head = Euclid().fit(support, np.array([0, 0, 1, 1]))
    assert head.decision_function(np.array([[2.0, 1.0], [5.0, 3.0], [1.0, 0.0]])).tolist() == [-11.0, 25.0, -25.0]


def test_euclid_takes_features_as_they_are_stored() -> None:
    features = {"clean": np.array([[3.0, 4.0]])}
    assert Euclid().prepare(features, normalised=False).tolist() == [[3.0, 4.0]]


def test_euclid_keeps_its_digits_far_from_the_origin_in_every_draw() -> None:
    features, labels = _problem(dimension=6)
    supports = np.array([[0, 1, 2, 3, 4, 5], [10, 11, 12, 13, 21, 22]])
    near = Euclid().score_draws_one_by_one(features, labels == 1, supports)
    far = features + 1e6
    np.testing.assert_allclose(Euclid().score_draws_one_by_one(far, labels == 1, supports), near, atol=1e-7)
    np.testing.assert_allclose(Euclid().score_draws(far, labels == 1, supports), near, atol=1e-7)


def test_lda_of_round_clouds_looks_along_the_difference_of_means() -> None:
    generator = np.random.default_rng(0)
    labels = np.repeat([0, 1], 4000)
    features = generator.normal(size=(8000, 2)) + np.where(labels == 1, 1.0, -1.0)[:, None]
    scores = Lda().fit(features, labels).decision_function(np.array([[1.0, 1.0], [1.0, -1.0], [0.0, 0.0]]))
    np.testing.assert_allclose(scores, [4.0, 0.0, 0.0], atol=0.25)  # log odds of N(1, I) against N(-1, I): 2 (x + y)


def test_tip_adapter_sums_its_affinities() -> None:
    head = TipAdapter(beta=2.0).fit(_at_angles([0, 60, 90]), np.array([0, 1, 1]))
    expected = -np.exp(0) + np.exp(-2 * (1 - 0.5)) + np.exp(-2 * 1.0)
    assert head.decision_function(np.array([[3.0, 0.0]]))[0] == pytest.approx(expected)


def test_mixture_of_one_gaussian_scores_its_log_density() -> None:
    features, labels = _problem(images=40, dimension=3)
    head = Gmm(floor=0.0, quantile=0.5).fit(features, labels)
    own = features[labels == 0]
    density = stats.norm(own.mean(0), np.sqrt(own.var(0) + 1e-6)).logpdf(features).sum(1)
    expected = np.quantile(density[labels == 0], 0.5) - density
    np.testing.assert_allclose(head.decision_function(features), expected, atol=1e-6)


def test_mixture_of_one_class_never_looks_at_the_other() -> None:
    features, labels = _problem()
    moved = features + 100.0 * labels[:, None]
    first, second = (Gmm().fit(rows, labels).decision_function(features) for rows in (features, moved))
    np.testing.assert_array_equal(first, second)
    mirrored = Gmm(fit_on="synthetic").fit(features, 1 - labels).decision_function(features)
    np.testing.assert_allclose(mirrored, -first)


def test_divergence_of_a_gaussian_from_the_standard_one() -> None:
    found = divergence(torch.tensor([[0.0, 1.0]]), torch.tensor([[1.0, 2.0]]))
    assert float(found[0]) == pytest.approx(0.5 * (1 + 4 - 1 - 2 * np.log(2)))


def test_bottleneck_gives_one_image_one_score_and_closes_under_pressure() -> None:
    features, labels = _problem(images=40)
    open_, closed = (
        Vib(beta=beta, steps=100, hidden=16, latent=4, learning_rate=0.02, dropout=0.0).fit(features, labels)
        for beta in (1e-3, 100.0)
    )
    scores = open_.decision_function(features)
    np.testing.assert_array_equal(scores, open_.decision_function(features))
    assert ((scores > 0) == labels).mean() > 0.8
    assert np.ptp(closed.decision_function(features)) < 0.1 * np.ptp(scores)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.filterwarnings("ignore:Estimator .* does not inherit from `sklearn.base.BaseEstimator`")  # decision 0008
def test_bottleneck_passes_the_estimator_checks_of_scikit_learn() -> None:
    check_estimator(Vib(hidden=16, latent=4, steps=60, learning_rate=0.02, dropout=0.0), on_skip=None)
