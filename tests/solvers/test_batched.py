"""The batched engine against libsvm and against one problem at a time."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.svm import SVC

from fewshot.heads.knn import Knn
from fewshot.heads.prototype import Prototype
from fewshot.solvers import prepared_pool, tiles
from fewshot.solvers.batched import logistic_scores, neighbour_scores, prototype_scores, svm_scores
from fewshot.solvers.dual import solve_svm
from fewshot.solvers.not_solved import NotSolvedError
from fewshot.solvers.prepared_pool import PreparedPool, Supports
from fewshot.solvers.tiles import share_out, slices


def _supports(*, shots: int, signal: float = 1.0, offset: float = 0.0, images: int = 300, trials: int = 25) -> Supports:
    generator = np.random.default_rng(shots)
    synthetic = np.arange(images) % 2 == 1
    features = generator.normal(size=(images, 24)).astype(np.float32) + np.float32(offset)
    features[:, 0] += np.where(synthetic, signal, -signal)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    groups = [np.flatnonzero(~synthetic), np.flatnonzero(synthetic)]
    supports = [np.concatenate([generator.permutation(rows)[:shots] for rows in groups]) for _ in range(trials)]
    return Supports(features, synthetic, np.sort(np.array(supports), axis=1))


def _svc(supports: Supports, trial: int, **options: object) -> SVC:
    support = supports.rows[trial]
    model = SVC(**{"C": 1.0, "gamma": "scale", "tol": 1e-10, **options})
    return model.fit(supports.features[support], supports.synthetic[support])


@pytest.mark.parametrize(
    ("shots", "signal", "offset", "options"),
    [
        (1, 1.0, 0.0, {}),
        (10, 0.0, 0.0, {}),
        (10, 1.0, 0.0, {}),
        (10, 5.0, 3.0, {}),
        (10, 1.0, 0.0, {"C": 100.0}),
        (10, 1.0, 0.0, {"gamma": 400.0}),
        (40, 1.0, 1.0, {}),
    ],
)
def test_svm_decisions_equal_libsvm_solved_tightly(
    shots: int, signal: float, offset: float, options: dict[str, float]
) -> None:
    supports = _supports(shots=shots, signal=signal, offset=offset)
    scores = svm_scores(supports, **options)
    for trial in range(len(supports.rows)):
        expected = _svc(supports, trial, **options).decision_function(supports.features)
        np.testing.assert_allclose(scores[trial], expected, rtol=0, atol=1e-6)


def test_svm_in_single_precision_stays_within_a_millionth(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepared_pool, "EXACT_OPERATIONS", 0)
    supports = _supports(shots=10)
    scores = svm_scores(supports)
    assert scores.dtype == np.float32
    for trial in range(len(supports.rows)):
        expected = _svc(supports, trial).decision_function(supports.features)
        np.testing.assert_allclose(scores[trial], expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("C", [0.5, 1.0, 1000.0])
def test_dual_objective_equals_that_of_libsvm(C: float) -> None:
    supports = _supports(shots=8)
    kernels = np.stack([rbf_kernel(supports.features[rows].astype(float), gamma=2.0) for rows in supports.rows])
    solution = solve_svm(torch.from_numpy(kernels), supports.signs, C=C)
    for trial, kernel in enumerate(kernels):
        model = _svc(supports, trial, C=C, gamma=2.0)
        alpha = np.zeros(16)
        alpha[model.support_] = model.dual_coef_[0]
        expected = 0.5 * alpha @ kernel @ alpha - np.abs(alpha).sum()
        assert float(solution.objective[trial]) == pytest.approx(expected, abs=1e-6)
        weights = solution.weights[trial]
        assert float(weights.sum()) == pytest.approx(0, abs=1e-9)
        assert float((weights * supports.signs[trial]).min()) >= 0
        assert float(weights.abs().max()) <= C


def test_identical_support_images_are_solved() -> None:
    features = np.tile(np.eye(2, dtype=np.float32), (10, 1))
    supports = Supports(features, np.arange(20) % 2 == 1, np.array([[0, 2, 4, 1, 3, 5], [0, 2, 6, 7, 9, 11]]))
    scores = svm_scores(supports)
    expected = [_svc(supports, trial).decision_function(features) for trial in range(2)]
    np.testing.assert_allclose(scores, expected, atol=1e-6)


def test_small_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    supports = _supports(shots=5)
    whole = svm_scores(supports)
    monkeypatch.setattr(prepared_pool, "SUPPORT_BLOCK_BYTES", 1)
    for name in ("TABLE_BYTES", "PICKED_BYTES"):
        monkeypatch.setattr(tiles, name, 1)
    np.testing.assert_allclose(svm_scores(supports), whole, atol=1e-12)


def test_a_kernel_with_nan_is_not_solved_quietly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fewshot.solvers.dual.ROUNDS", 20)
    with pytest.raises(NotSolvedError, match="1 of 1"):
        solve_svm(torch.full((1, 2, 2), float("nan"), dtype=torch.float64), torch.tensor([[1.0, -1.0]]).double(), C=1.0)


@pytest.mark.parametrize("C", [0.1, 1.0, 100.0])
@pytest.mark.parametrize("shots", [1, 10])
def test_logistic_equals_scikit_learn_solved_tightly(shots: int, C: float) -> None:
    supports = _supports(shots=shots, offset=1.0)
    scores = logistic_scores(supports, C=C)
    exact = supports.features.astype(np.float64)
    for trial, rows in enumerate(supports.rows):
        model = LogisticRegression(C=C, tol=1e-12, max_iter=500, solver="newton-cholesky").fit(
            exact[rows], supports.synthetic[rows]
        )
        np.testing.assert_allclose(scores[trial], model.decision_function(exact), rtol=0, atol=5e-6)


def test_prototypes_equal_the_head_fitted_one_by_one() -> None:
    supports = _supports(shots=7, offset=0.5)
    exact = supports.features.astype(np.float64)  # single fits keep the type they are given
    expected = Prototype().score_draws_one_by_one(exact, supports.synthetic, supports.rows)
    np.testing.assert_allclose(prototype_scores(supports), expected, atol=1e-9)


@pytest.mark.parametrize("rule", ["legacy", "exponential"])
@pytest.mark.parametrize("k", [1, 3, 51])
def test_neighbours_equal_the_head_fitted_one_by_one(rule: str, k: int) -> None:
    supports = _supports(shots=7, offset=0.5)
    head = Knn(k=k, rule=rule)  # type: ignore[arg-type]
    temperature = 0.05 if rule == "legacy" else 0.07
    scores = neighbour_scores(supports, k=k, legacy=rule == "legacy", temperature=temperature)
    exact = supports.features.astype(np.float64)
    expected = head.score_draws_one_by_one(exact, supports.synthetic, supports.rows)
    np.testing.assert_allclose(scores, expected, atol=1e-9)


def test_several_pools_add_their_kernels_to_one_array_of_scores() -> None:
    supports, other = _supports(shots=5, offset=0.5), _supports(shots=5, signal=3.0)
    weights = torch.from_numpy(np.random.default_rng(0).normal(size=supports.rows.shape))
    found = torch.zeros((len(supports.rows), len(supports.features)), dtype=torch.float64)
    expected = np.zeros(found.shape)
    for features, gamma in ((supports.features, 0.7), (other.features, 2000.0)):  # the larger one leaves no split
        pool = PreparedPool.of(Supports(features, supports.synthetic, supports.rows))
        pool.add_rbf_scores(found, pool.gammas(gamma), weights)
        exact = features.astype(np.float64)
        for trial, rows in enumerate(supports.rows):
            expected[trial] += weights[trial].numpy() @ rbf_kernel(exact[rows], exact, gamma=gamma)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-10)


def test_threads_share_every_block_once_and_leave_the_number_of_threads_as_it_was() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        seen = torch.zeros(1001, dtype=torch.int64)
        inside: list[int] = []

        def work(part: slice) -> None:
            seen[part] += 1
            inside.append(torch.get_num_threads())

        share_out(slices(1001, 10), lambda: work, seen.device)
        assert bool((seen == 1).all())
        assert set(inside) == {1}
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_an_error_in_a_thread_reaches_the_caller_and_the_number_of_threads_is_put_back() -> None:
    before = torch.get_num_threads()
    with pytest.raises(ZeroDivisionError):
        share_out(slices(100, 10), lambda: lambda part: part.start // 0, torch.device("cpu"))
    assert torch.get_num_threads() == before


def test_one_thread_and_several_give_equal_scores() -> None:
    supports, before = _supports(shots=5, images=700), torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = [score(supports) for score in (svm_scores, logistic_scores, prototype_scores)]
        torch.set_num_threads(3)
        shared = [score(supports) for score in (svm_scores, logistic_scores, prototype_scores)]
    finally:
        torch.set_num_threads(before)
    for one, several in zip(alone, shared, strict=True):
        np.testing.assert_allclose(several, one, rtol=0, atol=1e-12)
