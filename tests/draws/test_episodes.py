"""Draws: nested, disjoint, reproducible, and never from too few images."""

import random

import numpy as np
import pytest

from fewshot.core.errors import EpisodeError
from fewshot.draws.episodes import (
    Episode,
    Pool,
    close,
    draw,
    fiser_orders,
    given_orders,
    nested_order,
    require_both,
    require_enough,
    require_query,
    stratified_order,
)


def _pool(natural: int = 30, synthetic: int = 30, **columns: object) -> Pool:
    labels = np.repeat([False, True], [natural, synthetic])
    source = np.where(labels, np.where(np.arange(len(labels)) % 2 == 0, "a", "b"), "photos").astype(object)
    return Pool(synthetic=labels, source=source, **columns)  # type: ignore[arg-type]


def _orders(pool: Pool, *, trial: int = 0) -> dict[str, np.ndarray]:
    parts = pool.groups("class")
    return {name: nested_order(rows, seed=3, trial=trial, name=name) for name, rows in parts.items()}


def test_support_of_five_shots_is_within_support_of_ten() -> None:
    groups = np.repeat([0, 1], 40)
    five, ten = (next(draw(groups, shots=n, trials=1, seed=7)) for n in (5, 10))
    assert set(five.support) <= set(ten.support)


def test_all_shot_counts_of_a_trial_share_one_query_set() -> None:
    pool = _pool()
    drawn = close(pool, _orders(pool), shots=10, trial=0)
    one, ten = drawn.episode(1), drawn.episode(10)
    np.testing.assert_array_equal(one.query, ten.query)
    assert len(one.support) == 2
    assert set(one.support) < set(ten.support)
    assert sorted([*ten.support, *ten.query]) == list(range(60))


def test_same_seed_draws_the_same_and_another_trial_another() -> None:
    groups = np.repeat([0, 1], 40)
    first, again = (list(draw(groups, shots=5, trials=3, seed=1)) for _ in range(2))
    for left, right in zip(first, again, strict=True):
        np.testing.assert_array_equal(left.support, right.support)
    assert len({tuple(episode.support) for episode in first}) == 3
    assert tuple(next(draw(groups, shots=5, trials=1, seed=2)).support) != tuple(first[0].support)


def test_draw_of_one_group_does_not_depend_on_the_others() -> None:
    rows = np.arange(100, 140)
    order = nested_order(rows, seed=1, trial=2, name="sd15")
    assert sorted(order) == list(rows)
    np.testing.assert_array_equal(order, nested_order(rows, seed=1, trial=2, name="sd15"))
    assert tuple(order) != tuple(nested_order(rows, seed=1, trial=2, name="sd3"))


def test_every_image_is_drawn_equally_often() -> None:
    counts = np.zeros(20)
    for trial in range(4000):
        counts[nested_order(np.arange(20), seed=0, trial=trial, name="natural")[:5]] += 1
    assert abs(counts / 4000 - 0.25).max() < 0.035  # five standard errors of a share of 0.25 in 4,000


def test_stratified_prefixes_cover_the_sources_evenly() -> None:
    source = np.repeat(np.array(["a", "b", "c"], object), [50, 5, 20])
    for trial in range(5):
        order = stratified_order(np.arange(75), source, seed=0, trial=trial, name="synthetic")
        assert sorted(order) == list(range(75))
        for shots in range(1, 16):
            counts = [int((source[order[:shots]] == name).sum()) for name in "abc"]
            assert max(counts) - min(counts) <= 1


def test_fiser_draw_is_one_python_shuffle_after_another() -> None:
    groups = {"natural": np.arange(0, 9), "synthetic": np.arange(9, 16)}
    generator = random.Random(42)
    first, second = list(range(9)), list(range(9, 16))
    generator.shuffle(first)
    generator.shuffle(second)
    orders = fiser_orders(groups, seed=42)
    assert orders["natural"].tolist() == first
    assert orders["synthetic"].tolist() == second


