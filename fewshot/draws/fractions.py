"""Shares of a training set: nested and stratified, so that a curve over them says how little data is enough."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fewshot.core.arrays import BoolArray, IntArray
from fewshot.core.errors import EpisodeError, OptionError

PAPER_FRACTIONS = (0.0005, 0.001, 0.01, 0.1, 1.0)  # of 720,000 images; arXiv 2603.00717v2, Fig. 6

_POOL, _SHARE, _HELD = 0, 1, 2  # what a generator is for; part of its seed


@dataclass(frozen=True)
class Cell:
    """One stratum: its name, and the positions of its images."""

    name: str
    positions: IntArray

    def size(self, fraction: float) -> int:
        """Return how many of its images a fraction takes: the nearest whole number."""
        return int(fraction * len(self.positions) + 0.5)


def stratify(columns: Sequence[NDArray[Any]]) -> tuple[Cell, ...]:
    """Return the cells of equal values in all columns, ordered by name; every position is in one.

    >>> [(cell.name, len(cell.positions)) for cell in stratify([np.array(["cat", "dog", "cat"]), np.array([0, 1, 0])])]
    [('cat x 0', 2), ('dog x 1', 1)]
    """
    names = np.array([" x ".join(map(str, values)) for values in zip(*columns, strict=True)], dtype=object)
    order = np.argsort(names, kind="stable")
    bounds = np.flatnonzero(np.r_[True, names[order][1:] != names[order][:-1]]) if len(names) else np.array([], int)
    parts = np.split(order, bounds[1:]) if len(names) else []
    return tuple(Cell(str(names[part[0]]), part.astype(np.int64)) for part in parts)


def smallest_fraction(cells: Sequence[Cell]) -> float:
    """Return the smallest fraction that takes an image of every cell."""
    return 0.5 / min(len(cell.positions) for cell in cells)


def draw_fractions(
    cells: Sequence[Cell], fractions: Sequence[float], *, seed: int, trial: int
) -> Mapping[float, IntArray]:
    """Draw nested subsets: of one permutation per cell, each fraction takes a prefix.

    Args:
        cells: the strata.
        fractions: shares in (0, 1].
        seed, trial: what the permutations follow from.

    Returns:
        fraction -> (s,) int64 positions, ascending.

    Raises:
        OptionError: a fraction outside (0, 1].
        EpisodeError: a fraction that takes no image of some cell.
    """
    permutations = [
        np.random.default_rng([seed, trial, _SHARE, number]).permutation(cell.positions)
        for number, cell in enumerate(cells)
    ]
    drawn = {}
    for fraction in fractions:
        if not 0 < fraction <= 1:
            raise OptionError(f"a fraction is a share in (0, 1], not {fraction:g}; write for example 0.05% or 1%")
        for cell in cells:
            if cell.size(fraction) == 0:
                raise EpisodeError(
                    f"{100 * fraction:g} % of {cell.name!r} ({len(cell.positions)} images) is no image; the smallest "
                    f"fraction of this set is {100 * smallest_fraction(cells):.3g} %"
                )
        taken = [order[: cell.size(fraction)] for order, cell in zip(permutations, cells, strict=True)]
        drawn[fraction] = np.sort(np.concatenate(taken))
    return drawn


def draw_pool(cells: Sequence[Cell], groups: NDArray[Any], *, share: float, seed: int, trial: int) -> BoolArray:
    """Draw which images are for training; images of one group are all on one side.

    Args:
        cells: the strata, covering all n positions.
        groups: (n,) what an image belongs to; empty text belongs to itself.
        share: of every cell that trains, about; exact where no image has a group.

    Returns:
        (n,) bool.
    """
    count = len(groups)
    names, members = np.unique(groups.astype(str), return_inverse=True)
    uniform = np.random.default_rng([seed, trial, _POOL]).random(count + len(names))
    grouped = names[members] != ""
    training = np.where(grouped, uniform[count + members] < share, False)
    for cell in cells:
        alone = cell.positions[~grouped[cell.positions]]
        order = alone[np.argsort(uniform[alone], kind="stable")]
        training[order[: int(share * len(alone) + 0.5)]] = True
    return np.asarray(training, dtype=bool)


def hold_out(synthetic: BoolArray, *, share: float, seed: int, trial: int) -> BoolArray:
    """Draw a validation part of a subset, the same share of both classes: (n,) bool; none if a class is too small."""
    held = np.zeros(len(synthetic), bool)
    generator = np.random.default_rng([seed, trial, _HELD])
    parts = []
    for label in (False, True):
        rows = generator.permutation(np.flatnonzero(synthetic == label))
        parts.append(rows[: int(share * len(rows) + 0.5)])
    if all(len(part) for part in parts):
        held[np.concatenate(parts)] = True
    return held
