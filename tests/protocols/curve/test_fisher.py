"""Fisher's ratio in blocks against the formula on whole arrays."""

import math

import numpy as np
import pytest

from fewshot.protocols.curve.fisher import FisherRatio


def test_blocks_give_the_ratio_of_the_whole() -> None:
    generator = np.random.default_rng(0)
    features = (generator.normal(size=(301, 5)) + 100).astype(np.float32)
    synthetic = generator.random(301) < 0.3
    features[synthetic] += 0.5
    ratio = FisherRatio()
    for start in range(0, 301, 50):
        ratio.add(features[start : start + 50], synthetic[start : start + 50])
    natural, other = features[~synthetic].astype(np.float64), features[synthetic].astype(np.float64)
    between = ((natural.mean(axis=0) - other.mean(axis=0)) ** 2).sum()
    within = np.trace(np.cov(natural.T, bias=True)) + np.trace(np.cov(other.T, bias=True))
    assert ratio.value() == pytest.approx(between / within, rel=1e-9)


def test_one_class_alone_has_no_ratio() -> None:
    ratio = FisherRatio()
    ratio.add(np.ones((3, 2)), np.zeros(3, bool))
    assert math.isnan(ratio.value())
