"""How the supports of an experiment are drawn: nested, as FiSeR does, by coreset, or as the user lists them."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
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
from fewshot.protocols.trials.pool import EvaluationPool

Method = Literal["nested", "fiser", "herding", "kcenter"]


def draw_all(
    pool: EvaluationPool,
    *,
    method: Method,
    shots: int,
    trials: int,
    seed: int,
    per: Per = "class",
    stratified: bool = False,
    features: FloatArray | None = None,
) -> list[Draw]:
    """Draw every trial's support and query.

    Args:
        shots: the largest shot count; smaller ones are prefixes.
        stratified: spread each class's shots evenly over its sources.
        features: (n, D), needed by ``herding`` and ``kcenter``: they look at the features of all images that may be
            drawn (and at their class), and at a random half of them per trial so that trials differ.

    Raises:
        EpisodeError: too few images.
    """
    if stratified and (per != "class" or method != "nested"):
        raise OptionError(f"--stratified goes with --per class and --draw nested, not with {per!r} and {method!r}")
    groups = pool.images.groups(per)
    require_enough(groups, shots, per=per)
    draws = []
    for trial in range(trials):
        if method == "fiser":
            orders = fiser_orders(groups, seed=seed + trial)
        else:
            orders = {
                name: _order(pool, method, rows, shots, seed, trial, name, stratified, features)
                for name, rows in groups.items()
            }
        draws.append(_closed(pool, orders, shots, trial, drop_near_duplicates=method != "fiser"))
    return draws


def draw_given(
    pool: EvaluationPool,
    supports: Sequence[Sequence[str]],
    *,
    shots: int | None,
    per: Per = "class",
    drop_near_duplicates: bool = True,
) -> list[Draw]:
    """Return one trial per given list of sample keys (or pixel ids).

    Args:
        shots: each list is cut at so many per class (or source); every image is taken when None.
        drop_near_duplicates: remove duplicates of the support from the query.

    Raises:
        InputError: a key is not among the chosen images.
        EpisodeError: a list has fewer images of a class (or source) than ``shots``.
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
        orders = given_orders(pool.images, [rows[key] for key in listed], per=per)
        for name, order in orders.items():
            if shots is not None and len(order) < shots:
                raise EpisodeError(
                    f"list {trial} of the support has {len(order)} {name} images for {shots} shots; lower --shots, or "
                    f"leave it out to take every image listed"
                )
        most = shots or max(len(order) for order in orders.values())
        draws.append(_closed(pool, orders, most, trial, drop_near_duplicates=drop_near_duplicates))
    return draws


def left_over(supports: Sequence[Sequence[str]], draws: Sequence[Draw]) -> list[str]:
    """Return the warning that lists of a support were cut at the shot count; nothing where they were taken whole."""
    cut = [len(listed) - sum(map(len, drawn.order.values())) for listed, drawn in zip(supports, draws, strict=True)]
    if not any(cut):
        return []
    return [
        f"the support lists up to {max(cut)} more images a trial than --shots takes; leave --shots out to take every "
        f"image listed"
    ]


def _rows_by_key(pool: EvaluationPool) -> dict[str, int]:
    """Return key, and pixel id where there is one, -> row, of the images that may be support."""
    images = pool.images
    allowed = np.flatnonzero(np.ones(len(images), bool) if images.supports is None else images.supports)[::-1].tolist()
    found = {} if images.id is None else {str(images.id[row]): row for row in allowed if images.id[row]}
    return {**found, **{str(pool.keys[row]): row for row in allowed}}


def read_supports(path: Path) -> list[list[str]]:
    """Read a support file: a report, JSON lists of keys, or a text file with one key a line (one trial).

    Raises:
        InputError: no such file, or empty.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"the support file {path} cannot be read ({error})") from error
    if path.suffix == ".json":
        try:
            lists = _lists(json.loads(text))
        except (ValueError, TypeError, AttributeError) as error:
            raise InputError(
                f"the support file {path} holds no lists of sample keys ({error}); give a report, or JSON lists of keys"
            ) from error
    else:
        lists = [[line.strip() for line in text.splitlines() if line.strip()]]
    if not lists or not all(lists):
        raise InputError(f"the support file {path} lists no image; write one sample key a line, or JSON lists of keys")
    return lists


def _lists(document: object) -> list[list[str]]:
    if isinstance(document, Mapping):
        inner = document.get("supports", document)
        return [[str(key) for key in listed] for listed in inner.values()]
    if isinstance(document, list) and document and isinstance(document[0], str):
        return [[str(key) for key in document]]
    return [[str(key) for key in listed] for listed in document] if isinstance(document, list) else []


def _closed(
    pool: EvaluationPool, orders: Mapping[str, IntArray], shots: int, trial: int, *, drop_near_duplicates: bool
) -> Draw:
    drawn = close(pool.images, orders, shots=shots, trial=trial, drop_near_duplicates=drop_near_duplicates)
    require_query(pool.images, drawn)
    return drawn


def _order(
    pool: EvaluationPool,
    method: Method,
    rows: IntArray,
    shots: int,
    seed: int,
    trial: int,
    name: str,
    stratified: bool,
    features: FloatArray | None,
) -> IntArray:
    if stratified:
        return stratified_order(rows, pool.images.source, seed=seed, trial=trial, name=name)
    order = nested_order(rows, seed=seed, trial=trial, name=name)
    if method == "nested":
        return order
    if features is None:
        raise OptionError(f"--draw {method} looks at features: choose one --backbone and one --layer")
    candidates = order[: max(shots, len(order) // 2)]
    if method == "herding":
        return np.asarray(candidates[herding(features[candidates], count=shots)], dtype=np.int64)
    return np.asarray(candidates[kcenter(features[candidates], count=shots)], dtype=np.int64)
