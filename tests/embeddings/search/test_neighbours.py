"""The vote of the neighbours' sources, on examples worked by hand."""

import numpy as np

from fewshot.embeddings.search.neighbours import Neighbours, vote


def neighbours(scores: list[float], sources: list[str]) -> Neighbours:
    rows = np.arange(len(scores))[None, :]
    return Neighbours(np.array([scores]), rows, np.array([sources], dtype=object))


def test_a_source_of_a_thousand_does_not_outvote_a_small_one_by_size() -> None:
    found = neighbours([0.9, 0.9, 0.9, 0.9, 0.9], ["large", "large", "large", "large", "small"])
    votes = vote(found, {"large": 1000, "small": 10})
    assert votes.votes.tolist() == [[4, 1]]
    np.testing.assert_allclose(votes.shares, [[4 / 1000 / (4 / 1000 + 1 / 10), 1 / 10 / (4 / 1000 + 1 / 10)]])
    assert votes.best.tolist() == ["small"]


def test_weights_fall_linearly_from_one_to_one_half() -> None:
    found = neighbours([1.0, 0.75, 0.5], ["a", "b", "c"])
    votes = vote(found, {"a": 5, "b": 5, "c": 5})
    np.testing.assert_allclose(votes.shares, [[1 / 2.25, 0.75 / 2.25, 0.5 / 2.25]])


def test_weights_do_not_depend_on_the_scale_or_origin_of_the_scores() -> None:
    counts = {"a": 7, "b": 9, "c": 8}
    first = vote(neighbours([1.0, 0.75, 0.5], ["a", "b", "c"]), counts)
    second = vote(neighbours([-2.0, -3.0, -4.0], ["a", "b", "c"]), counts)
    np.testing.assert_allclose(first.shares, second.shares)


def test_equal_shares_are_decided_by_the_nearest_image_then_by_name() -> None:
    counts = {"a": 4, "b": 4, "c": 4}
    nearer = vote(neighbours([0.5, 0.5, 0.5, 0.5], ["b", "a", "a", "b"]), counts)
    assert nearer.best.tolist() == ["a"]
    weights_meet = vote(neighbours([1.0, 0.0], ["b", "a"]), {"a": 1, "b": 2})
    np.testing.assert_allclose(weights_meet.shares, [[0.5, 0.5]])
    assert weights_meet.best.tolist() == ["b"]


def test_a_source_without_a_neighbour_has_no_share() -> None:
    votes = vote(neighbours([0.5], ["b"]), {"a": 3, "b": 3})
    assert votes.shares.tolist() == [[0.0, 1.0]]
    assert votes.nearest.tolist() == [[-np.inf, 0.5]]
