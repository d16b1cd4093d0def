"""Conformal p-values of the nearest score: right by hand, and right by simulation."""

from pathlib import Path

import numpy as np
import pytest

from fewshot.core.errors import OptionError
from fewshot.embeddings.search.index import SourceIndex
from fewshot.embeddings.search.openset import KnownScores, known_scores
from tests.embeddings.search.test_index import gaussian, store_of


def test_p_values_count_the_known_scores_at_or_below() -> None:
    known = KnownScores(np.array([0.1, 0.2, 0.2, 0.4]))
    assert known.p_values(np.array([0.05, 0.1, 0.2, 0.3, 0.9])).tolist() == [1 / 5, 2 / 5, 4 / 5, 4 / 5, 1.0]


@pytest.mark.parametrize("rate", [0.01, 0.05, 0.1, 0.2, 0.25, 0.5, 0.9])
@pytest.mark.parametrize("rows", [1, 3, 4, 19, 20, 99])
def test_unknown_by_threshold_is_unknown_by_p_value(rate: float, rows: int) -> None:
    scores = np.sort(np.random.default_rng([rows, 1]).integers(0, 30, rows)).astype(np.float64)
    known = KnownScores(scores)
    queries = np.arange(-1, 32) / np.float32(1)
    np.testing.assert_array_equal(known.unknown(queries, rate=rate), known.p_values(queries) <= rate + 1e-9)


def test_too_few_rows_call_nothing_unknown() -> None:
    known = KnownScores(np.arange(18.0))
    assert known.threshold(0.05) == -np.inf
    assert not known.unknown(np.array([-100.0]), rate=0.05).any()
    assert KnownScores(np.arange(19.0)).threshold(0.05) == 0.0


@pytest.mark.parametrize("rate", [0.0, 1.0, -0.1, 5.0])
def test_a_rate_that_is_no_share_is_refused(rate: float) -> None:
    with pytest.raises(OptionError, match=f"not {rate}"):
        KnownScores(np.arange(9.0)).threshold(rate)


def test_leave_one_out_scores_are_those_of_numpy(tmp_path: Path) -> None:
    rows = gaussian(40, 6, 1)
    found = known_scores(SourceIndex(store_of(tmp_path, rows), metric="l2"))
    distances = np.linalg.norm(rows[:, None].astype(np.float64) - rows[None], axis=2)
    np.fill_diagonal(distances, np.inf)
    np.testing.assert_allclose(found.scores, np.sort(-distances.min(axis=1)), rtol=1e-6)


def test_a_sample_of_the_rows_is_scored_against_all_of_them(tmp_path: Path) -> None:
    index = SourceIndex(store_of(tmp_path, gaussian(60, 4, 2)))
    every, some = known_scores(index), known_scores(index, sample=25, seed=3)
    assert len(some.scores) == 25
    assert np.isin(some.scores, every.scores).all()


def nearest_scores(rows: np.ndarray, queries: np.ndarray) -> np.ndarray:
    return np.asarray(-np.linalg.norm(queries[:, None] - rows[None], axis=2).min(axis=1))


def leave_one_out(rows: np.ndarray) -> np.ndarray:
    distances = np.linalg.norm(rows[:, None] - rows[None], axis=2)
    np.fill_diagonal(distances, np.inf)
    return np.sort(-distances.min(axis=1))


def test_leave_one_out_p_values_are_those_of_full_conformal_prediction() -> None:
    generator = np.random.default_rng(5)
    for _ in range(200):
        bag = generator.normal(size=(12, 2))
        distances = np.linalg.norm(bag[:, None] - bag[None], axis=2)
        np.fill_diagonal(distances, np.inf)
        full = -distances.min(axis=1)
        by_definition = (full <= full[-1]).sum() / 12
        known = KnownScores(leave_one_out(bag[:-1]))
        assert known.p_values(full[-1:])[0] == pytest.approx(by_definition)


def test_the_false_unknown_rate_stays_within_its_binomial_band() -> None:
    """Sources drawn alike, images drawn alike within them; every repetition has a store and one query of its own."""
    generator = np.random.default_rng(11)
    repetitions, rate, false_unknown, found_unknown = 3000, 0.05, 0, 0
    for _ in range(repetitions):
        centres = 4 * generator.normal(size=(5, 3))
        rows = np.repeat(centres, 12, axis=0) + generator.normal(size=(60, 3))
        query = centres[generator.integers(5)] + generator.normal(size=3)
        stranger = 4 * generator.normal(size=3) + generator.normal(size=3)
        known = KnownScores(leave_one_out(rows))
        unknown = known.unknown(nearest_scores(rows, np.stack([query, stranger])), rate=rate)
        false_unknown += int(unknown[0])
        found_unknown += int(unknown[1])
    exact = np.floor(rate * 61) / 61  # 60 rows: p-values are multiples of 1/61
    spread = 3 * np.sqrt(exact * (1 - exact) / repetitions)
    assert abs(false_unknown / repetitions - exact) < spread
    assert false_unknown / repetitions <= rate + spread
    assert found_unknown > 3 * false_unknown
