"""Approximate indexes: measured recall, the automatic choice, saving and loading."""

import json
from pathlib import Path

import numpy as np
import pytest

from fewshot.core.errors import DeviceError, OptionError, StoreError
from fewshot.embeddings.search.exact import scan
from fewshot.embeddings.search.index import SourceIndex
from fewshot.embeddings.search.kinds import choose_kind, index_bytes, pq_bytes
from tests.embeddings.search.test_index import brute_force, gaussian, store_of

KINDS = ["hnsw", "ivf-flat", "ivf-pq"]


def clustered(rows: int, dimension: int, seed: int) -> np.ndarray:
    generator = np.random.default_rng(seed)
    centres = generator.normal(size=(60, dimension))
    return (centres[generator.integers(0, 60, rows)] + 0.4 * generator.normal(size=(rows, dimension))).astype(
        np.float32
    )


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return store_of(tmp_path_factory.mktemp("large"), clustered(10_500, 16, 1))


@pytest.mark.parametrize(
    ("kind", "metric"),
    [("hnsw", "cosine"), ("hnsw", "ip"), ("ivf-flat", "l2"), ("ivf-flat", "ip"), ("ivf-pq", "cosine")],
)
def test_the_stated_recall_is_reached_on_queries_that_did_not_choose_it(large: Path, kind: str, metric: str) -> None:
    index = SourceIndex(large, metric=metric, index=kind, recall=0.95)  # type: ignore[arg-type]
    queries = clustered(300, 16, 1)[200:]
    exact = SourceIndex(large, metric=metric).nearest(queries, k=10)  # type: ignore[arg-type]
    found = index.nearest(queries, k=10)
    recall = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(found.rows, exact.rows, strict=True)])
    assert index.choice.kind == kind
    assert index.choice.recall >= 0.95
    assert recall >= 0.92
    assert f"recall@10 {index.choice.recall:.3f}" in str(index.choice)


@pytest.mark.parametrize("kind", KINDS)
def test_what_an_approximate_index_finds_has_its_exact_score(large: Path, kind: str) -> None:
    queries = clustered(40, 16, 2)
    approximate = SourceIndex(large, index=kind).nearest(queries, k=4)
    exact = SourceIndex(large).nearest(queries, k=400)
    for number in range(40):
        scores = dict(zip(exact.rows[number].tolist(), exact.scores[number].tolist(), strict=True))
        for row, score in zip(approximate.rows[number].tolist(), approximate.scores[number].tolist(), strict=True):
            assert scores[row] == score


@pytest.mark.parametrize("kind", KINDS)
def test_left_out_and_closed_rows_are_no_answer_of_an_approximate_index(large: Path, kind: str) -> None:
    index = SourceIndex(large, index=kind)
    allowed = np.arange(10_500) >= 10_000
    found = index.nearest(
        index.features(np.arange(10_000, 10_050)),
        k=3,
        allowed=allowed,
        leave_out=list(np.arange(10_000, 10_050)[:, None]),
    )
    assert (found.rows >= 10_000).all()
    assert not (found.rows == np.arange(10_000, 10_050)[:, None]).any()


@pytest.mark.parametrize("metric", ["cosine", "ip", "l2"])
def test_the_scan_that_recall_is_measured_against_is_brute_force(tmp_path: Path, metric: str) -> None:
    rows, queries = gaussian(700, 24, 3), gaussian(20, 24, 4)
    index = SourceIndex(store_of(tmp_path, rows), metric=metric)  # type: ignore[arg-type]
    scores, found = scan(index.indexed, index.indexed.prepared(queries), k=6, excluded=[np.empty(0, np.int64)] * 20)
    wanted_scores, wanted = brute_force(rows, queries, metric=metric, k=6)
    np.testing.assert_array_equal(found, wanted)
    np.testing.assert_array_equal(scores, wanted_scores)


@pytest.mark.parametrize("kind", ["flat", *KINDS])
def test_a_saved_index_answers_as_before(large: Path, tmp_path: Path, kind: str) -> None:
    index = SourceIndex(large, index=kind, metric="l2")
    loaded = SourceIndex.load(large, index.save(tmp_path / "a.faiss"))
    queries = clustered(30, 16, 5)
    before, after = index.nearest(queries, k=5), loaded.nearest(queries, k=5)
    np.testing.assert_array_equal(before.rows, after.rows)
    np.testing.assert_array_equal(before.scores, after.scores)
    assert loaded.choice == index.choice


def test_a_saved_index_of_another_layer_is_refused(tmp_path: Path) -> None:
    rows = gaussian(30, 4, 6)
    saved = SourceIndex(store_of(tmp_path, rows)).save(tmp_path / "a.faiss")
    rows[3, 2] += 1
    with pytest.raises(StoreError, match="was built from a layer with digest"):
        SourceIndex.load(store_of(tmp_path, rows), saved)


