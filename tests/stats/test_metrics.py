"""Measures against scikit-learn's, ties included, and against answers worked by hand."""

import numpy as np
import pytest
import torch
from sklearn import metrics as reference

from fewshot.core.errors import InputError
from fewshot.solvers import batched
from fewshot.stats import metrics
from fewshot.stats.metrics import METRICS, Ranked


def _scores(seed: int, *, trials: int = 6, ties: bool) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    synthetic = generator.random(90) < 0.4
    scores = generator.normal(size=(trials, 90)) + synthetic
    return (np.round(scores, 1) if ties else scores), synthetic


@pytest.mark.parametrize("ties", [False, True])
def test_auroc_and_average_precision_equal_scikit_learn(ties: bool) -> None:
    scores, synthetic = _scores(0, ties=ties)
    auroc = [reference.roc_auc_score(synthetic, row) for row in scores]
    precision = [reference.average_precision_score(synthetic, row) for row in scores]
    np.testing.assert_allclose(metrics.auroc(scores, synthetic), auroc, atol=1e-12)
    found = [Ranked.of(row, synthetic).average_precision() for row in scores]
    np.testing.assert_allclose(found, precision, atol=1e-12)


@pytest.mark.parametrize("ties", [False, True])
def test_sorting_on_a_torch_device_gives_the_same_auroc(ties: bool) -> None:
    scores, synthetic = _scores(1, ties=ties)
    sides = (torch.as_tensor(scores[:, synthetic == side]) for side in (False, True))
    sorted_by_torch = batched._torch_auroc(*sides)
    np.testing.assert_allclose(sorted_by_torch, metrics.auroc(scores, synthetic), atol=1e-12)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("fpr", [0.0, 0.05, 0.3, 1.0])
def test_tpr_is_the_largest_whose_fpr_is_at_most_the_limit(ties: bool, fpr: float) -> None:
    scores, synthetic = _scores(2, ties=ties)
    for row in scores:
        rates, true_rates, _ = reference.roc_curve(synthetic, row, drop_intermediate=False)
        assert Ranked.of(row, synthetic).tpr_at_most(fpr) == pytest.approx(true_rates[rates <= fpr].max())


def test_decisions_at_zero_equal_scikit_learn() -> None:
    scores, synthetic = _scores(3, trials=1, ties=True)
    ranked, decided = Ranked.of(scores[0], synthetic), scores[0] > 0
    assert ranked.measure("accuracy") == pytest.approx(reference.accuracy_score(synthetic, decided))
    assert ranked.measure("f1") == pytest.approx(reference.f1_score(synthetic, decided))
    assert ranked.measure("synthetic_accuracy") == pytest.approx(reference.recall_score(synthetic, decided))
    assert ranked.measure("natural_accuracy") == pytest.approx(
        reference.recall_score(synthetic, decided, pos_label=False)
    )


def test_one_generator_is_measured_against_all_natural_images() -> None:
    scores, synthetic = _scores(4, trials=1, ties=True)
    chosen = np.arange(int(synthetic.sum())) % 3 == 0
    rows = np.concatenate([np.flatnonzero(~synthetic), np.flatnonzero(synthetic)[chosen]])
    part, whole = Ranked.of(scores[0], synthetic).only(chosen), Ranked.of(scores[0][rows], synthetic[rows])
    for metric in METRICS:
        assert part.measure(metric) == pytest.approx(whole.measure(metric))


def test_placements_average_to_the_auroc() -> None:
    scores, synthetic = _scores(5, trials=1, ties=True)
    ranked = Ranked.of(scores[0], synthetic)
    assert ranked.placements.mean() == pytest.approx(ranked.auroc())


@pytest.mark.parametrize("digits", [1, 12])  # with ties, and without
def test_published_measures_are_scikit_learns_to_the_last_bit(digits: int) -> None:
    generator = np.random.default_rng(digits)
    for images in generator.integers(2, 300, 60):
        synthetic = np.arange(images) % 5 < generator.integers(1, 5)
        synthetic[:2] = False, True
        scores = np.round(generator.normal(size=images) + synthetic, digits)
        rates, found, _ = reference.roc_curve(synthetic, scores)
        ranked = Ranked.of(scores, synthetic)
        assert ranked.measure("auroc", tpr="nearest") == reference.roc_auc_score(synthetic, scores)
        assert ranked.measure("tpr_at_5_fpr", tpr="nearest") == found[np.argmin(np.abs(rates - 0.05))]


def test_nearest_roc_point_may_lie_above_the_limit() -> None:
    scores = np.array([9.0, 8.0, 1.0, 0.0] + [0.5] * 8)  # naturals 9, 1, 0.5 x 8: FPR 0.1 after the first
    synthetic = np.array([False, True, False, True] + [False] * 8)
    ranked = Ranked.of(scores, synthetic)
    assert ranked.tpr_at_most(0.09) == 0.0
    rates, found, _ = reference.roc_curve(synthetic, scores)
    assert ranked.tpr_nearest(0.09) == found[np.argmin(abs(rates - 0.09))]


@pytest.mark.parametrize("labels", [[True, True], [False, False]])
def test_one_class_only_is_an_error(labels: list[bool]) -> None:
    with pytest.raises(InputError, match="both natural and synthetic"):
        Ranked.of(np.array([0.1, 0.2]), np.array(labels))
    with pytest.raises(InputError, match="both natural and synthetic"):
        metrics.auroc(np.array([[0.1, 0.2]]), np.array(labels))


def test_nan_scores_are_an_error() -> None:
    with pytest.raises(InputError, match="NaN"):
        metrics.auroc(np.array([[0.1, np.nan]]), np.array([True, False]))


@pytest.mark.parametrize("ties", [False, True])
def test_auroc_without_the_support_equals_the_auroc_of_the_rest(ties: bool) -> None:
    scores, synthetic = _scores(6, ties=ties)
    generator = np.random.default_rng(0)
    sides = [np.flatnonzero(synthetic == side) for side in (False, True)]
    out = np.stack([np.concatenate([generator.permutation(rows)[:4] for rows in sides]) for _ in scores])
    found = metrics.auroc_without(scores, synthetic, out)
    for trial, row in enumerate(scores):
        rest = np.setdiff1d(np.arange(90), out[trial])
        assert found[trial] == pytest.approx(reference.roc_auc_score(synthetic[rest], row[rest]), abs=1e-12)
