"""Episodes: which images are the labelled support and which the query, drawn before any score is seen."""

import random
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fewshot.core.arrays import BoolArray, IntArray
from fewshot.core.errors import EpisodeError, InputError
from fewshot.draws.near_duplicates import equal_any, near_any

Per = Literal["class", "source"]
CLASSES = ("natural", "synthetic")


@dataclass(frozen=True)
class Episode:
    """One draw: the support to learn from, the query to be measured on.

    Args:
        support: (s,) int64 row numbers, ascending.
        query: (q,) int64 row numbers, ascending.
        trial: the number of the draw.

    Raises:
        EpisodeError: support and query share a row.
    """

    support: IntArray
    query: IntArray
    trial: int

    def __post_init__(self) -> None:
        shared = np.intersect1d(self.support, self.query)
        if len(shared):
            raise EpisodeError(
                f"trial {self.trial}: row {int(shared[0])} is both support and query ({len(shared)} such rows); "
                f"draw disjoint sets"
            )


@dataclass(frozen=True)
class Draw:
    """One trial: the images of every group in the order drawn, and the one query set of all its shot counts.

    Args:
        order: group -> (largest number of shots,) int64 rows; a support is a prefix of each.
        query: (q,) int64 rows, ascending.
        trial: the number of the draw.
        duplicates: images that left the query because they equal or nearly equal a support image.
        same_group: images that left the query because a support image shares their ``--group``.
    """

    order: Mapping[str, IntArray]
    query: IntArray
    trial: int
    duplicates: int = 0
    same_group: int = 0

    def support(self, shots: int) -> IntArray:
        """Return the first ``shots`` images of every group, ascending."""
        return np.sort(np.concatenate([rows[:shots] for rows in self.order.values()]))

    def episode(self, shots: int) -> Episode:
        """Return the episode of one shot count; smaller supports lie within larger ones, the query is the same."""
        return Episode(self.support(shots), self.query, self.trial)


@dataclass(frozen=True)
class Pool:
    """The images of one experiment, by row number 0 .. n - 1.

    Args:
        synthetic: (n,) bool.
        source: (n,) names.
        group: (n,) names of what belongs together (a photograph's tiles, a prompt); empty = alone. None: no groups.
        id: (n,) hashes of the decoded pixels; empty = unknown. None: no search for duplicates.
        phash: (n,) uint64 perceptual hashes; 0 = unknown.
        supports: (n,) bool: which images may be support. None: all.
        queries: (n,) bool: which images are queried when they are not support. None: all.
        rank: (n,) numbers by which sources are ordered under FiSeR's draw (an archive's source ids); None: naturals
            first, then by name.
    """

    synthetic: BoolArray
    source: NDArray[Any]
    group: NDArray[Any] | None = None
    id: NDArray[Any] | None = None
    phash: NDArray[np.uint64] | None = None
    supports: BoolArray | None = None
    queries: BoolArray | None = None
    rank: IntArray | None = None

    def __len__(self) -> int:
        return len(self.synthetic)

    def groups(self, per: Per) -> dict[str, IntArray]:
        """Return the rows that may be support, by class or by source, naturals first, ascending."""
        allowed = np.ones(len(self), bool) if self.supports is None else self.supports
        if per == "class":
            parts = {name: allowed & (self.synthetic == side) for name, side in zip(CLASSES, (0, 1), strict=True)}
        else:
            parts = {name: allowed & (self.source == name) for name in self._source_order(allowed)}
        return {name: np.flatnonzero(part).astype(np.int64) for name, part in parts.items()}

    def _source_order(self, allowed: BoolArray) -> list[str]:
        first: dict[str, tuple[int, str]] = {}
        for row in np.flatnonzero(allowed):
            name = str(self.source[row])
            rank = int(self.synthetic[row]) if self.rank is None else int(self.rank[row])
            first.setdefault(name, (rank, name))
        return sorted(first, key=first.__getitem__)

    def near_duplicates(self, support: IntArray) -> BoolArray:
        """Return (n,) bool: images with the pixels, or nearly the pixels, of a support image (itself included)."""
        found = np.zeros(len(self), bool)
        if self.id is not None:
            found |= equal_any(self.id, self.id[support])
        if self.phash is not None:
            found |= near_any(self.phash, self.phash[support])
        return found

    def same_group(self, support: IntArray) -> BoolArray:
        """Return (n,) bool: images that share their group with a support image."""
        if self.group is None:
            return np.zeros(len(self), bool)
        wanted = {name for name in self.group[support] if name}
        return np.fromiter((name in wanted for name in self.group), bool, len(self))


def nested_order(rows: IntArray, *, seed: int, trial: int, name: str) -> IntArray:
    """Return the rows in the random order of one (seed, trial, group): any prefix is a draw within every longer one.

    The order depends on nothing else, so two backbones over the same images draw the same supports.
    """
    generator = np.random.default_rng([seed, trial, zlib.crc32(name.encode())])
    return rows[generator.permutation(len(rows))]


