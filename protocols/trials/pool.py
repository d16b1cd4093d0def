"""What an experiment works on: the chosen images of a store (or of two), and their features as a head wants them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fewshot.audit import confound_warning
from fewshot.core.arrays import BoolArray, Float32Array, Float64Array, FloatArray, IntArray
from fewshot.core.errors import InputError, StoreError
from fewshot.draws.episodes import Pool, require_both
from fewshot.embeddings.layer_key import CLEAN, LOGIT
from fewshot.embeddings.store.layer_provenance import differences
from fewshot.embeddings.store.reader import FeatureStore, LayerInfo
from fewshot.heads.base import Head

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
    """

    parts: tuple[tuple[FeatureStore, IntArray], ...]
    images: Pool
    keys: NDArray[Any]
    dataset: NDArray[Any]
    title: str
    warnings: tuple[str, ...] = ()

    def info(self, backbone: str, layer: str) -> LayerInfo:
        """Return what the first store says of a layer."""
        return self.parts[0][0].info(backbone, layer)

    def features(self, backbone: str, layer: str) -> Float32Array:
        """Return (n, D) float32 features: of unit length, or as stored where the store marks them as normalised.

        Raises:
            InputError: a value is not finite, or a vector is zero and has no direction.
        """
        read = [store.read(rows, backbone, layer) for store, rows in self.parts]
        features = read[0] if len(read) == 1 else np.concatenate(read)
        self._require_finite(features, backbone, layer)
        if self.info(backbone, layer).normalised:
            return features
        lengths = np.linalg.norm(features, axis=1, keepdims=True)
        self._refuse(lengths[:, 0] == 0, backbone, layer, "a zero vector, which has no direction")
        unit: Float32Array = np.divide(features, lengths, out=features)
        return unit

    def for_head(self, head: Head, backbone: str, layer: str, *, view: str = CLEAN) -> FloatArray:
        """Return the features (n, D) as a head wants them: unit length, raw, or columns made of several views.

        A head that looks at several views sees each of them on top of ``view``.

        Raises:
            StoreError: a view that the head needs is not in the store; the message says how to add it.
            InputError: as ``features``.
        """
        read = {}
        for wanted in head.views:
            name = wanted if view == CLEAN else view if wanted == CLEAN else f"{view}+{wanted}"
            if any(name not in store.views(backbone) for store, _ in self.parts):
                raise StoreError(
                    f"the head {head.name!r} needs the view {name!r} of {backbone!r}, which is not in the store; "
                    f"add it with `fewshot embed ... --view {name}`"
                )
            read[wanted] = self._read(backbone, layer, name)
            self._require_finite(read[wanted], backbone, layer)
        normalised = self.info(backbone, layer).normalised
        return head.prepare(read, normalised=normalised, what=f"layer {layer!r} of {backbone!r}")

    def _read(self, backbone: str, layer: str, view: str) -> Float32Array:
        read = [store.read(rows, backbone, layer, view=view) for store, rows in self.parts]
        return read[0] if len(read) == 1 else np.concatenate(read)

    def logit(self, backbone: str) -> Float64Array | None:
        """Return (n,) the scores of the pretrained head that came with the checkpoint, or None when it has none."""
        if not all(store.has_logit(backbone) for store, _ in self.parts):
            return None
        read = np.concatenate([store.read(rows, backbone, LOGIT) for store, rows in self.parts])
        self._require_finite(read, backbone, LOGIT)
        return read[:, 0].astype(np.float64)

    def digests(self, backbones: Sequence[str], layers: Mapping[str, Sequence[str]]) -> list[dict[str, Any]]:
        """Return every store's path and the digests of the layers read."""
        return [
            {
                "path": str(store.path),
                "layers": {
                    f"{name}/{layer}": store.info(name, layer).digest for name in backbones for layer in layers[name]
                },
            }
            for store, _ in self.parts
        ]

    def _require_finite(self, features: Float32Array, backbone: str, layer: str) -> None:
        self._refuse(np.asarray(~np.isfinite(features).all(axis=1)), backbone, layer, "NaN or infinite")

    def _refuse(self, bad: BoolArray, backbone: str, layer: str, what: str) -> None:
        if bad.any():
            key = self.keys[int(np.flatnonzero(bad)[0])]
            raise InputError(
                f"layer {layer!r} of {backbone!r}: the features of {key!r} are {what} ({int(bad.sum())} such images of "
                f"{len(bad)}); embed them again (in --precision fp32), choose another --layer, or leave them out"
            )


