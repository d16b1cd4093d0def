"""What an experiment works on: the chosen images of a store (or of two), and their features as a head wants them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fewshot.audit import confound_warning
from fewshot.core.arrays import BoolArray, Float32Array, Float64Array, FloatArray, IntArray
from fewshot.core.errors import InputError, StoreError
from fewshot.draws.episodes import Pool, require_both
from fewshot.embeddings.layer_key import CLEAN, LOGIT, LayerKey
from fewshot.embeddings.store.layer_provenance import differences
from fewshot.embeddings.store.reader import FeatureStore, LayerInfo
from fewshot.embeddings.store.selection import rows_where
from fewshot.heads.base import Head
from fewshot.protocols.trials.stores_read import StoreRead

ARROW = " -> "  # between the data sets of support and query
RANK = "source_id"  # the column in which an imported archive keeps its source numbers


@dataclass(frozen=True)
class EvaluationPool:
    """The images of one experiment, numbered 0 .. n - 1, and where their features are.

    Args:
        parts: (store, rows) in order; two of them when support and query come from different stores.
        images: labels, groups and hashes of all rows.
        keys: (n,) the samples' keys.
        dataset: (n,) the data set of every image.
        title: the name of the whole: the data set, or ``A -> B``.
        warnings: what the reader must know, for example rows left out.
        replay: rows of the support's store that are neither drawn nor queried, for heads that replay an old domain.
    """

    parts: tuple[tuple[FeatureStore, IntArray], ...]
    images: Pool
    keys: NDArray[Any]
    dataset: NDArray[Any]
    title: str
    warnings: tuple[str, ...] = ()
    replay: IntArray | None = None

    @property
    def support_store(self) -> FeatureStore:
        """The store that supports are drawn from."""
        return self.parts[0][0]

    def features(self, key: LayerKey) -> Float32Array:
        """Return (n, D) float32 features: of unit length, or as stored where the store marks them as normalised.

        Raises:
            InputError: a value is not finite, or a vector is zero and has no direction.
        """
        features = self._read(key)
        self._require_finite(features, key)
        if self._info(key).normalised:
            return features
        lengths = np.linalg.norm(features, axis=1, keepdims=True)
        self._refuse(lengths[:, 0] == 0, key, "a zero vector, which has no direction")
        unit: Float32Array = np.divide(features, lengths, out=features)
        return unit

    def for_head(self, head: Head, key: LayerKey) -> FloatArray:
        """Return the features (n, D) as a head wants them: unit length, raw, or columns made of several views.

        A head that looks at several views sees each of them on top of ``key.view``.

        Raises:
            StoreError: a view that the head needs is not in the store; the message says how to add it.
            InputError: as ``features``.
        """
        return self._prepared(head, key, self.parts)

    def with_replay(self, head: Head, key: LayerKey) -> Head:
        """Return the head with the images that it replays: itself where it takes none, or there are none."""
        if self.replay is None or not head.takes_replay:
            return head
        features = self._prepared(head, key, ((self.support_store, self.replay),))
        return head.with_replay(features, self.support_store.synthetic[self.replay])

    def _prepared(self, head: Head, key: LayerKey, parts: Sequence[tuple[FeatureStore, IntArray]]) -> FloatArray:
        read = {}
        for wanted, needed in zip(head.views, self.keys_for_head(head, key), strict=True):
            if any(needed.view not in store.views(key.backbone) for store, _ in parts):
                raise StoreError(
                    f"the head {head.name!r} needs the view {needed.view!r} of {key.backbone!r}, which is not in the "
                    f"store; add it with `fewshot embed ... --view {needed.view}`"
                )
            read[wanted] = _features_of(parts, needed)
            self._require_finite(read[wanted], key)
        normalised = self._info(key).normalised
        return head.prepare(read, normalised=normalised, what=f"layer {key.layer!r} of {key.backbone!r}")

    @staticmethod
    def keys_for_head(head: Head | type[Head], key: LayerKey) -> tuple[LayerKey, ...]:
        """Return what a head reads for the features at ``key``: the layer in each view that it looks at."""
        views = [
            name if key.view == CLEAN else key.view if name == CLEAN else f"{key.view}+{name}" for name in head.views
        ]
        return tuple(replace(key, view=view) for view in views)

    def _info(self, key: LayerKey) -> LayerInfo:
        return self.support_store.info(key.backbone, key.layer)

    def _read(self, key: LayerKey) -> Float32Array:
        return _features_of(self.parts, key)

    def pretrained_scores(self, backbone: str, *, view: str = CLEAN) -> Float64Array | None:
        """Return (n,) the scores of the pretrained head that came with the checkpoint, or None when it has none."""
        if not all(store.has_logit(backbone, view=view) for store, _ in self.parts):
            return None
        key = LayerKey(backbone, LOGIT, view)
        read = self._read(key)
        self._require_finite(read, key)
        return read[:, 0].astype(np.float64)

    def stores_read(self, keys: Sequence[LayerKey]) -> list[dict[str, Any]]:
        """Return every store's path and the digests of the layers read, as JSON values."""
        return [StoreRead.of(store, keys).to_json() for store, _ in self.parts]

    def _require_finite(self, features: Float32Array, key: LayerKey) -> None:
        self._refuse(np.asarray(~np.isfinite(features).all(axis=1)), key, "NaN or infinite")

    def _refuse(self, bad: BoolArray, key: LayerKey, what: str) -> None:
        if bad.any():
            image = self.keys[int(np.flatnonzero(bad)[0])]
            raise InputError(
                f"layer {key.layer!r} of {key.backbone!r}: the features of {image!r} are {what} ({int(bad.sum())} such "
                f"images of {len(bad)}); embed them again (in --precision fp32), choose another --layer, or leave them "
                f"out"
            )


