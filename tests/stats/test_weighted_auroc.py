"""Weighted AUROCs against repeated images, by both ways of computing them."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from fewshot.stats.weighted_auroc import PAIRED_UP_TO, ByPair, ByRank, of_images


@pytest.mark.parametrize("way", [ByPair, ByRank])
@pytest.mark.parametrize("decimals", [1, 6])
def test_weighted_auroc_equals_that_of_repeated_images(way: type[ByPair | ByRank], decimals: int) -> None:
    generator = np.random.default_rng(1)
    synthetic = np.arange(25) % 2 == 1
    scores = np.round(generator.normal(size=(3, 25)) + synthetic, decimals)
    counts, query = generator.integers(0, 4, (2, 25)), generator.random((3, 25)) < 0.8
    found = way.of(scores, query, synthetic).aurocs(counts)
    expected = [
        [
            roc_auc_score(np.repeat(synthetic, times * masks), np.repeat(row, times * masks))
            for row, masks in zip(scores, query, strict=True)
        ]
        for times in counts
    ]
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_both_ways_agree_bit_by_bit_and_know_no_auroc_without_a_class() -> None:
    generator = np.random.default_rng(2)
    synthetic = np.arange(40) >= 12
    scores = np.round(generator.normal(size=(4, 40)) + synthetic, 1).astype(np.float32)
    query = generator.random((4, 40)) < 0.7
    query[3, :12] = False
    counts = generator.integers(0, 3, (50, 40))
    by_pair, by_rank = (way.of(scores, query, synthetic).aurocs(counts) for way in (ByPair, ByRank))
    np.testing.assert_array_equal(by_pair, by_rank)
    assert np.isnan(by_pair[:, 3]).all()
    assert np.isfinite(by_pair[:, :3]).all()


def test_pairs_are_compared_where_a_class_has_few_images() -> None:
    for few, way in ((PAIRED_UP_TO, ByPair), (PAIRED_UP_TO + 1, ByRank)):
        synthetic = np.arange(few + 500) >= few
        shape = (2, few + 500)
        assert isinstance(of_images(np.zeros(shape), np.ones(shape, bool), synthetic), way)
