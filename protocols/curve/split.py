"""Which images train, which validate and which are queried, by columns of the store or by a draw."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from fewshot.core.arrays import BoolArray, IntArray
from fewshot.core.errors import EpisodeError
from fewshot.draws.fractions import Cell, draw_pool, stratify
from fewshot.draws.near_bits import NEAR_BITS
from fewshot.draws.near_duplicates import equal_any, near_any
from fewshot.embeddings.store.reader import FeatureStore

TRAIN, TEST = "train", "test"


@dataclass(frozen=True)
class SplitRule:
    """How a store is divided; see ``fewshot.protocols.attribution`` for each field."""

    where: Mapping[str, str] = field(default_factory=dict)
    train: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    validation: Mapping[str, str] = field(default_factory=dict)
    train_share: float = 0.5
    group: str = "group"
    seed: int = 0


@dataclass(frozen=True)
class Split:
    """One division of a store.

    Args:
        training: (p,) int64 rows of the training set, ascending.
        cells: the strata of the training set: category x class where every image has a category, else source x class.
        query: (q,) int64 rows queried, ascending.
        validation: (v,) int64 rows held out by a column; empty when there is none.
        generators: names of the synthetic sources among the query.
        warnings: what a reader must know, for example query images left out.
    """

    training: IntArray
    cells: tuple[Cell, ...]
    query: IntArray
    validation: IntArray
    generators: tuple[str, ...]
    warnings: tuple[str, ...] = ()


def split(store: FeatureStore, rule: SplitRule, backbone: str, *, trial: int) -> Split:
    """Divide a store; only a drawn division depends on the trial.

    Raises:
        EpisodeError: training and query share images, or one of them lacks a class.
        UnknownNameError, InputError: a column or value that is not there.
    """
    chosen = _taking_part(store, rule, backbone)
    validation = chosen & _matching(store, rule.validation) if rule.validation else np.zeros(len(store), bool)
    training, by_column = _training(store, rule, chosen & ~validation, trial)
    query = _query(store, rule, chosen & ~validation, training, by_column=by_column)
    query, warnings = _without_near_duplicates(store, training | validation, query)
    for name, part in (("the training set", training), ("the query set", query)):
        _require_both(store, part, name)
    training_rows = np.flatnonzero(training)
    return Split(
        training=training_rows,
        cells=_cells(store, training_rows),
        query=np.flatnonzero(query),
        validation=np.flatnonzero(validation),
        generators=tuple(sorted(set(store.source[query & store.synthetic]))),
        warnings=warnings,
    )


class Splits:
    """The divisions of one store, made once per trial and shared by the layers of a backbone."""

    def __init__(self, store: FeatureStore, rule: SplitRule, backbone: str) -> None:
        self.store, self.rule, self.backbone = store, rule, backbone
        self._made: dict[int, Split] = {}

    def of(self, trial: int) -> Split:
        """Return the division of one trial; raises as ``split`` does."""
        if trial not in self._made:
            self._made[trial] = split(self.store, self.rule, self.backbone, trial=trial)
        return self._made[trial]

    @property
    def by_column(self) -> bool:
        """Whether a column says which images train, so that none are drawn."""
        return bool(self.rule.train) or bool((self.store.column("split") == TRAIN).any())

    @property
    def images(self) -> IntArray:
        """The rows that take part in the first trial, ascending."""
        return np.union1d(self.of(0).training, self.of(0).query)

    @property
    def dataset(self) -> str:
        """The data sets that are queried, or the store's name."""
        named = self.store.column("dataset")[self.of(0).query]
        return ",".join(sorted(set(named))) or self.store.path.stem

    @property
    def warnings(self) -> tuple[str, ...]:
        """Warnings of the divisions made so far."""
        return tuple(warning for made in self._made.values() for warning in made.warnings)


def _taking_part(store: FeatureStore, rule: SplitRule, backbone: str) -> BoolArray:
    return store.present(backbone) & (_matching(store, rule.where) if rule.where else True)


def _matching(store: FeatureStore, where: Mapping[str, str]) -> BoolArray:
    found = np.zeros(len(store), bool)
    found[store.select(where)] = True
    return found


def _training(store: FeatureStore, rule: SplitRule, chosen: BoolArray, trial: int) -> tuple[BoolArray, bool]:
    """Return the training rows, and whether a column named them."""
    if rule.train:
        return chosen & _matching(store, rule.train), True
    named = chosen & (store.column("split") == TRAIN)
    if named.any():
        return named, True
    rows = np.flatnonzero(chosen)
    cells = _cells(store, rows)
    groups = store.column(rule.group)[rows] if rule.group else np.full(len(rows), "", dtype=object)
    drawn = draw_pool(cells, groups, share=rule.train_share, seed=rule.seed, trial=trial)
    training = np.zeros(len(store), bool)
    training[rows[drawn]] = True
    return training, False


def _query(
    store: FeatureStore, rule: SplitRule, chosen: BoolArray, training: BoolArray, *, by_column: bool
) -> BoolArray:
    if rule.query:
        wanted = chosen & _matching(store, rule.query)
        shared = np.flatnonzero(wanted & training)
        if len(shared) and by_column:
            raise EpisodeError(
                f"{len(shared)} images are both in the training set and in the query, first row {int(shared[0])}; "
                f"choose --train and --query so that they share none"
            )
        return np.asarray(wanted & ~training)
    tests = chosen & (store.column("split") == TEST)
    if by_column and tests.any():
        return np.asarray(tests & ~training)
    return np.asarray(chosen & ~training)


def _without_near_duplicates(
    store: FeatureStore, seen: BoolArray, query: BoolArray
) -> tuple[BoolArray, tuple[str, ...]]:
    """Leave out of the query every image that trains or validates too: equal pixels, or nearly equal by their hash."""
    ids = store.column("id")
    same = query & equal_any(ids, ids[seen])
    queried = np.flatnonzero(query & ~same)
    hashes = store.column("phash").astype(np.uint64)
    near = queried[near_any(hashes[queried], hashes[seen])]
    warnings = []
    if same.any():
        warnings.append(f"{int(same.sum())} query images left out: their pixels are in the training set")
    if len(near):
        warnings.append(
            f"{len(near)} query images left out: an image of the training set is nearly the same (perceptual hash "
            f"within {NEAR_BITS} bits)"
        )
    kept = query & ~same
    kept[near] = False
    return kept, tuple(warnings)


def _cells(store: FeatureStore, rows: IntArray) -> tuple[Cell, ...]:
    categories = store.column("category")[rows]
    label = store.synthetic[rows].astype(int)
    if len(rows) and (categories != "").all():
        return stratify([categories, label])
    return stratify([store.source[rows], label])


def _require_both(store: FeatureStore, rows: BoolArray, name: str) -> None:
    synthetic = int((rows & store.synthetic).sum())
    natural = int(rows.sum()) - synthetic
    if not synthetic or not natural:
        raise EpisodeError(
            f"{name} has {natural} natural and {synthetic} synthetic images, and both are needed; "
            f"change --where, --train or --query"
        )
