"""Pairs won from one integer sort against all pairs, one by one."""

import numpy as np
import pytest

from fewshot.stats.metrics import auroc_without
from fewshot.stats.pairs_won import twice_pairs_won


def _all_pairs(scores: np.ndarray, synthetic: np.ndarray) -> int:
    differences = scores[synthetic][:, None] - scores[~synthetic][None, :]
    return int(np.sum(np.sign(differences) + 1))


@pytest.mark.parametrize("scores", ["different", "tied", "constant", "signed zeros", "from least to largest"])
def test_pairs_won_equal_those_counted_one_by_one(scores: str) -> None:
    generator = np.random.default_rng(0)
    drawn = generator.normal(size=101).astype(np.float32)
    limits = np.finfo(np.float32)
    extremes = [limits.min, -1, -limits.smallest_subnormal, -0.0, 0.0, limits.smallest_subnormal, 1, limits.max]
    values = {
        "different": drawn,
        "tied": np.round(drawn, 1),
        "constant": np.full(101, -0.5, np.float32),
        "signed zeros": np.where(drawn > 0, np.float32(0.0), np.float32(-0.0)),
        "from least to largest": generator.choice(np.array(extremes, np.float32), size=101),
    }[scores]
    synthetic = generator.random(101) < 0.4
    left_out = np.array([np.flatnonzero(synthetic)[3], *np.flatnonzero(~synthetic)[[0, 7]]])
    rest = np.setdiff1d(np.arange(101), left_out)
    expected = _all_pairs(values[rest].astype(np.float64), synthetic[rest])
    assert twice_pairs_won(values, synthetic, left_out) == expected


def test_single_and_double_precision_give_the_same_auroc_to_the_last_bit() -> None:
    generator = np.random.default_rng(1)
    scores = np.round(generator.normal(size=(7, 500)), 2).astype(np.float32)
    synthetic = np.arange(500) % 3 == 0
    left_out = np.stack([generator.permutation(500)[:20] for _ in scores])
    single = auroc_without(scores, synthetic, left_out)
    np.testing.assert_array_equal(single, auroc_without(scores.astype(np.float64), synthetic, left_out))


def test_infinite_scores_are_the_largest() -> None:
    scores = np.array([np.inf, -np.inf, 1.0, -1.0], np.float32)
    synthetic = np.array([True, False, True, False])
    assert twice_pairs_won(scores, synthetic, np.array([], int)) == 8