def test_images_of_the_supports_groups_leave_the_query() -> None:
    group = np.array([f"photo {row // 3}" for row in range(60)], dtype=object)
    pool = _pool(group=group)
    drawn = close(pool, _orders(pool), shots=4, trial=0)
    assert not set(group[drawn.support(4)]) & set(group[drawn.query])
    assert drawn.same_group == 60 - 8 - len(drawn.query)


def test_images_without_a_group_stay() -> None:
    pool = _pool(group=np.array([""] * 60, dtype=object))
    assert len(close(pool, _orders(pool), shots=4, trial=0).query) == 52


def test_identical_and_nearly_identical_images_leave_the_query() -> None:
    generator = np.random.default_rng(0)
    phash = generator.integers(1, 2**63, 60, dtype=np.uint64)
    ids = np.array([f"id {row}" for row in range(60)], dtype=object)
    pool = _pool(id=ids, phash=phash)
    support = close(pool, _orders(pool), shots=2, trial=0).support(2)
    same, near, far = [row for row in range(60) if row not in support][:3]
    ids[same] = ids[support[0]]
    phash[near] = phash[support[1]] ^ np.uint64(0b1111)
    phash[far] = phash[support[1]] ^ np.uint64(0b11111)
    drawn = close(pool, _orders(pool), shots=2, trial=0)
    assert drawn.duplicates == 2
    assert same not in drawn.query
    assert near not in drawn.query
    assert far in drawn.query
    assert close(pool, _orders(pool), shots=2, trial=0, drop_near_duplicates=False).duplicates == 0


def test_unknown_hashes_match_nothing() -> None:
    pool = _pool(id=np.array([""] * 60, dtype=object), phash=np.zeros(60, np.uint64))
    assert close(pool, _orders(pool), shots=2, trial=0).duplicates == 0


def test_support_and_query_may_come_from_different_sets() -> None:
    first = np.arange(60) % 4 < 2
    pool = _pool(supports=first, queries=~first)
    drawn = close(pool, _orders(pool), shots=3, trial=0)
    assert first[drawn.support(3)].all()
    np.testing.assert_array_equal(drawn.query, np.flatnonzero(~first))


def test_sources_stand_natural_first_or_by_rank() -> None:
    assert list(_pool().groups("source")) == ["photos", "a", "b"]
    rank = np.where(np.arange(60) < 30, 2, np.where(np.arange(60) % 2 == 0, 1, 0))
    assert list(_pool(rank=rank).groups("source")) == ["b", "a", "photos"]


def test_too_few_images_are_an_error_that_says_what_to_do() -> None:
    pool = _pool(natural=5)
    with pytest.raises(EpisodeError, match=r"class 'natural' has 5 images .* need at least 6. Lower --shots"):
        require_enough(pool.groups("class"), 5, per="class")
    with pytest.raises(EpisodeError, match=r"source 'photos' has 5 images .* leave the source out"):
        require_enough(pool.groups("source"), 6, per="source")
    with pytest.raises(EpisodeError, match="at least 1"):
        require_enough(pool.groups("class"), 0, per="class")


def test_a_query_without_one_class_is_an_error() -> None:
    pool = _pool(group=np.array(["all"] * 30 + [""] * 30, dtype=object))
    with pytest.raises(EpisodeError, match="no natural image is left"):
        require_query(pool, close(pool, _orders(pool), shots=2, trial=0))


def test_one_class_only_is_an_error() -> None:
    with pytest.raises(Exception, match="no synthetic image among the 10"):
        require_both(_pool(natural=10, synthetic=0))


def test_given_support_needs_both_classes() -> None:
    orders = given_orders(_pool(), [40, 2, 1])
    assert orders["natural"].tolist() == [2, 1]
    with pytest.raises(EpisodeError, match="no synthetic"):
        given_orders(_pool(), [1, 2])


def test_an_episode_refuses_overlap() -> None:
    with pytest.raises(EpisodeError, match="row 2 is both"):
        Episode(np.array([1, 2]), np.array([2, 3]), 0)