def load_pool(
    store: FeatureStore,
    *,
    backbones: Sequence[str],
    where: Mapping[str, str] | None = None,
    group: str | None = None,
    query: FeatureStore | None = None,
) -> EvaluationPool:
    """Choose the images that take part.

    Only images that every backbone has take part, so that all of them draw and are asked the same; the others are
    counted in a warning, and so is what their file facts alone tell of the classes.

    Args:
        store: where supports are drawn, and queries too unless ``query`` is given.
        where: columns and the values wanted.
        group: the column whose equal values never stand on both sides.
        query: another store whose images are all queried.

    Raises:
        InputError: nothing left, or one class only.
        StoreError: the two stores' features were not made the same way.
    """
    if query is not None:
        _require_same_making(store, query, backbones)
    parts, warnings = [], []
    for one in (store, query) if query is not None else (store,):
        rows, notes = _chosen(one, backbones, where)
        parts.append((one, rows))
        warnings += [*notes, *filter(None, [random_weights_warning(one, backbones), confound_warning(one, rows)])]
    both = [_Columns.read(one, rows, group) for one, rows in parts]
    count = [len(columns.keys) for columns in both]
    first = np.repeat([True, False], [count[0], sum(count[1:])])
    ranked = all(columns.rank is not None for columns in both)
    images = Pool(
        synthetic=np.concatenate([columns.synthetic for columns in both]),
        source=np.concatenate([columns.source for columns in both]),
        group=np.concatenate([columns.group for columns in both]) if group else None,
        id=np.concatenate([columns.id for columns in both]),
        phash=np.concatenate([columns.phash for columns in both]),
        supports=first if query is not None else None,
        queries=~first if query is not None else None,
        rank=np.concatenate([np.asarray(columns.rank) for columns in both]) if ranked else None,
    )
    require_both(images)
    return EvaluationPool(
        parts=tuple(parts),
        images=images,
        keys=np.concatenate([columns.keys for columns in both]),
        dataset=np.concatenate([columns.dataset for columns in both]),
        title=" -> ".join(columns.title for columns in both),
        warnings=tuple(warnings),
    )


@dataclass(frozen=True)
class _Columns:
    keys: NDArray[Any]
    synthetic: BoolArray
    source: NDArray[Any]
    group: NDArray[Any]
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
            group=store.column(group)[rows].astype(str).astype(object) if group else named,
            id=store.column("id")[rows],
            phash=store.column("phash")[rows].astype(np.uint64),
            dataset=named,
            rank=store.column(RANK)[rows].astype(np.int64) if RANK in store.columns else None,
            title=names[0] if len(names) == 1 else store.path.stem,
        )


def _chosen(
    store: FeatureStore, backbones: Sequence[str], where: Mapping[str, str] | None
) -> tuple[IntArray, list[str]]:
    rows = store.select(where)
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


def _require_same_making(store: FeatureStore, query: FeatureStore, backbones: Sequence[str]) -> None:
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
                    f"{name!r} was made otherwise in {query.path} than in {store.path}: {'; '.join(unlike)}; "
                    f"embed both with the same"
                )
            if (mine.dimension, mine.normalised) != (theirs.dimension, theirs.normalised):
                raise StoreError(
                    f"layer {layer!r} of {name!r} is not the same in {store.path} and {query.path}: dimension "
                    f"{mine.dimension} and {theirs.dimension}, normalised {mine.normalised} and {theirs.normalised}; "
                    f"embed both with the same"
                )