def _features_of(parts: Sequence[tuple[FeatureStore, IntArray]], key: LayerKey) -> Float32Array:
    read = [store.read(rows, key.backbone, key.layer, view=key.view) for store, rows in parts]
    return read[0] if len(read) == 1 else np.concatenate(read)


def load_pool(
    store: FeatureStore,
    *,
    backbones: Sequence[str],
    where: Mapping[str, str] | None = None,
    group: str | None = None,
    query: FeatureStore | None = None,
    held_back: IntArray | None = None,
) -> EvaluationPool:
    """Choose the images that take part.

    Only images that every backbone has take part, so that all of them draw and query the same; the others are
    counted in a warning, and so is how well their file metadata alone separates the classes.

    Args:
        store: where supports are drawn, and queries too unless ``query`` is given.
        where: columns and the values wanted; of two stores, one at least must hold each value.
        group: the column whose equal values never stand on both sides.
        query: another store whose images are all queried.
        held_back: rows of ``store`` that take no part.

    Raises:
        InputError: nothing left, or one class only.
        StoreError: the two stores' features were produced differently.
    """
    if query is not None:
        _require_same_provenance(store, query, backbones)
    parts, warnings = [], []
    stores = (store, query) if query is not None else (store,)
    for one in stores:
        rows, notes = _chosen(one, backbones, where, also=[other for other in stores if other is not one])
        rows = np.setdiff1d(rows, held_back) if held_back is not None and one is store else rows
        parts.append((one, rows))
        warnings += [*notes, *filter(None, [random_weights_warning(one, backbones), confound_warning(one, rows)])]
    columns = [_Columns.read(one, rows, group) for one, rows in parts]
    images = _images(columns, grouped=group is not None)
    require_both(images)
    return EvaluationPool(
        parts=tuple(parts),
        images=images,
        keys=np.concatenate([part.keys for part in columns]),
        dataset=np.concatenate([part.dataset for part in columns]),
        title=ARROW.join(part.title for part in columns),
        warnings=tuple(warnings),
    )