def stratified_order(rows: IntArray, source: NDArray[Any], *, seed: int, trial: int, name: str) -> IntArray:
    """Return the rows so that every prefix covers the sources as evenly as can be, in a random order of sources."""
    names = sorted(set(source[rows]))
    generator = np.random.default_rng([seed, trial, zlib.crc32(f"sources of {name}".encode())])
    position = {names[k]: number for number, k in enumerate(generator.permutation(len(names)))}
    keyed = []
    for source_name in names:
        own = rows[source[rows] == source_name]
        order = nested_order(own, seed=seed, trial=trial, name=f"{name}/{source_name}")
        keyed += [(round_, position[source_name], int(row)) for round_, row in enumerate(order)]
    return np.array([row for _, _, row in sorted(keyed)], dtype=np.int64)


def fiser_orders(groups: Mapping[str, IntArray], *, seed: int) -> dict[str, IntArray]:
    """Return FiSeR's draw: one ``random.Random(seed)`` shuffles every group's ascending rows in turn.

    arXiv 2606.00606; heyongxin233/FiSeR @ ad2637c, evaluate.py.
    """
    generator = random.Random(seed)
    orders = {}
    for name, rows in groups.items():
        shuffled = rows.tolist()
        generator.shuffle(shuffled)
        orders[name] = np.array(shuffled, dtype=np.int64)
    return orders


def draw(groups: NDArray[Any], *, shots: int, trials: int, seed: int) -> Iterator[Episode]:
    """Yield nested draws of ``shots`` rows from every distinct value of ``groups`` (n,); the rest is the query.

    >>> [episode.support.size for episode in draw(np.repeat([0, 1], 40), shots=5, trials=2, seed=7)]
    [10, 10]

    Raises:
        EpisodeError: a group has too few rows.
    """
    parts = {str(name): np.flatnonzero(groups == name).astype(np.int64) for name in np.unique(groups)}
    pool = Pool(synthetic=np.zeros(len(groups), bool), source=groups)
    require_enough(parts, shots, per="source")
    for trial in range(trials):
        orders = {name: nested_order(rows, seed=seed, trial=trial, name=name) for name, rows in parts.items()}
        yield close(pool, orders, shots=shots, trial=trial).episode(shots)


def require_enough(groups: Mapping[str, IntArray], shots: int, *, per: Per) -> None:
    """Raise unless every group has ``shots`` images; per class one more must be left to be queried.

    Raises:
        EpisodeError: too few, with the group's name and what to do.
    """
    if shots < 1:
        raise EpisodeError(f"--shots must be at least 1, and is {shots}")
    for name, rows in groups.items():
        wanted = shots + (1 if per == "class" else 0)
        if len(rows) < wanted:
            what = f"class {name!r}" if per == "class" else f"source {name!r}"
            rest = " and a query" if per == "class" else ""
            drop = (
                "add images" if per == "class" else "leave the source out with --where source=..., or use --per class"
            )
            raise EpisodeError(
                f"{what} has {len(rows)} images that may be drawn; {shots} shots{rest} need at least {wanted}. "
                f"Lower --shots or {drop}"
            )


def close(
    pool: Pool, orders: Mapping[str, IntArray], *, shots: int, trial: int, drop_near_duplicates: bool = True
) -> Draw:
    """Cut the orders at the largest shot count and gather the query that all smaller ones share.

    Args:
        shots: the largest shot count.
        drop_near_duplicates: remove duplicates of the support from the query; FiSeR's draw does not.

    Raises:
        EpisodeError: one class is left without a query image.
    """
    kept = {name: rows[:shots] for name, rows in orders.items()}
    support = np.concatenate(list(kept.values()))
    query = np.ones(len(pool), bool) if pool.queries is None else pool.queries.copy()
    query[support] = False
    same_group = query & pool.same_group(support)
    query &= ~same_group
    duplicates = query & pool.near_duplicates(support) if drop_near_duplicates else np.zeros(len(pool), bool)
    query &= ~duplicates
    return Draw(kept, np.flatnonzero(query).astype(np.int64), trial, int(duplicates.sum()), int(same_group.sum()))


def require_query(pool: Pool, drawn: Draw) -> None:
    """Raise unless the query has images of both classes.

    Raises:
        EpisodeError: a class is missing from the query.
    """
    for name, side in zip(CLASSES, (False, True), strict=True):
        if not (pool.synthetic[drawn.query] == side).any():
            raise EpisodeError(
                f"trial {drawn.trial}: no {name} image is left to be queried after the support, {drawn.duplicates} "
                f"duplicates and {drawn.same_group} images of the support's groups were taken out; lower --shots, "
                f"add {name} images or group by another column"
            )


def given_orders(pool: Pool, support: Sequence[int] | IntArray, *, per: Per = "class") -> dict[str, IntArray]:
    """Return a support chosen by the user as orders by class, or by source; sources that it leaves out are not there.

    Raises:
        EpisodeError: a class is missing.
    """
    rows = np.asarray(support, dtype=np.int64)
    for name, side in zip(CLASSES, (False, True), strict=True):
        if not (pool.synthetic[rows] == side).any():
            raise EpisodeError(f"the given support has no {name} image; list at least one of each class")
    orders = {name: rows[np.isin(rows, members)] for name, members in pool.groups(per).items()}
    return {name: chosen for name, chosen in orders.items() if len(chosen)}


def require_both(pool: Pool) -> None:
    """Raise unless both classes may be drawn and queried.

    Raises:
        InputError: one class only.
    """
    for name, rows in pool.groups("class").items():
        if len(rows) == 0:
            raise InputError(
                f"there is no {name} image among the {len(pool)} chosen; both classes are needed: loosen --where or "
                f"embed images of both"
            )
