"""The contract that every head of the registry keeps, built-in or from another package."""

from typing import Any

import numpy as np
import pytest
from sklearn.utils.estimator_checks import check_estimator

from fewshot.heads.base import HEADS, Head

# Trained networks, in few steps; their own test files run scikit-learn's checks with a recipe that fits their toy data.
QUICK: dict[str, dict[str, Any]] = {
    "acm": {"steps": 30},
    "vib": {"steps": 20, "hidden": 16, "latent": 4, "learning_rate": 0.02},
}


def _head(name: str) -> Head:
    head: Head = HEADS.load(name)(**QUICK.get(name, {}))
    return head


def _support(seed: int = 0, *, images: int = 40, dimension: int = 12) -> tuple[np.ndarray[Any, Any], Any]:
    generator = np.random.default_rng(seed)
    synthetic = np.arange(images) % 2 == 1
    features = generator.normal(size=(images, dimension)).astype(np.float32)
    features[:, 0] += np.where(synthetic, 2.0, -2.0)
    return features, synthetic


@pytest.mark.parametrize("name", [name for name in HEADS.names() if name not in QUICK])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_head_passes_the_estimator_checks_of_scikit_learn(name: str) -> None:
    check_estimator(_head(name), on_skip=None)


@pytest.mark.parametrize("name", HEADS.names())
def test_id_file_and_class_are_the_same_name(name: str) -> None:
    head = HEADS.load(name)
    assert issubclass(head, Head)
    assert head.name == name
    assert head.__module__.rsplit(".", 1)[-1] == name.replace("-", "_")
    assert head.__name__ == "".join(part.title() for part in name.split("-"))


@pytest.mark.parametrize("name", HEADS.names())
def test_synthetic_images_score_higher_than_natural_ones(name: str) -> None:
    features, synthetic = _support()
    scores = _head(name).fit(features, synthetic.astype(int)).decision_function(features)
    assert scores.shape == (40,)
    assert scores.dtype == np.float64
    assert scores[synthetic].mean() > scores[~synthetic].mean()


@pytest.mark.parametrize("name", HEADS.names())
def test_all_draws_at_once_equal_one_fit_after_another(name: str) -> None:
    features, synthetic = _support(images=120)
    features = features.astype(np.float64)
    generator = np.random.default_rng(1)
    groups = [np.flatnonzero(synthetic == side) for side in (False, True)]
    supports = np.stack([np.concatenate([generator.permutation(rows)[:5] for rows in groups]) for _ in range(7)])
    head = _head(name)
    if "tol" in head.get_params():
        head.set_params(tol=1e-10)
    at_once = head.score_draws(features, synthetic, supports)
    one_by_one = head.score_draws_one_by_one(features, synthetic, supports)
    np.testing.assert_allclose(at_once, one_by_one, rtol=0, atol=2e-6)


@pytest.mark.parametrize("name", HEADS.names())
def test_constructor_only_stores(name: str) -> None:
    head = _head(name)
    assert vars(head) == head.get_params()
