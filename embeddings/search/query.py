"""Queries for an index: rows of a store, or images embedded just as the store's images were."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fewshot.core.arrays import Float32Array, IntArray
from fewshot.core.device import torch_device
from fewshot.core.errors import InputError, StoreError
from fewshot.embeddings.layer_key import CLEAN
from fewshot.embeddings.search.index import SourceIndex
from fewshot.embeddings.store.reader import FeatureStore, LayerInfo

if TYPE_CHECKING:
    from fewshot.embeddings.backbones.base import Backbone

# What must be equal for two features to be compared: the network's weights and what the network was shown.
PINNED = ("weights", "input", "reencode")


@dataclass(frozen=True)
class Queries:
    """Features to look up, and what may not be an answer.

    Args:
        features: (M, D) float32.
        images: (M,) paths or keys.
        files: (M,) where each image lies, for pictures; None where that is not known.
        leave_out: (M,) store rows that show the same pixels, or share the group, and are no answer.
        sources: (M,) the true source of each query; empty when they are not known.
        failed: (path, reason) of images that could not be read.
    """

    features: Float32Array
    images: tuple[str, ...]
    files: tuple[Path | None, ...]
    leave_out: tuple[IntArray, ...]
    sources: tuple[str, ...] = ()
    failed: tuple[tuple[str, str], ...] = ()


def from_store(
    index: SourceIndex,
    store: FeatureStore,
    *,
    where: Mapping[str, str | Sequence[str]] | None = None,
    per_source: int | None = None,
    group: str | None = None,
    seed: int = 0,
) -> Queries:
    """Return rows of ``store`` as queries; rows of the index with the query's own pixel id are left out.

    Args:
        index: where they will be looked up.
        store: the queries' store; it may be the indexed one, which makes this leave-one-out.
        where: which of its images; all when None.
        per_source: at most this many of each source, drawn by ``seed``; all when None.
        group: a column of both stores; index rows that share the query's value are left out too.

    Raises:
        StoreError: the two layers were made with other weights or another input rule.
    """
    info = store.info(index.info.backbone, index.info.layer, view=index.info.view)
    require_same_making(index, info.provenance, where=str(store.path))
    rows = store.select(where)
    rows = rows[store.present(info.backbone, view=info.view)[rows]]
    if per_source is not None:
        rows = _some_of_each(rows, store.source[rows], per_source, seed)
    if not len(rows):
        raise InputError(f"{store.path}: none of the images asked for has features of {info.backbone!r}")
    keys = store.column("key")[rows]
    return Queries(
        features=store.read(rows, info.backbone, info.layer, view=info.view),
        images=tuple(map(str, keys)),
        files=image_files(store, rows),
        leave_out=tuple(own_rows(index.store, store, rows, group=group)),
        sources=tuple(map(str, store.source[rows])),
    )


def own_rows(indexed: FeatureStore, store: FeatureStore, rows: IntArray, *, group: str | None = None) -> list[IntArray]:
    """Return, for some rows of ``store``, the rows of ``indexed`` with the same pixel id, row or group value."""
    same = rows_sharing(indexed.column("id"), store.column("id")[rows])
    if store.digest == indexed.digest:
        same = [np.union1d(found, row) for found, row in zip(same, rows, strict=True)]
    if group is not None:
        grouped = rows_sharing(indexed.column(group), store.column(group)[rows])
        same = [np.union1d(found, others) for found, others in zip(same, grouped, strict=True)]
    return [found.astype(np.int64) for found in same]


def from_images(
    index: SourceIndex,
    paths: Sequence[Path],
    *,
    weights: Sequence[str] = (),
    device: str = "auto",
) -> Queries:
    """Embed images with the backbone that the store records; store rows of the same pixels are left out.

    Args:
        index: where they will be looked up; names backbone, layer, weights and input rule.
        paths: image files; a folder is one that cannot be read.
        weights: ``NAME=PATH`` requests, as for ``fewshot embed``.
        device: where the network runs; ``auto`` is CUDA where there is one.

    Raises:
        InputError: no image could be read.
        StoreError: the weights or the input rule are not those of the store.
        WeightsError: the weights are not on this machine.
    """
    read, failed = _decoded(paths, decoder=str(index.info.provenance.get("decoder", "pillow")))
    if not read:
        raise InputError(f"none of {len(failed)} images can be read; the first, {failed[0][0]}: {failed[0][1]}")
    backbone = backbone_of(index, weights=weights, device=device)
    features = np.concatenate([_embedded(backbone, image, pixel_id, index.info) for _, image, pixel_id in read])
    return Queries(
        features=features,
        images=tuple(str(path) for path, _, _ in read),
        files=tuple(path for path, _, _ in read),
        leave_out=tuple(rows_sharing(index.store.column("id"), [pixels for _, _, pixels in read])),
        failed=tuple(failed),
    )


def backbone_of(index: SourceIndex, *, weights: Sequence[str], device: str) -> "Backbone":
    """Return the loaded backbone that made the indexed layer.

    Raises:
        StoreError: what is installed differs in weights or input rule.
        DeviceError: the device is not there.
    """
    from fewshot.embeddings.backbones.creation import create
    from fewshot.embeddings.weights.locate import resolve

    backbone = create(index.info.backbone, layers=(index.info.layer,))
    backbone.load(device=torch_device(device), weights=resolve(backbone.card, weights))
    made = {"weights": backbone.weights_sha256, "input": str(backbone.card.input)}
    require_same_making(index, made, where="the backbone on this machine")
    return backbone


def require_same_making(index: SourceIndex, facts: Mapping[str, Any], *, where: str) -> None:
    """Raise unless the weights and the input rule are those of the indexed layer.

    Raises:
        StoreError: one differs; features would not be comparable.
    """
    for name in PINNED:
        wanted, found = index.info.provenance.get(name), facts.get(name)
        if wanted is not None and found is not None and wanted != found:
            raise StoreError(
                f"{index.indexed} was made with {name} = {wanted}, and {where} has {found}; "
                f"give --weights {index.info.backbone}=PATH of the same file, or embed again with these"
            )


def image_files(store: FeatureStore, rows: IntArray | Sequence[int]) -> tuple[Path | None, ...]:
    """Return where the images of some rows lie, None where one is not there any more or lies within an archive."""
    roots, members, paths = store.column("root"), store.column("member"), store.column("path")
    found: list[Path | None] = []
    for row in rows:
        root = int(roots[row])
        path = Path(store.roots[root] if root < len(store.roots) else ".") / str(paths[row])
        found.append(path if paths[row] and not members[row] and path.is_file() else None)
    return tuple(found)


def rows_sharing(values: Any, queries: Any) -> list[IntArray]:
    """Return, for each query value, the positions in ``values`` that hold it; none for an empty value.

    >>> [list(map(int, rows)) for rows in rows_sharing(["a", "b", "a", ""], ["a", "c", ""])]
    [[0, 2], [], []]
    """
    where: dict[Any, list[int]] = {}
    for position, value in enumerate(values):
        if value != "":
            where.setdefault(value, []).append(position)
    return [np.array(where.get(value, []), dtype=np.int64) for value in queries]


def _some_of_each(rows: IntArray, sources: Any, per_source: int, seed: int) -> IntArray:
    chosen = []
    for number, name in enumerate(sorted(set(sources))):
        own = rows[sources == name]
        chosen.append(np.random.default_rng([seed, per_source, number]).permutation(own)[:per_source])
    return np.sort(np.concatenate(chosen)) if chosen else rows


def _decoded(paths: Sequence[Path], *, decoder: str) -> tuple[list[tuple[Path, Any, str]], list[tuple[str, str]]]:
    from fewshot.embeddings.inputs.decoders import decoder_of
    from fewshot.embeddings.inputs.images import UnreadableImage

    read, failed = [], []
    decode = decoder_of(decoder)
    for path in paths:
        if path.is_dir():
            failed.append((str(path), "is a folder; name its images, or embed it and give the store as --query"))
            continue
        try:
            image, facts = decode(path.read_bytes())
            read.append((path, image, facts.id))
        except OSError as error:
            failed.append((str(path), f"missing: {error.strerror or error}"))
        except UnreadableImage as error:
            failed.append((str(path), str(error)))
    return read, failed


def _embedded(backbone: "Backbone", image: Any, pixel_id: str, info: LayerInfo) -> Float32Array:
    """Return (1, D) float32 features of one RGB image, re-encoded and perturbed as the layer's images were."""
    import torch

    from fewshot.embeddings.inputs.decoders import resize_of
    from fewshot.embeddings.inputs.views import parse, perturb

    view, reencoding = parse(info.view), parse(str(info.provenance.get("reencode", "")) or CLEAN)
    if view.input is not None:
        raise InputError(f"the view {info.view!r} perturbs the network's input; look up images in the view clean")
    image = perturb(perturb(image, reencoding.pixels, pixel_id=pixel_id), view.pixels, pixel_id=pixel_id)
    resize = resize_of(str(info.provenance.get("decoder", "pillow")))
    batch = torch.from_numpy(np.ascontiguousarray(backbone.card.input(image, resize=resize)[None]))
    return np.asarray(backbone.embed(batch)[info.layer].float().cpu().numpy(), dtype=np.float32)
