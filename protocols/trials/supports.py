"""How the supports of an experiment are drawn: nested, as FiSeR does, by coreset, or as the user lists them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from fewshot.core.arrays import FloatArray, IntArray
from fewshot.core.errors import EpisodeError, InputError, OptionError
from fewshot.draws.coresets import herding, kcenter
from fewshot.draws.episodes import (
    Draw,
    Per,
    close,
    fiser_orders,
    given_orders,
    nested_order,
    require_enough,
    require_query,
    stratified_order,
)
from fewshot.draws.seeds import require_seed
from fewshot.protocols.trials.pool import EvaluationPool
from fewshot.protocols.trials.trials import Trials

Method = Literal["nested", "fiser", "herding", "kcenter"]
CORESETS = ("herding", "kcenter")


@dataclass(frozen=True)
class DrawRule:
    """How supports are drawn.

    Args:
        shots: the largest shot count; smaller ones are prefixes. None takes every image of a given list.
        trials: number of draws.
        seed: what all draws follow from.
        method: ``nested``, ``fiser``, ``herding`` or ``kcenter``.
        per: shots of each class, or of each source.
        stratified: spread each class's shots evenly over its sources.

    Raises:
        OptionError: a count below 1, or ``stratified`` beside another way of drawing.
    """

    shots: int | None
    trials: int = 100
    seed: int = 0
    method: Method = "nested"
    per: Per = "class"
    stratified: bool = False

    def __post_init__(self) -> None:
        if self.trials < 1:
            raise OptionError(f"--trials must be at least 1, and is {self.trials}")
        require_seed(self.seed)
        if self.shots is not None and self.shots < 1:
            raise OptionError(f"--shots must be at least 1, and is {self.shots}")
        if self.stratified and (self.per != "class" or self.method != "nested"):
            raise OptionError(
                f"--stratified goes with --per class and --draw nested, not with {self.per!r} and {self.method!r}"
            )

    @property
    def drop_near_duplicates(self) -> bool:
        """Whether near-duplicates of the support leave the query; FiSeR's draw keeps them."""
        return self.method != "fiser"


def draw_trials(pool: EvaluationPool, rule: DrawRule, features: FloatArray | None = None) -> Trials:
    """Draw every trial's support and query.

    Args:
        features: (n, D), needed by ``herding`` and ``kcenter``: they look at the features of all images that may be
            drawn (and at their class), and at a random half of them per trial so that trials differ.

    Raises:
        EpisodeError: too few images.
        OptionError: no shot count, or a coreset without features.
    """
    if rule.shots is None:
        raise OptionError("--shots is missing; give the number of labelled images")
    groups = pool.images.groups(rule.per)
    require_enough(groups, rule.shots, per=rule.per)
    draws = [
        _closed(pool, _orders(pool, rule, groups, trial, features), rule.shots, trial, rule)
        for trial in range(rule.trials)
    ]
    return Trials(pool, tuple(draws))


def given_trials(pool: EvaluationPool, rule: DrawRule, supports: Sequence[Sequence[str]]) -> Trials:
    """Return one trial per given list of sample keys (or pixel ids).

    Args:
        rule: each list is cut at ``rule.shots`` per class (or source); every image is taken when that is None.

    Raises:
        InputError: a key is not among the chosen images.
        EpisodeError: a list has fewer images of a class (or source) than ``rule.shots``.
    """
    rows = _rows_by_key(pool)
    draws = []
    for trial, listed in enumerate(supports):
        unknown = [key for key in listed if key not in rows]
        if unknown:
            raise InputError(
                f"the support lists {unknown[0]!r} ({len(unknown)} such), which is not among the {len(pool.keys)} "
                f"chosen images; list keys as `fewshot inspect` shows them, or loosen --where"
            )
        orders = given_orders(pool.images, [rows[key] for key in listed], per=rule.per)
        _require_listed(orders, rule.shots, trial)
        most = rule.shots or max(len(order) for order in orders.values())
        draws.append(_closed(pool, orders, most, trial, rule))
    return Trials(pool, tuple(draws))


def unused_images(supports: Sequence[Sequence[str]], trials: Trials) -> list[str]:
    """Return the warning that lists of a support were cut at the shot count; nothing where they were taken whole."""
    cut = [
        len(listed) - sum(map(len, drawn.order.values())) for listed, drawn in zip(supports, trials.draws, strict=True)
    ]
    if not any(cut):
        return []
    return [
        f"the support lists up to {max(cut)} more images a trial than --shots takes; leave --shots out to take every "
        f"image listed"
    ]


def _orders(
    pool: EvaluationPool, rule: DrawRule, groups: Mapping[str, IntArray], trial: int, features: FloatArray | None
) -> dict[str, IntArray]:
    """Return the rows of every group in the order drawn."""
    if rule.method == "fiser":
        return fiser_orders(groups, seed=rule.seed + trial)
    return {name: _order(pool, rule, rows, (name, trial), features) for name, rows in groups.items()}


def _order(
    pool: EvaluationPool, rule: DrawRule, rows: IntArray, drawn_for: tuple[str, int], features: FloatArray | None
) -> IntArray:
    name, trial = drawn_for
    if rule.stratified:
        return stratified_order(rows, pool.images.source, seed=rule.seed, trial=trial, name=name)
    order = nested_order(rows, seed=rule.seed, trial=trial, name=name)
    if rule.method == "nested":
        return order
    if features is None:
        raise OptionError(f"--draw {rule.method} looks at features: choose one --backbone and one --layer")
    count = rule.shots or 1
    candidates = order[: max(count, len(order) // 2)]
    coreset = herding if rule.method == "herding" else kcenter
    return np.asarray(candidates[coreset(features[candidates], count=count)], dtype=np.int64)


def _closed(pool: EvaluationPool, orders: Mapping[str, IntArray], shots: int, trial: int, rule: DrawRule) -> Draw:
    drawn = close(pool.images, orders, shots=shots, trial=trial, drop_near_duplicates=rule.drop_near_duplicates)
    require_query(pool.images, drawn)
    return drawn


def _require_listed(orders: Mapping[str, IntArray], shots: int | None, trial: int) -> None:
    for name, order in orders.items():
        if shots is not None and len(order) < shots:
            raise EpisodeError(
                f"list {trial} of the support has {len(order)} {name} images for {shots} shots; lower --shots, or "
                f"leave it out to take every image listed"
            )


def _rows_by_key(pool: EvaluationPool) -> dict[str, int]:
    """Return key, and pixel id where there is one, -> row, of the images that may be support."""
    images = pool.images
    allowed = np.flatnonzero(np.ones(len(images), bool) if images.supports is None else images.supports)[::-1].tolist()
    found = {} if images.id is None else {str(images.id[row]): row for row in allowed if images.id[row]}
    return {**found, **{str(pool.keys[row]): row for row in allowed}}
