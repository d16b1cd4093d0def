"""Transductive heads: worked examples, all draws against one after another, and what they may look at."""

from functools import partial

import numpy as np
import pytest

from fewshot.core.errors import OptionError
from fewshot.heads.base import HEADS
from fewshot.heads.laplacian_shot import LaplacianShot
from fewshot.heads.soft_k_means import SoftKMeans
from fewshot.heads.transductive import TransductiveHead, inductive_head
from fewshot.solvers import transductive as solver
from tests.heads.drawn import queries, supports

TRANSDUCTIVE = ("soft-k-means", "laplacian-shot", "pool-standardised")


def _head(name: str) -> TransductiveHead:
    head: TransductiveHead = HEADS.load(name)().converged()
    return head


_queries, _supports = queries, partial(supports, trials=8)


def _pool(
    seed: int = 0, *, images: int = 160, signal: float = 1.0, share: float = 0.5
) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    synthetic = np.arange(images) % max(2, round(1 / share)) == 1
    features = generator.normal(size=(images, 10))
    features[:, 0] += np.where(synthetic, signal, -signal)
    return features, synthetic


def _auroc(scores: np.ndarray, synthetic: np.ndarray) -> float:
    above = scores[synthetic][:, None] - scores[~synthetic][None]
    return float((above > 0).mean() + 0.5 * (above == 0).mean())


def test_soft_k_means_moves_the_means_of_the_worked_example() -> None:
    # Natural at 0 degrees, synthetic at 90: an image at 90 has squared distances 2 and 0, so its share of synthetic
    # is 1 / (1 + exp(-2)) with sharpness 1, and of natural the rest.
    head = SoftKMeans(sharpness=1.0).fit(np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([0, 1]))
    refined = head.refined(np.array([[0.0, 3.0]]))
    share = 1 / (1 + np.exp(-2))
    np.testing.assert_allclose(refined.prototypes_[0], np.array([1, 1 - share]) / (2 - share))
    np.testing.assert_allclose(refined.prototypes_[1], [0, 1])


def test_laplacian_shot_of_three_images_is_the_fixed_point_worked_out() -> None:
    # Two unlabelled images near each other are each other's only neighbour (k = 1): s = u + weight tanh(s' / 2).
    support = np.array([[1.0, 0.0], [0.0, 1.0]])
    angles = np.deg2rad([50.0, 60.0])
    images = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    head = LaplacianShot(weight=0.5, k=1, sharpness=1.0).fit(support, np.array([0, 1])).refined(images)
    alone = 2 * (np.sin(angles) - np.cos(angles))
    scores = alone
    for _ in range(100):
        scores = alone + 0.5 * np.tanh(scores[::-1] / 2)
    np.testing.assert_allclose(head.decision_function(images), scores, rtol=0, atol=1e-9)


def test_without_unlabelled_images_both_are_nearest_class_means() -> None:
    features, synthetic = _pool()
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    means = [unit[:20][synthetic[:20] == side].mean(0) for side in (False, True)]
    expected = ((unit - means[0]) ** 2).sum(1) - ((unit - means[1]) ** 2).sum(1)
    for head, scale in ((SoftKMeans(), 1.0), (LaplacianShot(), 10.0)):
        found = head.fit(features[:20], synthetic[:20].astype(int)).decision_function(features)
        np.testing.assert_allclose(found, scale * expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("every", [1, 3])
@pytest.mark.parametrize("name", TRANSDUCTIVE)
def test_all_draws_at_once_equal_one_refined_after_another(name: str, every: int) -> None:
    features, synthetic = _pool()
    supports = _supports(synthetic)
    queries = _queries(supports, len(features), every=every)
    head = _head(name)
    expected = head.score_draws_with_one_by_one(features, synthetic, supports, queries)
    found = head.score_draws_with(features, synthetic, supports, queries)
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-6)


def test_neighbours_beyond_those_that_are_kept_are_sought_again(monkeypatch: pytest.MonkeyPatch) -> None:
    features, synthetic = _pool()
    supports = _supports(synthetic)
    queries = _queries(supports, len(features), every=20)
    expected = LaplacianShot().score_draws_with_one_by_one(features, synthetic, supports, queries)
    monkeypatch.setattr(solver, "NEAREST", 1)
    monkeypatch.setattr(solver, "TABLE_BYTES", 8 * 160 * 7)
    found = LaplacianShot().score_draws_with(features, synthetic, supports, queries)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9)


def test_an_image_that_is_there_twice_is_no_neighbour_of_itself() -> None:
    features, synthetic = _pool()
    features[40:60] = features[20:40]
    supports = np.arange(10)[None]
    queries = _queries(supports, len(features))
    expected = LaplacianShot().score_draws_with_one_by_one(features, synthetic, supports, queries)
    found = LaplacianShot().score_draws_with(features, synthetic, supports, queries)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", TRANSDUCTIVE)
def test_query_labels_never_change_a_score(name: str) -> None:
    features, synthetic = _pool()
    supports = _supports(synthetic, trials=1)
    queries = _queries(supports, len(features))
    flipped = synthetic ^ queries[0]
    head = _head(name)
    found, again = (head.score_draws_with(features, labels, supports, queries) for labels in (synthetic, flipped))
    np.testing.assert_allclose(found, again, rtol=0, atol=1e-12)  # sums over other memory round differently


@pytest.mark.parametrize("name", TRANSDUCTIVE)
def test_shuffled_labels_give_chance(name: str) -> None:
    features, classes = _pool(images=400)
    synthetic = np.random.default_rng(9).permutation(classes)
    supports = _supports(synthetic, trials=40)
    queries = _queries(supports, len(features))
    scores = _head(name).score_draws_with(features, synthetic, supports, queries)
    found = [_auroc(row[query], synthetic[query]) for row, query in zip(scores, queries, strict=True)]
    assert np.mean(found) == pytest.approx(0.5, abs=0.04)


def test_soft_k_means_gains_where_classes_are_clusters_and_as_frequent() -> None:
    features, synthetic = _pool(images=400, signal=2.0)
    supports = _supports(synthetic, shots=1, trials=30)
    queries = _queries(supports, len(features))
    alone = SoftKMeans().score_draws(features, synthetic, supports)
    refined = SoftKMeans().score_draws_with(features, synthetic, supports, queries)
    gains = [
        _auroc(b[q], synthetic[q]) - _auroc(a[q], synthetic[q]) for a, b, q in zip(alone, refined, queries, strict=True)
    ]
    assert np.mean(gains) > 0.03


def test_in_an_inbox_of_few_synthetic_images_soft_k_means_gains_less() -> None:
    gains = []
    for share in (0.5, 0.05):
        features, synthetic = _pool(images=800, signal=2.0, share=share)
        supports = _supports(synthetic, shots=2, trials=30)
        queries = _queries(supports, len(features))
        alone = SoftKMeans().score_draws(features, synthetic, supports)
        refined = SoftKMeans().score_draws_with(features, synthetic, supports, queries)
        both = [[_auroc(s[q], synthetic[q]) for s in pair] for *pair, q in zip(alone, refined, queries, strict=True)]
        gains.append(float(np.diff(both, axis=1).mean()))
    assert gains[1] < gains[0]


@pytest.mark.parametrize("name", TRANSDUCTIVE)
def test_a_detector_refuses_it_with_the_reason(name: str) -> None:
    with pytest.raises(OptionError, match="no threshold can be certified"):
        inductive_head(name)
