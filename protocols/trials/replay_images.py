"""Images that an experiment holds back to be replayed: an old domain, neither drawn as support nor queried."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from fewshot.core.arrays import IntArray
from fewshot.core.errors import InputError
from fewshot.embeddings.store.reader import FeatureStore
from fewshot.embeddings.store.selection import rows_where
from fewshot.heads.base import Head
from fewshot.protocols.trials.pool import EvaluationPool, load_pool


def load_pool_beside_replay(
    store: FeatureStore,
    *,
    backbones: Sequence[str],
    where: Mapping[str, str],
    replay_where: Mapping[str, str],
    group: str | None = None,
    query: FeatureStore | None = None,
) -> EvaluationPool:
    """Choose the images that take part, and of the same store those that are replayed.

    What is replayed has none of the groups, and is none of the images, that take part.

    Args:
        store, backbones, where, group, query: as in ``load_pool``.
        replay_where: columns and the values wanted of what is replayed, beside those of ``where`` for other columns;
            nothing is replayed where it is empty.

    Raises:
        InputError: no such image, one class only, or as ``load_pool``.
    """
    if not replay_where:
        return load_pool(store, backbones=backbones, where=where, group=group, query=query)
    rows = rows_where(store, {**where, **replay_where}, what=str(store.path))
    rows = rows[np.logical_and.reduce([store.present(name)[rows] for name in backbones])]
    pool = load_pool(store, backbones=backbones, where=where, group=group, query=query, held_back=rows)
    kept = _apart(store, rows, pool, group)
    if len(np.unique(store.synthetic[kept])) < 2:
        raise InputError(
            f"{store.path}: of the {len(rows)} images of --replay-where, {len(kept)} share no group with those that "
            f"take part, and they are not of both classes; choose natural and synthetic ones"
        )
    left_out = len(rows) - len(kept)
    note = f"{left_out} of {len(rows)} images of --replay-where are left out, for their group or file takes part too"
    return replace(pool, replay=kept, warnings=(*pool.warnings, *((note,) if left_out else ())))


def unreplayed(heads: Sequence[Head], pool: EvaluationPool) -> tuple[str, ...]:
    """Return the warning that names the heads which had nothing to replay but their support."""
    names = [head.name for head in heads if head.takes_replay]
    if pool.replay is not None or not names:
        return ()
    return (
        f"the head {', '.join(names)} replayed its own support; name images of the domain that it is to remember with "
        f"--replay-where COLUMN=VALUE",
    )


def _apart(store: FeatureStore, rows: IntArray, pool: EvaluationPool, group: str | None) -> IntArray:
    """Return the rows whose group and content are none of the pool's."""
    apart = ~np.isin(store.column("id")[rows], np.asarray(pool.images.id))
    if group is not None:
        apart &= ~np.isin(store.column(group)[rows].astype(str), np.asarray(pool.images.group).astype(str))
    return rows[apart]
