"""The exact index against NumPy brute force, on random and on adversarial rows."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fewshot.core.arrays import unit_rows
from fewshot.core.errors import InputError, OptionError, UnknownNameError
from fewshot.embeddings.search.index import SourceIndex
from fewshot.embeddings.search.query import rows_sharing
from fewshot.embeddings.store.writer import LayerData, write_store


def store_of(
    folder: Path, features: np.ndarray, *, normalised: bool = False, present: np.ndarray | None = None
) -> Path:
    rows = len(features)
    samples = pd.DataFrame(
        {
            "key": [f"{row}.png" for row in range(rows)],
            "id": [f"pixels-{row}" for row in range(rows)],
            "source": [f"source-{row % 3}" for row in range(rows)],
            "synthetic": [row % 3 > 0 for row in range(rows)],
        }
    )
    layer = LayerData(
        "net", "pooled", features.astype(np.float32), normalised=normalised, present=present, default=True
    )
    write_store(folder / "store.h5", samples, [layer])
    return folder / "store.h5"


def brute_force(rows: np.ndarray, queries: np.ndarray, *, metric: str, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Scores in double precision, by score descending, then row ascending."""
    if metric == "cosine":
        rows, queries = unit_rows(rows, what="rows"), unit_rows(queries, what="queries")
    wide, asked = rows.astype(np.float64), queries.astype(np.float64)
    if metric == "l2":
        exact = -np.sqrt(((asked[:, None, :] - wide[None, :, :]) ** 2).sum(axis=2))
    else:
        exact = (asked[:, None, :] * wide[None, :, :]).sum(axis=2)
    if metric == "cosine":
        exact /= np.sqrt((asked**2).sum(axis=1))[:, None] * np.sqrt((wide**2).sum(axis=1))
    order = np.array([sorted(range(len(rows)), key=lambda row: (-line[row], row))[:k] for line in exact])
    return np.take_along_axis(exact, order, 1), order


def gaussian(rows: int, dimension: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(rows, dimension)).astype(np.float32)


@pytest.mark.parametrize("metric", ["cosine", "ip", "l2"])
def test_random_rows_give_the_ids_and_scores_of_brute_force(tmp_path: Path, metric: str) -> None:
    rows, queries = gaussian(1500, 48, 1), gaussian(60, 48, 2)
    found = SourceIndex(store_of(tmp_path, rows), metric=metric).nearest(queries, k=7)  # type: ignore[arg-type]
    scores, order = brute_force(rows, queries, metric=metric, k=7)
    np.testing.assert_array_equal(found.rows, order)
    np.testing.assert_allclose(found.scores, scores, rtol=1e-13, atol=1e-13)
    np.testing.assert_array_equal(found.sources[0], [f"source-{row % 3}" for row in order[0]])