@dataclass(frozen=True)
class _Columns:
    """The columns of one store's rows that take part: each (n,), in the order of the rows."""

    keys: NDArray[Any]
    synthetic: BoolArray
    source: NDArray[Any]
    group: NDArray[Any] | None
    id: NDArray[Any]
    phash: NDArray[np.uint64]
    dataset: NDArray[Any]
    rank: IntArray | None
    title: str

    @classmethod
    def read(cls, store: FeatureStore, rows: IntArray, group: str | None) -> "_Columns":
        dataset = store.column("dataset")[rows]
        named = np.where(dataset == "", store.path.stem, dataset).astype(object)
        names = sorted(set(named))
        return cls(
            keys=store.column("key")[rows],
            synthetic=store.synthetic[rows],
            source=store.source[rows],
            group=store.column(group)[rows].astype(str).astype(object) if group else None,
            id=store.column("id")[rows],
            phash=store.column("phash")[rows].astype(np.uint64),
            dataset=named,
            rank=store.column(RANK)[rows].astype(np.int64) if RANK in store.columns else None,
            title=names[0] if len(names) == 1 else store.path.stem,
        )


def _images(parts: Sequence[_Columns], *, grouped: bool) -> Pool:
    """Return the images of one store; of two, the first are support and the others are queried."""
    first = np.repeat([True, False], [len(parts[0].keys), sum(len(part.keys) for part in parts[1:])])
    several, ranked = len(parts) > 1, all(part.rank is not None for part in parts)
    return Pool(
        synthetic=np.concatenate([part.synthetic for part in parts]),
        source=np.concatenate([part.source for part in parts]),
        group=np.concatenate([np.asarray(part.group) for part in parts]) if grouped else None,
        id=np.concatenate([part.id for part in parts]),
        phash=np.concatenate([part.phash for part in parts]),
        supports=first if several else None,
        queries=~first if several else None,
        rank=np.concatenate([np.asarray(part.rank) for part in parts]) if ranked else None,
    )


def _chosen(
    store: FeatureStore, backbones: Sequence[str], where: Mapping[str, str] | None, *, also: Sequence[FeatureStore]
) -> tuple[IntArray, list[str]]:
    rows = rows_where(store, where or {}, what=str(store.path), also=also)
    present = {name: store.present(name)[rows] for name in backbones}
    kept = np.logical_and.reduce(list(present.values()))
    notes = []
    if not kept.all():
        lost = ", ".join(f"{name} {int((~has).sum())}" for name, has in present.items() if not has.all())
        notes.append(
            f"{int((~kept).sum())} of {len(rows)} images of {store.path.name} are left out because a backbone has no "
            f"features of them ({lost}); `fewshot inspect` lists the reasons"
        )
    if not kept.any():
        raise InputError(
            f"{store.path}: no image has features of all of {', '.join(backbones)}; choose fewer backbones"
        )
    return rows[kept], notes


def random_weights_warning(store: FeatureStore, backbones: Sequence[str]) -> str:
    """Return the warning that names the backbones whose networks were never trained, empty when there is none."""
    random = sorted(
        {
            layer.backbone
            for layer in store.layers
            if layer.backbone in backbones and _holds_random(layer.provenance.get("weights"))
        }
    )
    if not random:
        return ""
    return f"RANDOM WEIGHTS in {store.path.name}: {', '.join(random)}; the rows of these backbones mean nothing"


def _holds_random(weights: object) -> bool:
    return isinstance(weights, Mapping) and any(str(digest).startswith("random") for digest in weights.values())


def _require_same_provenance(store: FeatureStore, query: FeatureStore, backbones: Sequence[str]) -> None:
    """Raise unless support and query have features of the same weights, preprocessing and dimension."""
    for name in backbones:
        if name not in query.backbones:
            raise StoreError(
                f"{query.path} has no backbone {name!r} (it has {', '.join(query.backbones)}), which {store.path} has; "
                f"embed it there too, or choose with --backbone"
            )
        for layer in store.layer_names(name):
            if layer not in query.layer_names(name):
                continue
            mine, theirs = store.info(name, layer), query.info(name, layer)
            unlike = differences(mine.provenance, theirs.provenance)
            if unlike:
                raise StoreError(
                    f"{name!r} was produced differently in {query.path} than in {store.path}: {'; '.join(unlike)}; "
                    f"embed both with the same"
                )
            if (mine.dimension, mine.normalised) != (theirs.dimension, theirs.normalised):
                raise StoreError(
                    f"layer {layer!r} of {name!r} is not the same in {store.path} and {query.path}: dimension "
                    f"{mine.dimension} and {theirs.dimension}, normalised {mine.normalised} and {theirs.normalised}; "
                    f"embed both with the same"
                )
