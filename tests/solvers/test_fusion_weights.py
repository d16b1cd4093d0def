"""Evidence and weights of blocks against loops and permutations."""

import itertools

import numpy as np
import pytest

from fewshot.solvers.blocks import block_columns, stratified_folds
from fewshot.solvers.fusion_weights import (
    Evidence,
    alignment_evidence,
    auroc_evidence,
    block_weights,
    kernel_coefficients,
    kernel_spread,
)

SIGNS = np.repeat([-1.0, 1.0], 6)


def kernels(seed: int, dimension: int, count: int = 1) -> np.ndarray:
    rows = np.random.default_rng(seed).normal(size=(count, 12, dimension))
    return np.asarray(np.exp(-((rows[:, :, None] - rows[:, None]) ** 2).sum(-1) / (2 * dimension)))


def shown(*strength: float) -> Evidence:
    return Evidence(np.array(strength), np.ones(len(strength)))


def test_alignment_is_the_unbiased_centred_correlation_written_out() -> None:
    (kernel,) = kernels(0, 3)
    centred = []
    for matrix in (kernel, np.outer(SIGNS, SIGNS)):
        zero = matrix - np.diag(np.diag(matrix))
        found = np.zeros((12, 12))
        for i, j in itertools.permutations(range(12), 2):
            found[i, j] = zero[i, j] - zero[i].sum() / 10 - zero[:, j].sum() / 10 + zero.sum() / 110
        centred.append(found)
    expected = (centred[0] * centred[1]).sum() / np.sqrt((centred[0] ** 2).sum() * (centred[1] ** 2).sum())
    assert alignment_evidence(kernel[None], SIGNS).strength == pytest.approx(expected * np.sqrt(12 * 9 / 2))


@pytest.mark.parametrize("dimension", [1, 4, 40])
def test_alignment_has_mean_0_and_standard_deviation_1_under_chance_in_any_dimension(dimension: int) -> None:
    found = alignment_evidence(kernels(1, dimension, count=800), SIGNS).strength
    assert abs(found.mean()) < 0.1
    assert 0.85 < found.std() < 1.2


def test_variance_of_alignment_is_that_over_other_supports() -> None:
    rows = np.random.default_rng(4).normal(size=(800, 12, 6))
    rows[:, :, 0] += 1.2 * SIGNS
    squares = ((rows[:, :, None] - rows[:, None]) ** 2).sum(-1)
    found = alignment_evidence(np.exp(-squares / 12), SIGNS)
    assert found.strength.var() > 1.8
    assert found.variance.mean() == pytest.approx(found.strength.var(), rel=0.35)


def test_auroc_has_mean_0_under_chance_and_counts_pairs_within_a_fold() -> None:
    scores = np.random.default_rng(2).normal(size=(2000, 20))
    positive = np.repeat([False, True], 10)
    found = auroc_evidence(scores, positive).strength
    assert abs(found.mean()) < 0.1
    assert 0.9 < found.std() < 1.4  # pairs within folds only: more than Mann and Whitney's
    shifted = scores + 100.0 * (np.arange(20) % 10 % 5)  # each fold on a level of its own
    np.testing.assert_allclose(auroc_evidence(shifted, positive).strength, found, atol=1e-9)
    assert auroc_evidence(np.zeros(20), positive).strength == 0


def test_kernels_spread_is_that_of_pairs_of_different_images() -> None:
    (kernel,) = kernels(3, 5)
    pairs = [kernel[i, j] for i, j in itertools.permutations(range(12), 2)]
    assert kernel_spread(kernel) == pytest.approx(np.std(pairs))


def test_blocks_that_differ_as_chance_does_are_weighed_alike_and_one_that_stands_out_is_not() -> None:
    even = block_weights(shown(1.5, 2.0, 2.5, 2.2, 1.8, 2.0, 2.0), np.ones(7))
    np.testing.assert_allclose(even, np.full(7, 1 / 7))
    clear = block_weights(shown(9.0, 0.3, -0.5, 0.1, -1.0, 0.8), np.ones(6))
    assert clear[0] > 0.9
    assert clear[1:].max() < 0.05


def test_kernels_are_brought_to_one_spread_and_blocks_that_do_not_vary_are_left_out() -> None:
    spread = np.array([0.1, 0.3])
    np.testing.assert_allclose(block_weights(shown(2.0, 2.0), spread), [0.5, 0.5])
    np.testing.assert_allclose(kernel_coefficients(np.array([0.5, 0.5]), spread), [0.75, 0.25])
    np.testing.assert_allclose(block_weights(shown(-2.0, 0.0), spread), [0.5, 0.5])
    np.testing.assert_allclose(block_weights(shown(3.0, 9.0), np.array([0.2, 0.0])), [1.0, 0.0])
    np.testing.assert_allclose(kernel_coefficients(np.array([1.0, 0.0]), np.array([0.2, 0.0])), [1.0, 0.0])
    np.testing.assert_allclose(block_weights(shown(0.0, 0.0), np.zeros(2)), [0.5, 0.5])
    np.testing.assert_allclose(kernel_coefficients(np.array([0.5, 0.5]), np.zeros(2)), [0.5, 0.5])


def test_every_image_is_left_out_once_and_every_fold_has_both_classes() -> None:
    positive = np.array([True] * 7 + [False] * 4)
    folds = stratified_folds(positive)
    assert len(folds) == 4
    assert np.sort(np.concatenate(folds)).tolist() == list(range(11))
    assert all(positive[rows].any() and not positive[rows].all() for rows in folds)
    assert stratified_folds(np.array([True, False, False])) == ()


def test_blocks_lie_side_by_side() -> None:
    assert block_columns((2, 3), 5) == (slice(0, 2), slice(2, 5))
    assert block_columns((), 5) == (slice(0, 5),)