@pytest.mark.parametrize("metric", ["cosine", "ip", "l2"])
def test_duplicates_come_in_ascending_row_order_even_where_they_outnumber_the_candidates(
    tmp_path: Path, metric: str
) -> None:
    distinct = gaussian(8, 33, 3)
    rows = distinct[np.random.default_rng(4).integers(0, 8, 900)]
    queries = np.concatenate([distinct, distinct + 1e-3 * gaussian(8, 33, 5), gaussian(30, 33, 6)])
    found = SourceIndex(store_of(tmp_path, rows), metric=metric).nearest(queries, k=150)  # type: ignore[arg-type]
    scores, order = brute_force(rows, queries, metric=metric, k=150)
    np.testing.assert_array_equal(found.rows, order)
    np.testing.assert_allclose(found.scores, scores, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("metric", ["ip", "l2"])
def test_rows_nearer_than_float32_sums_can_tell_are_still_ranked_exactly(tmp_path: Path, metric: str) -> None:
    rows = np.float32(100) + gaussian(700, 64, 7) * np.float32(1e-3)
    queries = np.float32(100) + gaussian(25, 64, 8) * np.float32(1e-3)
    found = SourceIndex(store_of(tmp_path, rows), metric=metric).nearest(queries, k=5)  # type: ignore[arg-type]
    scores, order = brute_force(rows, queries, metric=metric, k=5)
    np.testing.assert_array_equal(found.rows, order)
    np.testing.assert_allclose(found.scores, scores, rtol=1e-13, atol=1e-13)


def test_cosines_that_float32_cannot_tell_from_one_are_still_ranked(tmp_path: Path) -> None:
    rows = np.float32(1) + gaussian(400, 64, 30) * np.float32(1e-4)
    queries = np.float32(1) + gaussian(20, 64, 31) * np.float32(1e-4)
    found = SourceIndex(store_of(tmp_path, rows)).nearest(queries, k=5)
    wide, asked = (part.astype(np.float64) for part in (rows, queries))
    wide, asked = (part / np.linalg.norm(part, axis=1, keepdims=True) for part in (wide, asked))
    nearness = -((asked[:, None] - wide) ** 2).sum(axis=2)  # orders as the cosine does, and loses no digits
    assert len(np.unique((asked @ wide.T).astype(np.float32))) < 4
    agreed = np.mean(found.rows == np.argsort(-nearness, axis=1)[:, :5])
    assert agreed > 0.97  # rows are stored as float32, which moves their direction by 1e-8


@pytest.mark.parametrize("metric", ["ip", "l2"])
def test_zero_vectors_are_rows_like_others_where_they_have_a_score(tmp_path: Path, metric: str) -> None:
    rows = np.concatenate([np.zeros((3, 4), np.float32), gaussian(5, 4, 9), np.zeros((2, 4), np.float32)])
    queries = np.zeros((2, 4), np.float32)
    found = SourceIndex(store_of(tmp_path, rows), metric=metric).nearest(queries, k=10)  # type: ignore[arg-type]
    scores, order = brute_force(rows, queries, metric=metric, k=10)
    np.testing.assert_array_equal(found.rows, order)
    np.testing.assert_allclose(found.scores, scores, rtol=1e-13, atol=1e-13)


def test_zero_vectors_under_cosine_are_refused_with_their_row(tmp_path: Path) -> None:
    rows = gaussian(6, 4, 10)
    rows[4] = 0
    with pytest.raises(InputError, match="row 4 is a zero vector"):
        SourceIndex(store_of(tmp_path, rows))
    rows[4] = 1
    with pytest.raises(InputError, match="queries: row 1 is a zero vector"):
        SourceIndex(store_of(tmp_path, rows)).nearest(np.array([[1, 0, 0, 0], [0, 0, 0, 0]]))


def test_one_row_is_the_neighbour_of_everything_and_k_is_clamped(tmp_path: Path) -> None:
    found = SourceIndex(store_of(tmp_path, gaussian(1, 4, 11))).nearest(gaussian(3, 4, 12), k=5)
    assert found.rows.tolist() == [[0], [0], [0]]
    assert found.sources.tolist() == [["source-0"]] * 3


def test_k_beyond_the_rows_gives_every_row_once(tmp_path: Path) -> None:
    found = SourceIndex(store_of(tmp_path, gaussian(7, 4, 13))).nearest(gaussian(2, 4, 14), k=100)
    assert [sorted(rows) for rows in found.rows.tolist()] == [list(range(7))] * 2


def test_left_out_rows_are_no_answer_and_the_rest_is_as_brute_force_without_them(tmp_path: Path) -> None:
    rows = gaussian(80, 16, 15)
    index = SourceIndex(store_of(tmp_path, rows), metric="ip")
    barred = [np.array([number, 79 - number]) for number in range(30)]
    found = index.nearest(rows[:30], k=4, leave_out=barred)
    for number in range(30):
        kept = np.setdiff1d(np.arange(80), barred[number])
        _, order = brute_force(rows[kept], rows[number : number + 1], metric="ip", k=4)
        assert found.rows[number].tolist() == kept[order[0]].tolist()


def test_among_restricts_the_answers_to_a_part_of_the_rows(tmp_path: Path) -> None:
    rows = np.concatenate([gaussian(40, 8, 16), gaussian(40, 8, 16)])
    index = SourceIndex(store_of(tmp_path, rows), metric="l2")
    allowed = np.arange(80) >= 30
    found = index.nearest(rows[:50], k=3, allowed=allowed)
    _, order = brute_force(rows[30:], rows[:50], metric="l2", k=3)
    np.testing.assert_array_equal(found.rows, order + 30)


def test_leaving_everything_out_is_refused(tmp_path: Path) -> None:
    rows = gaussian(3, 4, 17)
    index = SourceIndex(store_of(tmp_path, rows))
    with pytest.raises(InputError, match="of 3 rows none is left"):
        index.nearest(rows[:1], leave_out=[np.arange(3)])


def test_absent_rows_are_not_indexed_and_row_numbers_stay_those_of_the_store(tmp_path: Path) -> None:
    rows = gaussian(6, 4, 18)
    present = np.array([True, False, True, True, False, True])
    index = SourceIndex(store_of(tmp_path, rows, present=present), metric="l2")
    assert index.nearest(rows[5:6], k=1).rows.tolist() == [[5]]
    assert index.rows.tolist() == [0, 2, 3, 5]


def test_where_chooses_the_indexed_images(tmp_path: Path) -> None:
    rows = gaussian(9, 4, 19)
    index = SourceIndex(store_of(tmp_path, rows), where={"source": "source-1"})
    assert index.rows.tolist() == [1, 4, 7]
    assert index.counts == {"source-1": 3}


def test_rows_already_of_unit_length_are_not_divided_again(tmp_path: Path) -> None:
    rows = np.array([[0.98, 0], [0, 1.02]], np.float32)
    found = SourceIndex(store_of(tmp_path, rows, normalised=True)).nearest(np.array([[1.0, 0]]), k=2)
    np.testing.assert_allclose(found.scores, [[1, 0]])


def test_scores_do_not_depend_on_the_batch(tmp_path: Path) -> None:
    rows, queries = gaussian(500, 96, 20), gaussian(64, 96, 21)
    index = SourceIndex(store_of(tmp_path, rows))
    together = index.nearest(queries, k=5)
    alone = [index.nearest(queries[number : number + 1], k=5) for number in range(64)]
    np.testing.assert_array_equal(together.scores, np.concatenate([one.scores for one in alone]))
    np.testing.assert_array_equal(together.rows, np.concatenate([one.rows for one in alone]))


def test_no_query_gives_no_answer(tmp_path: Path) -> None:
    found = SourceIndex(store_of(tmp_path, gaussian(4, 4, 22))).nearest(np.empty((0, 4), np.float32), k=3)
    assert found.rows.shape == (0, 3)


@pytest.mark.parametrize(
    ("queries", "k", "error", "message"),
    [
        (np.ones((2, 5)), 1, InputError, r"shape \(M, 4\)"),
        (np.ones(4), 1, InputError, r"shape \(M, 4\)"),
        (np.array([[1, 2, 3, np.nan]]), 1, InputError, "row 0 holds NaN"),
        (np.ones((1, 4)), 0, OptionError, "k must be at least 1, not 0"),
    ],
)
def test_queries_that_cannot_be_searched_are_refused(
    tmp_path: Path, queries: np.ndarray, k: int, error: type[Exception], message: str
) -> None:
    index = SourceIndex(store_of(tmp_path, gaussian(4, 4, 23)))
    with pytest.raises(error, match=message):
        index.nearest(queries, k=k)


def test_an_unknown_layer_or_metric_is_named(tmp_path: Path) -> None:
    path = store_of(tmp_path, gaussian(4, 4, 24))
    with pytest.raises(UnknownNameError, match="did you mean 'pooled'"):
        SourceIndex(path, layer="poled")
    with pytest.raises(OptionError, match="no metric 'dot'"):
        SourceIndex(path, metric="dot")  # type: ignore[arg-type]


def test_rows_that_share_a_value_are_found_and_an_empty_value_shares_nothing() -> None:
    assert [rows.tolist() for rows in rows_sharing(["x", "y", "x", ""], ["x", "", "z"])] == [[0, 2], [], []]


@pytest.mark.parametrize("order", [("torch", "faiss"), ("faiss", "torch")])
def test_search_and_torch_work_together_in_either_import_order(tmp_path: Path, order: tuple[str, str]) -> None:
    path = store_of(tmp_path, gaussian(3000, 64, 25))
    modules = {"torch": "torch", "faiss": "fewshot.embeddings.search.index"}
    script = f"""
import {modules[order[0]]}
import {modules[order[1]]}
import torch
from fewshot.embeddings.search.index import SourceIndex
torch.manual_seed(0)
square = torch.randn(300, 300)
index = SourceIndex({str(path)!r})
first = index.nearest(index.features(index.rows[:200]), k=1).rows[:, 0].tolist()
product = (square @ torch.linalg.inv(square)).diagonal().mean().item()
assert first == list(range(200)), first
assert abs(product - 1) < 1e-3, product
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
