"""Row streams: every row once a pass, any window, the same order for the same seed."""

import gc
import threading
import time
from collections import Counter

import numpy as np
import pytest

from fewshot.core.arrays import FloatArray, IntArray
from fewshot.core.errors import EpisodeError
from fewshot.reconstruction.stream import RUN_ROWS, RowStream

FEATURES = np.arange(2000, dtype=np.float16)[:, None].repeat(4, axis=1)
WINDOW = 2 * 4 * RUN_ROWS * 2  # two runs of four float16


def stream(rows: IntArray, *, seed: int = 0, window_bytes: int = 1 << 20) -> RowStream:
    return RowStream(lambda wanted: FEATURES[wanted], rows, seed=(seed, 0), window_bytes=window_bytes)


@pytest.mark.parametrize("window_bytes", [1 << 20, WINDOW])
def test_every_pass_gives_every_row_once(window_bytes: int) -> None:
    rows = np.arange(3, 2000, 2)
    batches = stream(rows, window_bytes=window_bytes)
    for _ in range(2):
        taken = np.concatenate([batches.take(100)[:, 0].numpy() for _ in range(9)] + [batches.take(99)[:, 0].numpy()])
        assert sorted(taken) == sorted(rows)
        assert list(taken) != sorted(rows)


@pytest.mark.parametrize("window_bytes", [1 << 20, WINDOW])
def test_equal_seeds_give_equal_batches_and_others_do_not(window_bytes: int) -> None:
    rows = np.arange(2000)
    first, again, other = (stream(rows, seed=seed, window_bytes=window_bytes) for seed in (1, 1, 2))
    batches = [(first.take(64).numpy(), again.take(64).numpy(), other.take(64).numpy()) for _ in range(40)]
    assert all(np.array_equal(a, b) for a, b, _ in batches)
    assert not any(np.array_equal(a, c) for a, _, c in batches)


def test_a_batch_larger_than_the_set_repeats_rows_evenly() -> None:
    counts = Counter(stream(np.arange(5)).take(15)[:, 0].tolist())
    assert set(counts.values()) == {3}


def test_no_more_than_a_small_part_is_ever_read_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fewshot.reconstruction.stream.READ_ROWS", 100)
    asked = []

    def read(rows: IntArray) -> FloatArray:
        asked.append(len(rows))
        return FEATURES[rows]

    batches = RowStream(read, np.arange(2000), seed=(0,), window_bytes=WINDOW)
    for _ in range(30):
        batches.take(100)
    assert max(asked) == 100


def test_windows_mix_rows_from_far_apart() -> None:
    batches = stream(np.arange(2000), window_bytes=WINDOW)
    spread = [float(np.ptp(batches.take(50)[:, 0].numpy())) for _ in range(8)]
    assert np.median(spread) > RUN_ROWS


def test_a_class_without_rows_is_refused() -> None:
    with pytest.raises(EpisodeError, match="a training class has no rows"):
        stream(np.array([], dtype=np.int64))


def test_what_goes_wrong_while_reading_is_raised_by_every_take() -> None:
    asked: list[int] = []

    def broken(rows: IntArray) -> FloatArray:
        asked.append(len(rows))
        if len(asked) > 1:  # the first call asks for one row, to see its size
            raise OSError("the disk is gone")
        return FEATURES[rows]

    batches = RowStream(broken, np.arange(2000), seed=(0,))
    for _ in range(2):
        with pytest.raises(OSError, match="the disk is gone"):
            batches.take(10)


def test_a_stream_that_is_let_go_leaves_no_thread_and_waits_for_no_collector() -> None:
    gc.collect()
    before = set(threading.enumerate())
    gc.disable()
    try:
        batches = stream(np.arange(2000), window_bytes=WINDOW)
        batches.take(600)
        del batches
        deadline = time.monotonic() + 10
        while set(threading.enumerate()) - before and time.monotonic() < deadline:
            time.sleep(0.01)
        assert set(threading.enumerate()) - before == set()
    finally:
        gc.enable()
