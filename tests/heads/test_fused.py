"""Fused kernels and stacked scores against a loop written out, their parts, states and refusals."""

from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score
from sklearn.svm import SVC

from fewshot.core.errors import OptionError, UnknownNameError, WeightsError
from fewshot.heads import state as saved
from fewshot.heads.base import Head
from fewshot.heads.fused import Fused
from fewshot.heads.stacked import Stacked
from fewshot.heads.state import HeadState
from fewshot.heads.svm import Svm

WIDTHS = (6, 12, 3)
COLUMNS = (slice(0, 6), slice(6, 18), slice(18, 21))
SYNTHETIC = np.arange(60) % 2 == 1
LABELS = SYNTHETIC.astype(int)
_NOISE = np.random.default_rng(0).normal(size=(60, 21))
FEATURES = _NOISE + np.where(SYNTHETIC, 1.0, -1.0)[:, None] * np.repeat([0.7, 0.0, 0.5], WIDTHS)
SUPPORTS = np.array([[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11], [59, 20, 22, 24, 31, 33, 35, 26, 28, 30, 37, 39]])
UNEVEN = np.array(
    [[0, 1, 2, 3, 4, 5, 6, 7, 8], [20, 21, 23, 25, 27, 22, 24, 26, 29], [40, 41, 42, 44, 46, 48, 43, 45, 50]]
)


def kernel(rows: Any, vectors: Any, support: Any) -> Any:
    """RBF kernel by a loop, the width of the support's own entries."""
    gamma = 1 / (support.shape[1] * support.var())
    return np.array([[np.exp(-gamma * ((row - vector) ** 2).sum()) for vector in vectors] for row in rows])


@pytest.mark.parametrize("weigh", ["alignment", "auroc", "uniform"])
@pytest.mark.parametrize("kind", [Fused, Stacked])
def test_all_draws_at_once_equal_one_fit_after_another_over_several_blocks(kind: type[Any], weigh: str) -> None:
    for supports in (SUPPORTS, UNEVEN):
        head = kind(WIDTHS, weigh=weigh)
        at_once = head.score_draws(FEATURES, SYNTHETIC, supports)
        one_by_one = head.score_draws_one_by_one(FEATURES, SYNTHETIC, supports)
        np.testing.assert_allclose(at_once, one_by_one, rtol=0, atol=5e-6)
        each = [head.unfitted().fit(FEATURES[rows], LABELS[rows]).weights_ for rows in supports]
        np.testing.assert_allclose(head.draw_weights(FEATURES, SYNTHETIC, supports), each, rtol=0, atol=1e-6)


def test_fused_scores_are_those_of_one_machine_on_the_weighted_sum_of_kernels() -> None:
    support = SUPPORTS[0]
    head = Fused(WIDTHS).fit(FEATURES[support], LABELS[support])

    total: Any = sum(
        weight * kernel(FEATURES[:, block], FEATURES[support][:, block], FEATURES[support][:, block])
        for weight, block in zip(head.coefficients_, COLUMNS, strict=True)
    )
    machine = SVC(C=1, kernel="precomputed", tol=1e-10).fit(total[support], LABELS[support])

    assert head.weights_.sum() == pytest.approx(1)
    spread = [
        kernel(rows, rows, rows)[~np.eye(12, dtype=bool)].std() for rows in (FEATURES[support][:, b] for b in COLUMNS)
    ]
    np.testing.assert_allclose(head.coefficients_, (head.weights_ / spread) / (head.weights_ / spread).sum())
    np.testing.assert_allclose(head.decision_function(FEATURES), machine.decision_function(total), rtol=0, atol=1e-8)


def test_fused_of_a_single_block_is_the_svm() -> None:
    for widths in ((), (21,)):
        fused = Fused(widths).fit(FEATURES[:20], LABELS[:20])
        expected = Svm(tol=1e-10).fit(FEATURES[:20], LABELS[:20]).decision_function(FEATURES)
        np.testing.assert_allclose(fused.decision_function(FEATURES), expected, rtol=0, atol=1e-8)
        assert fused.weights_.tolist() == [1.0]


@pytest.mark.parametrize("base", ["svm", "linear-svm", "logistic", "lda", "ridge"])
def test_stacked_scores_are_weighted_scores_of_the_base_head_and_its_parts_add_up(base: str) -> None:
    head = Stacked(WIDTHS, base=base).fit(FEATURES[:20], LABELS[:20])
    scores = head.decision_function(FEATURES)
    alone = [part.decision_function(FEATURES[:, block]) for part, block in zip(head.heads_, COLUMNS, strict=True)]
    np.testing.assert_allclose(scores, head.slopes_ @ np.array(alone) + head.offset_, rtol=1e-12)
    _require_parts_add_up(head, scores)


