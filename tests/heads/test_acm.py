"""The ACM head on features whose answer is known (mechanism tests, synthetic features)."""

import math
import warnings
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score
from sklearn.utils.estimator_checks import check_estimator

from fewshot.core.errors import DeviceError, EpisodeError, UnknownNameError
from fewshot.heads.acm import Acm
from fewshot.heads.base import Head
from fewshot.heads.state import from_bytes, to_bytes

Array = NDArray[np.float32]

D, RANK, TRAIN, HELD = 96, 8, 500, 500
SMALL: dict[str, Any] = {"widths": (96,), "latent": 16, "steps": 500, "learning_rate": 1e-3}


def subspace_rows(count: int, *, outside: float, seed: int, subspace: int = 0) -> Array:
    """Gaussian rows (count, D): mean 0, total variance RANK, ``outside`` of it isotropic, the rest of rank RANK."""
    basis = np.linalg.qr(np.random.default_rng(subspace).normal(size=(D, RANK)))[0]
    generator = np.random.default_rng([seed, 99])
    inside = generator.normal(size=(count, RANK)) @ basis.T * math.sqrt(1 - outside)
    everywhere = generator.normal(size=(count, D)) * math.sqrt(outside * RANK / D)
    return np.asarray(inside + everywhere, dtype=np.float32)


def two_sets(natural: tuple[float, int], synthetic: tuple[float, int]) -> tuple[Array, Array, NDArray[np.int64]]:
    """Train and held-out features of two classes, each (outside, subspace); labels are the same for both sets."""
    (a, b), (c, d) = natural, synthetic
    sets = []
    for offset, count in ((0, TRAIN), (1, HELD)):
        sets.append(
            np.concatenate(
                [
                    subspace_rows(count, outside=a, subspace=b, seed=10 + offset),
                    subspace_rows(count, outside=c, subspace=d, seed=20 + offset),
                ]
            )
        )
    return sets[0], sets[1], np.repeat([0, 1], TRAIN)


def deviation_auroc(head: Acm, held: Array) -> float:
    """AUROC of the mean deviation for "not of the fitted class"."""
    other = np.repeat([head.fit_on == "synthetic", head.fit_on == "natural"], HELD)
    return float(roc_auc_score(other, head.deviation(held).mean(axis=1)))


def test_deviation_separates_more_the_more_energy_lies_outside_the_subspace() -> None:
    found = []
    for outside in (0.02, 0.04, 0.10, 0.5):
        train, held, labels = two_sets((0.02, 0), (outside, 0))
        found.append(deviation_auroc(Acm(**SMALL).fit(train, labels), held))
    assert found[0] == pytest.approx(0.5, abs=3 / math.sqrt(6 * HELD))  # equal distributions: the null's deviation
    assert found == sorted(found)
    assert found[-1] > 0.999


def test_either_class_can_be_the_fitted_one() -> None:
    train, held, labels = two_sets((0.05, 0), (0.05, 1))
    for fit_on in ("natural", "synthetic"):
        head = Acm(fit_on=fit_on, **SMALL).fit(train, labels)
        assert deviation_auroc(head, held) > 0.99
        assert roc_auc_score(labels, head.decision_function(held)) > 0.99


def test_swapped_labels_give_the_same_separation() -> None:
    train, held, labels = two_sets((0.02, 0), (0.1, 0))
    one = Acm(fit_on="natural", **SMALL).fit(train, labels)
    other = Acm(fit_on="synthetic", **SMALL).fit(train, 1 - labels)
    assert roc_auc_score(1 - labels, other.decision_function(held)) == pytest.approx(
        roc_auc_score(labels, one.decision_function(held)), abs=0.01
    )


def test_identical_distributions_stay_at_chance() -> None:
    train, held, labels = two_sets((0.1, 0), (0.1, 0))
    scores = Acm(**SMALL).fit(train, labels).decision_function(held)
    chance = math.sqrt((2 * HELD + 1) / (12 * HELD * HELD))  # deviation of the AUROC of two equal samples
    assert abs(roc_auc_score(labels, scores) - 0.5) < 3 * chance


