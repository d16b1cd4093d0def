"""The landmark SVM against scikit-learn's solver on the same features, and against the exact machine."""

import numpy as np
import pytest
from sklearn.kernel_approximation import Nystroem
from sklearn.svm import SVC, LinearSVC

from fewshot.heads.nystrom_svm import NystromSvm


def task(count: int = 500, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    features = np.random.default_rng(seed).normal(size=(count, 6))
    return features, (features[:, 0] * features[:, 1] > 0).astype(int)


def test_the_optimum_is_that_of_linear_svc_on_the_same_landmark_features() -> None:
    features, labels = task()
    head = NystromSvm(components=80).fit(features, labels)
    theirs = Nystroem(gamma=1 / (6 * features.var()), n_components=80)
    theirs.fit(head.landmarks_)  # all landmarks, in whatever order: the kernel is the same
    expanded = theirs.transform(features)
    oracle = LinearSVC(dual=False, tol=1e-10, max_iter=10_000).fit(expanded, labels)
    np.testing.assert_allclose(head.decision_function(features), oracle.decision_function(expanded), atol=1e-5)


def test_with_every_image_a_landmark_it_ranks_like_the_exact_machine() -> None:
    features, labels = task(300)
    held, _ = task(300, seed=1)
    head = NystromSvm(components=300).fit(features, labels)
    exact = SVC().fit(features, labels)
    scores = head.decision_function(held), exact.decision_function(held)
    assert np.corrcoef(*scores)[0, 1] > 0.95  # squared hinge against hinge: not the same machine


def test_passes_over_blocks_give_the_same_machine_as_memory() -> None:
    features, labels = task()
    head = NystromSvm(components=60).fit(features, labels)
    signs = np.where(labels == 1, 1.0, -1.0)
    blocks = [(features[start : start + 77], signs[start : start + 77]) for start in range(0, 500, 77)]
    streamed = NystromSvm().fit_blocks(lambda: blocks, head.landmarks_)
    np.testing.assert_allclose(streamed.decision_function(features), head.decision_function(features), atol=1e-6)


def test_a_linear_boundary_is_found_with_few_landmarks() -> None:
    features = np.random.default_rng(3).normal(size=(400, 6))
    labels = features[:, 0] > 0
    assert NystromSvm(components=20).fit(features, labels).score(features, labels) == pytest.approx(0.95, abs=0.05)