def test_fused_parts_add_up() -> None:
    head = Fused(WIDTHS).fit(FEATURES[:20], LABELS[:20])
    _require_parts_add_up(head, head.decision_function(FEATURES))


def _require_parts_add_up(head: Any, scores: Any) -> None:
    parts = [Head.from_state(saved.from_bytes(saved.to_bytes(part))) for part in head.parts()]
    each = [part.decision_function(FEATURES[:, block]) for part, block in zip(parts, COLUMNS, strict=True)]
    np.testing.assert_allclose(sum(each), scores, rtol=0, atol=1e-11)


def test_stacked_probabilities_are_near_the_share_of_synthetic_images_with_that_score() -> None:
    generator = np.random.default_rng(7)
    synthetic = np.arange(4000) % 2 == 1
    features = generator.normal(size=(4000, 6)) + np.where(synthetic, 0.35, -0.35)[:, None]
    head = Stacked((2, 2, 2)).fit(features[:200], synthetic[:200].astype(int))
    probabilities = head.probabilities(features[200:])
    for low, high in ((0.05, 0.35), (0.35, 0.65), (0.65, 0.95)):
        chosen = (probabilities > low) & (probabilities <= high)
        assert abs(probabilities[chosen].mean() - synthetic[200:][chosen].mean()) < 0.07


@pytest.mark.parametrize("head", [Fused(WIDTHS), Stacked(WIDTHS), Stacked(WIDTHS, base="knn")], ids=str)
def test_several_blocks_read_back_from_their_bytes_score_bit_by_bit_the_same(head: Any) -> None:
    fitted = head.unfitted().fit(FEATURES[:20].astype(np.float32), LABELS[:20])
    again: Any = Head.from_state(saved.from_bytes(saved.to_bytes(fitted.state())))
    for query in (FEATURES, FEATURES.astype(np.float32)):
        assert np.array_equal(again.decision_function(query), fitted.decision_function(query))
    assert np.array_equal(again.weights_, fitted.weights_)
    assert again.get_params() == fitted.get_params()
    assert saved.to_bytes(again.state()) == saved.to_bytes(fitted.state())


@pytest.mark.parametrize("kind", [Fused, Stacked])
def test_a_block_that_does_not_vary_gets_no_weight_and_one_shot_weighs_alike(kind: type[Any]) -> None:
    features = FEATURES.copy()
    features[:, COLUMNS[1]] = 0.25
    assert kind(WIDTHS).fit(features[:20], LABELS[:20]).weights_[1] == 0
    assert kind(WIDTHS, weigh="auroc").fit(features[:20], LABELS[:20]).weights_[1] == 0
    one = kind(WIDTHS).fit(FEATURES[:2], LABELS[:2])
    np.testing.assert_allclose(one.weights_, np.full(3, 1 / 3))
    assert roc_auc_score(LABELS, one.decision_function(FEATURES)) > 0.5


def test_widths_bases_and_ways_that_do_not_fit_are_refused() -> None:
    for widths in ((6, 12), (21, 0), (22, -1)):
        with pytest.raises(OptionError, match=r"the features have 21; give the dimension of every block"):
            Fused(widths).fit(FEATURES[:20], LABELS[:20])
    with pytest.raises(UnknownNameError, match="there is no way of weighing backbones 'aurocs'"):
        Fused(WIDTHS, weigh="aurocs").fit(FEATURES[:20], LABELS[:20])  # type: ignore[arg-type]
    with pytest.raises(UnknownNameError, match="there is no gamma 'scales'"):
        Fused(WIDTHS, gamma="scales").fit(FEATURES[:20], LABELS[:20])
    with pytest.raises(OptionError, match="the base of stacked scores is 'stacked' itself"):
        Stacked(WIDTHS, base="stacked").fit(FEATURES[:20], LABELS[:20])
    with pytest.raises(OptionError, match=r"the head 'minder' looks at clean, .*, and a block is one view"):
        Stacked(WIDTHS, base="minder").fit(FEATURES[:20], LABELS[:20])
    with pytest.raises(OptionError, match="the scores of the head 'knn' cannot be scaled; stack one of svm"):
        Stacked(WIDTHS, base="knn").fit(FEATURES[:20], LABELS[:20]).parts()


@pytest.mark.parametrize("kind", [Fused, Stacked])
def test_a_state_whose_widths_are_not_its_features_is_refused(kind: type[Any]) -> None:
    state = kind(WIDTHS).fit(FEATURES[:20], LABELS[:20]).state()
    parameters = {**state.settings["parameters"], "widths": [6, 12]}
    with pytest.raises(WeightsError, match=r"cannot be used: widths=\(6, 12\) has 18 columns"):
        Head.from_state(HeadState(state.arrays, {**state.settings, "parameters": parameters}))