@pytest.mark.slow
def test_a_bottleneck_as_wide_as_the_features_separates_nothing() -> None:
    train, held, labels = two_sets((0.1, 0), (0.5, 0))
    narrow = Acm(**{**SMALL, "widths": ()}).fit(train, labels)
    wide = Acm(**{**SMALL, "widths": (), "latent": D, "steps": 3000}).fit(train, labels)
    assert deviation_auroc(narrow, held) > 0.99
    assert wide.deviation(held).mean() < 0.02 * narrow.deviation(held).mean()
    assert deviation_auroc(wide, held) == pytest.approx(0.5, abs=0.06)


def test_deviation_is_the_absolute_residual_and_the_score_its_logit() -> None:
    train, held, labels = two_sets((0.02, 0), (0.2, 0))
    head = Acm(**{**SMALL, "steps": 20}).fit(train, labels)
    hidden = held
    assert head.trained_.autoencoder is not None
    for (weight, bias), relu in zip(head.trained_.autoencoder.layers(0), (True, False, True, False), strict=True):
        hidden = hidden @ weight.numpy() + bias.numpy()
        hidden = np.maximum(hidden, 0) if relu else hidden
    weight, bias = head.trained_.classifier.layers(0)[0]

    np.testing.assert_allclose(head.deviation(held), np.abs(held - hidden), atol=1e-5)
    logits = np.abs(held - hidden) @ weight[:, 0].numpy() + bias.item()
    np.testing.assert_allclose(head.decision_function(held), logits, atol=1e-4)
    np.testing.assert_allclose(head.predict_proba(held)[:, 1], 1 / (1 + np.exp(-logits)), atol=1e-4)


def test_equal_seeds_give_equal_models_and_others_do_not() -> None:
    train, held, labels = two_sets((0.02, 0), (0.2, 0))
    brief: dict[str, Any] = {**SMALL, "steps": 20}
    first, again, other = (
        Acm(**brief, random_state=seed).fit(train, labels).decision_function(held) for seed in (1, 1, 2)
    )
    assert np.array_equal(first, again)
    assert not np.allclose(first, other)


@pytest.mark.slow
def test_the_estimator_passes_the_checks_of_scikit_learn() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = check_estimator(Acm(steps=200, learning_rate=1e-3), on_fail=None)
    assert len(results) > 40
    assert [entry["check_name"] for entry in results if entry["status"] == "failed"] == []


def test_an_mlp_classifier_and_a_validation_share_can_be_chosen() -> None:
    train, held, labels = two_sets((0.02, 0), (0.2, 0))
    head = Acm(classifier="mlp", validation=0.2, **SMALL).fit(train, labels)
    assert roc_auc_score(labels, head.decision_function(held)) > 0.95


def test_a_head_trained_on_a_gpu_scores_without_one() -> None:
    train, held, labels = two_sets((0.02, 0), (0.2, 0))
    head = Acm(**{**SMALL, "steps": 20}).fit(train, labels)
    scores = Head.from_state(head.set_params(device="cuda:99").state()).decision_function(held)
    assert np.array_equal(scores, head.decision_function(held))


def test_choices_that_cannot_be_used_are_refused() -> None:
    train, _, labels = two_sets((0.02, 0), (0.2, 0))
    with pytest.raises(UnknownNameError, match="no class to fit on 'fake'"):
        Acm(fit_on="fake").fit(train, labels)  # type: ignore[arg-type]
    with pytest.raises(EpisodeError, match="a class has 1 images"):
        Acm(validation=0.5).fit(train[[0, -1]], labels[[0, -1]])
    with pytest.raises(DeviceError, match="--device cuda:99: "):
        Acm(device="cuda:99").fit(train, labels)
    with pytest.raises(ValueError, match="found 1 class"):
        Acm().fit(train, np.zeros(len(train)))


def test_a_head_read_back_deviates_and_scores_the_same_whatever_its_layers() -> None:
    train, held, labels = two_sets((0.02, 0), (0.2, 0))
    for options in ({}, {"classifier": "mlp", "widths": (), "schedule": "two-stage"}, {"widths": (48, 24)}):
        head = Acm(**{**SMALL, "steps": 20, **options}).fit(train, labels)
        again = Head.from_state(from_bytes(to_bytes(head.state())))
        assert isinstance(again, Acm)
        assert np.array_equal(again.decision_function(held), head.decision_function(held))
        assert np.array_equal(again.deviation(held), head.deviation(held))
        assert again.widths == head.widths
        assert again.trained_.kept_step == head.trained_.kept_step
        assert np.array_equal(again.trained_.attribution_loss, head.trained_.attribution_loss)
