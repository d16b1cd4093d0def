"""Shares of a training set: exact sizes, nested, stratified, groups kept together."""

import numpy as np
import pytest

from fewshot.core.errors import EpisodeError
from fewshot.draws.fractions import PAPER_FRACTIONS, draw_fractions, draw_pool, hold_out, stratify


def test_the_five_points_of_the_paper_have_their_exact_sizes_in_every_cell() -> None:
    categories = np.repeat(np.arange(20), 36_000)
    labels = np.tile(np.repeat([0, 1], 18_000), 20)
    cells = stratify([categories, labels])

    drawn = draw_fractions(cells, PAPER_FRACTIONS, seed=0, trial=0)

    assert len(cells) == 40
    for fraction, size in zip(PAPER_FRACTIONS, (9, 18, 180, 1_800, 18_000), strict=True):
        chosen = drawn[fraction]
        counts = np.unique(categories[chosen] * 2 + labels[chosen], return_counts=True)[1]
        assert counts.tolist() == [size] * 40
        assert len(np.unique(chosen)) == 40 * size


def test_smaller_shares_are_within_larger_ones_and_trials_differ() -> None:
    cells = stratify([np.arange(600) % 3])
    first = draw_fractions(cells, (0.01, 0.1, 1.0), seed=4, trial=0)
    other = draw_fractions(cells, (0.01, 0.1, 1.0), seed=4, trial=1)
    assert set(first[0.01]) < set(first[0.1]) < set(first[1.0])
    assert set(first[0.1]) != set(other[0.1])
    assert set(first[0.1]) == set(draw_fractions(cells, (0.1,), seed=4, trial=0)[0.1])


def test_a_cell_left_without_an_image_is_an_error_that_names_the_smallest_fraction() -> None:
    cells = stratify([np.repeat(["a", "b"], [500, 10])])
    with pytest.raises(EpisodeError, match=r"1 % of 'b' \(10 images\) is no image; the smallest .* is 5 %"):
        draw_fractions(cells, (0.01,), seed=0, trial=0)


def test_a_drawn_pool_keeps_groups_together_and_cells_in_proportion() -> None:
    labels = np.repeat([0, 1], [300, 100])
    groups = np.where(np.arange(400) % 2, np.char.add("g", (np.arange(400) % 40).astype(str)), "").astype(object)
    training = draw_pool(stratify([labels]), groups, share=0.5, seed=1, trial=0)
    for name in set(groups) - {""}:
        assert len(set(training[groups == name])) == 1
    alone = groups == ""
    assert training[alone & (labels == 0)].sum() == 75
    assert training[alone & (labels == 1)].sum() == 25
    assert 0 < training[~alone].sum() < 200


def test_held_out_rows_are_the_same_share_of_both_classes_or_none() -> None:
    synthetic = np.repeat([False, True], [60, 20])
    held = hold_out(synthetic, share=0.1, seed=0, trial=0)
    assert (held & ~synthetic).sum() == 6
    assert (held & synthetic).sum() == 2
    assert not hold_out(synthetic[50:65], share=0.05, seed=0, trial=0).any()