def test_a_saved_index_keeps_which_images_it_holds(tmp_path: Path) -> None:
    store = store_of(tmp_path, gaussian(9, 4, 7))
    saved = SourceIndex(store, where={"source": ["source-0", "source-2"]}).save(tmp_path / "a.faiss")
    assert SourceIndex.load(store, saved).rows.tolist() == [0, 2, 3, 5, 6, 8]


@pytest.mark.parametrize("damage", ["flip", "cut", "gone", "facts"])
def test_a_damaged_index_file_is_refused(tmp_path: Path, damage: str) -> None:
    store = store_of(tmp_path, gaussian(30, 4, 8))
    saved = SourceIndex(store).save(tmp_path / "a.faiss")
    content = bytearray(saved.read_bytes())
    content[200] ^= 1
    if damage == "flip":
        saved.write_bytes(content)
    elif damage == "cut":
        saved.write_bytes(content[:-7])
    elif damage == "gone":
        saved.unlink()
    else:
        (tmp_path / "a.faiss.json").write_text(json.dumps({"schema": 99}))
    with pytest.raises(StoreError, match=r"build it again|install a newer"):
        SourceIndex.load(store, saved)


@pytest.mark.parametrize(
    ("rows", "recall", "room", "kind"),
    [
        (1_000_000, 0.95, 10 << 30, "flat"),
        (1_000_001, 0.95, 10 << 30, "ivf-flat"),
        (2_000_000, 0.99, 10 << 30, "hnsw"),
        (9_000_000, 0.99, 100 << 30, "ivf-flat"),
        (2_000_000, 1.0, 10 << 30, "flat"),
        (1_000_000, 0.95, 1 << 30, "ivf-pq"),
    ],
)
def test_auto_chooses_by_rows_memory_and_recall(rows: int, recall: float, room: int, kind: str) -> None:
    chosen = choose_kind("auto", rows, 768, recall=recall, memory_bytes=room)
    assert chosen.kind == kind
    assert str(rows) in chosen.reason


def test_auto_says_what_it_chose_on_a_small_store(tmp_path: Path) -> None:
    index = SourceIndex(store_of(tmp_path, gaussian(30, 4, 9)), index="auto")
    assert str(index.choice).startswith("flat (exact): 30 rows of 4 values")


def test_choices_that_cannot_be_are_refused() -> None:
    with pytest.raises(OptionError, match="no index 'lsh'"):
        choose_kind("lsh", 10, 4, recall=0.9, memory_bytes=None)
    with pytest.raises(OptionError, match="needs 10240 rows"):
        choose_kind("ivf-pq", 500, 4, recall=0.9, memory_bytes=None)
    with pytest.raises(OptionError, match="must lie above 0"):
        choose_kind("hnsw", 500, 4, recall=1.5, memory_bytes=None)
    with pytest.raises(OptionError, match="a recall of 1 needs exact search"):
        choose_kind("auto", 1_000_000, 768, recall=1.0, memory_bytes=1 << 20)


def test_code_bytes_divide_the_dimension() -> None:
    assert [pq_bytes(dimension) for dimension in (768, 48, 7, 100)] == [96, 6, 1, 10]
    assert index_bytes("flat", 10, 768) == 30_720


@pytest.mark.parametrize(("kind", "rows"), [("hnsw", 1), ("hnsw", 2), ("hnsw", 50), ("ivf-flat", 40), ("ivf-flat", 90)])
def test_approximate_indexes_of_few_rows_still_find_them(tmp_path: Path, rows: int, kind: str) -> None:
    features = gaussian(rows, 4, 10)
    found = SourceIndex(store_of(tmp_path, features), index=kind, metric="l2").nearest(features, k=1)
    assert found.rows[:, 0].tolist() == list(range(rows))


def test_a_gpu_that_is_not_there_is_said(tmp_path: Path) -> None:
    store = store_of(tmp_path, gaussian(5, 4, 11))
    with pytest.raises(DeviceError, match=r"--device cuda:99: FAISS can use \d GPUs"):
        SourceIndex(store, device="cuda:99")
    with pytest.raises(DeviceError, match="--device 'tpu' is not a device; give auto, cpu, cuda or cuda:N"):
        SourceIndex(store, device="tpu")


@pytest.mark.gpu
@pytest.mark.parametrize("kind", ["flat", "ivf-flat"])
def test_a_gpu_finds_what_the_cpu_finds(large: Path, kind: str) -> None:
    queries = clustered(100, 16, 12)
    on_cpu = SourceIndex(large, index=kind, device="cpu").nearest(queries, k=10)
    on_gpu = SourceIndex(large, index=kind, device="cuda").nearest(queries, k=10)
    np.testing.assert_array_equal(on_cpu.rows, on_gpu.rows)
    np.testing.assert_array_equal(on_cpu.scores, on_gpu.scores)
