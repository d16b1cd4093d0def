"""The contract that every head of the registry keeps, built-in or from another package."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.utils.estimator_checks import check_estimator

from fewshot.core.errors import WeightsError
from fewshot.heads import state as saved
from fewshot.heads.base import HEADS, Head
from fewshot.heads.state import HeadState

# Trained networks, in few steps; their own test files run scikit-learn's checks with a recipe that fits their toy data.
QUICK: dict[str, dict[str, Any]] = {
    "acm": {"steps": 30},
    "route": {
        "width": 16,
        "segments": 4,
        "hidden": 12,
        "embedding": 8,
        "epochs": 2,
        "pretraining_steps": 30,
        "pretraining_learning_rate": 1e-2,
    },
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
@pytest.mark.filterwarnings("ignore:Estimator .* does not inherit from `sklearn.base.BaseEstimator`")  # decision 0008
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
    head = _head(name).converged()
    at_once = head.score_draws(features, synthetic, supports)
    one_by_one = head.score_draws_one_by_one(features, synthetic, supports)
    np.testing.assert_allclose(at_once, one_by_one, rtol=0, atol=2e-6)


@pytest.mark.parametrize("name", HEADS.names())
def test_constructor_only_stores(name: str) -> None:
    head = _head(name)
    assert vars(head) == head.get_params()


@pytest.mark.parametrize("precision", [np.float32, np.float64])
@pytest.mark.parametrize("name", HEADS.names())
def test_head_read_back_from_its_bytes_scores_bit_by_bit_the_same(name: str, precision: Any) -> None:
    features, synthetic = _support()
    queries: Any = np.random.default_rng(5).normal(size=(101, 12)).astype(precision)
    head = _head(name).fit(features.astype(precision), synthetic.astype(int))

    again = Head.from_state(saved.from_bytes(saved.to_bytes(head.state())))

    assert type(again) is type(head)
    assert again is not head
    assert np.array_equal(again.decision_function(queries), head.decision_function(queries))
    assert np.array_equal(again.predict(queries), head.predict(queries))
    assert np.array_equal(again.classes_, head.classes_)
    assert again.get_params() == head.get_params()
    assert saved.to_bytes(again.state()) == saved.to_bytes(head.state())


def test_heads_read_back_in_another_process_score_bit_by_bit_the_same(tmp_path: Path) -> None:
    features, synthetic = _support()
    queries = np.random.default_rng(5).normal(size=(101, 12)).astype(np.float32)
    np.save(tmp_path / "queries.npy", queries)
    for name in HEADS.names():
        head = _head(name).fit(features, synthetic.astype(int))
        saved.write(head.state(), tmp_path / f"{name}.safetensors")
        np.save(tmp_path / f"{name}.npy", head.decision_function(queries))
    code = """
import sys
from pathlib import Path
import numpy as np
from fewshot.heads.base import Head
from fewshot.heads.state import read

folder = Path(sys.argv[1])
queries = np.load(folder / "queries.npy")
for path in sorted(folder.glob("*.safetensors")):
    scores = Head.from_state(read(path)).decision_function(queries)
    assert np.array_equal(scores, np.load(path.with_suffix(".npy"))), path.stem
print(len(list(folder.glob("*.safetensors"))))
"""
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == len(HEADS.names())


def test_module_of_a_head_loads_no_scikit_learn_and_no_torch_where_it_does_not_train_by_it() -> None:
    by_torch = set(QUICK)
    code = """
import sys
from fewshot.heads.base import HEADS
for name in sys.argv[1:]:
    HEADS.load(name)
print(sorted({"sklearn", "scipy", "pandas", "torch"} & set(sys.modules)))
"""
    for names, loaded in ((set(HEADS.names()) - by_torch, "[]"), (by_torch, "['torch']")):
        done = subprocess.run([sys.executable, "-c", code, *sorted(names)], capture_output=True, text=True)
        assert done.stdout.strip() == loaded, done.stderr


@pytest.mark.parametrize("name", HEADS.names())
def test_one_image_is_prepared_as_it_is_in_a_store(name: str) -> None:
    generator = np.random.default_rng(3)
    head = _head(name)
    views = {view: generator.normal(size=(9, 12)).astype(np.float32) for view in head.views}

    whole = head.prepare(views, normalised=False)
    alone = [head.prepare({view: rows[[row]] for view, rows in views.items()}, normalised=False) for row in range(9)]

    assert np.array_equal(whole, np.concatenate(alone))


@pytest.mark.parametrize("name", HEADS.names())
def test_a_copy_has_the_parameters_and_nothing_learned(name: str) -> None:
    features, synthetic = _support()
    head = _head(name).fit(features, synthetic.astype(int))
    for copy in (head.unfitted(), clone(head)):
        assert vars(copy) == head.get_params()


@pytest.mark.parametrize("name", HEADS.names())
def test_an_array_that_is_missing_misshapen_or_not_finite_is_named(name: str) -> None:
    features, synthetic = _support()
    state = _head(name).fit(features, synthetic.astype(int)).state()
    for key, array in state.arrays.items():
        without = {other: value for other, value in state.arrays.items() if other != key}
        broken: dict[str, dict[str, Any]] = {
            f"lacks the array '{key}'": without,
            f"has the array '{key}' of shape": {**without, key: np.zeros((*array.shape, 2), array.dtype)},
        }
        if array.dtype.kind == "f" and array.size:
            broken[f"has NaN or infinite values in the array '{key}'"] = {**without, key: np.full_like(array, np.nan)}
        for message, arrays in broken.items():
            with pytest.raises(WeightsError, match=re.escape(f"the saved head '{name}' {message}")):
                Head.from_state(HeadState(arrays, state.settings))
