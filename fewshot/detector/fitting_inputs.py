"""Labelled images for a fit: stores as they are, folders and tables embedded first in a folder that outlives a kill."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from fewshot.core.arrays import IntArray
from fewshot.core.errors import InputError, OptionError, StoreError
from fewshot.core.progress import Progress
from fewshot.detector.known_images import FeatureKey, KnownImages, Role
from fewshot.embeddings.inputs.decoders import PILLOW
from fewshot.embeddings.layer_key import CLEAN
from fewshot.embeddings.layouts.collection import AUTO, Collection, collect
from fewshot.embeddings.store.layer_info import LayerInfo
from fewshot.embeddings.store.layer_provenance import unlike
from fewshot.embeddings.store.reader import FeatureStore
from fewshot.embeddings.weights.requests import value_of

Given = Path | str | FeatureStore
Class = Literal["natural", "synthetic"]
CLASSES: Mapping[Role, Class] = {"calibration": "natural", "held-out": "synthetic"}  # roles of one class
_LISTED = 20  # images that could not be used, by name
STORE_SUFFIXES = (".h5", ".hdf5")


@dataclass(frozen=True)
class Embedding:
    """How folders and tables are embedded for a fit.

    Args:
        folder: where stores are made; a run that was killed goes on there.
        backbones: names, or weight files; views: what the heads look at.
        weights: ``NAME=PATH`` requests; options: further ones of ``extract``.
        like: layers that the features must be comparable with, of stores or of a detector; empty for none.
    """

    folder: Path
    backbones: tuple[str, ...]
    views: tuple[str, ...] = (CLEAN,)
    weights: Sequence[str] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    like: tuple[LayerInfo, ...] = ()
    quiet: bool = False

    def beside(self, store: FeatureStore) -> "Embedding":
        """Return the same, for images that are to stand beside those of a store: its backbones, and how it made them.

        Raises:
            OptionError: the store has several backbones, and none was named.
        """
        names = self.backbones or store.backbones
        own = known_as(store, names)
        infos = [info for info in store.layers if info.backbone in own] or list(store.layers)
        return replace(self, backbones=tuple(names), options={**self.options, **recorded_options(infos)})


@dataclass(frozen=True)
class Labelled:
    """Some images of a store, all of which have the features that a fit looks at.

    Args:
        store: where they are; rows: which.
        lost: how many of those asked for lack features; other_class: how many are of the class that was not asked for.
    """

    store: FeatureStore
    rows: IntArray
    lost: int = 0
    other_class: int = 0

    def images(self, keys: Sequence[FeatureKey], *, role: Role) -> KnownImages:
        """Return the images with features of some layers and views."""
        store, rows = self.store, self.rows
        return KnownImages(
            keys=np.array([str(key) for key in store.column("key")[rows]], dtype=object),
            ids=np.array([str(image) for image in store.column("id")[rows]], dtype=object),
            sources=np.array([str(source) for source in store.source[rows]], dtype=object),
            roles=np.full(len(rows), role, dtype=object),
            synthetic=store.synthetic[rows],
            features={
                (backbone, layer, view): store.read_stored(rows, backbone, layer, view=view)
                for backbone, layer, view in keys
            },
        )


def embedding_like(
    layers: Sequence[LayerInfo], folder: Path, *, weights: Sequence[str] = (), device: str = AUTO, quiet: bool = False
) -> Embedding:
    """Return how images are embedded for a detector that has been fitted: on the path that its layers record.

    Args:
        layers: of the detector.
        folder: where stores are made; weights: ``NAME=PATH`` requests; device: where the networks run.

    Raises:
        WeightsError: a backbone is a weight file of the user's, and was not named.
    """
    from fewshot.embeddings.backbones.creation import recreate  # torch: stores need none of it
    from fewshot.embeddings.pipeline.recorded import recorded_reference

    names = {info.backbone: recorded_reference(info) for info in layers}
    wanted = {name: [info.layer for info in layers if info.backbone == name] for name in names}
    spoken = {
        name: str(value_of(weights, name) or recreate(reference, weights={})) if reference.base else name
        for name, reference in names.items()
    }
    return Embedding(
        folder,
        backbones=tuple(spoken.values()),
        views=tuple(dict.fromkeys(info.view for info in layers)),
        weights=tuple(weights),
        options={
            **recorded_options(layers),
            "device": device,
            "layers": {spoken[name]: list(dict.fromkeys(own)) for name, own in wanted.items()},
        },
        like=tuple(layers),
        quiet=quiet,
    )


def recorded_options(infos: Sequence[LayerInfo]) -> dict[str, Any]:
    """Return the options of ``extract`` by which further images are embedded as some layers were."""
    recorded = infos[0].provenance
    reencode = str(recorded.get("reencode") or "")
    return {
        "precision": str(recorded.get("precision") or "fp32"),
        "decoder": str(recorded.get("decoder") or PILLOW),
        "store_dtype": infos[0].dtype,
        "batch_size": int(recorded.get("batch_size") or 0) or AUTO,
        **({"match_format": reencode} if reencode else {}),
    }


def known_as(store: FeatureStore, names: Sequence[str]) -> list[str]:
    """Return the names by which a store knows backbones that were named; of a weight file of the user's, its stem."""
    return [name if name in store.backbones else Path(name).stem for name in names]


def class_wanted(role: Role) -> bool | None:
    """Return whether the images of a role are the synthetic ones of what is given, None where both classes are."""
    wanted = CLASSES.get(role)
    return None if wanted is None else wanted == "synthetic"


def is_store(given: Given) -> bool:
    """Return whether images are given as a store, open or as its file."""
    return isinstance(given, FeatureStore) or Path(given).suffix.lower() in STORE_SUFFIXES


def listed(given: Given, *, unlabelled: Class | None) -> Collection:
    """Return the images that a folder or table lists; ``unlabelled`` says of which class unlabelled folders are."""
    synthetic = None if unlabelled is None else unlabelled == "synthetic"
    return collect([Path(str(given))], one_class=True, skip_unlabelled=True, unlabelled=synthetic)


def opened(given: Given, embedding: Embedding, *, unlabelled: Class | None = None) -> FeatureStore:
    """Return the store of some images; those of a folder or table are embedded, as the embedding says.

    Args:
        given: an open store, a store's file, or a folder or table of images.
        unlabelled: of which class images are that nothing labels.

    Raises:
        FewshotError: as ``extract``; also when the features are not comparable with those they are to stand beside.
    """
    if isinstance(given, FeatureStore):
        store = given
    elif is_store(given):
        store = FeatureStore(given)
    else:
        store = _embedded(Path(str(given)), embedding, unlabelled)
    require_comparable(store, embedding.like)
    return store


def require_comparable(store: FeatureStore, like: Sequence[LayerInfo]) -> None:
    """Refuse a store whose features were produced differently than those they are to stand beside.

    Raises:
        StoreError: weights, input rule, precision or another identity field differs.
        UnknownNameError: it lacks a backbone, layer or view.
    """
    for wanted in like:
        found = store.info(wanted.backbone, wanted.layer, view=wanted.view)
        if different := unlike(wanted.provenance, found.provenance):
            raise StoreError(
                f"{store.path} was produced differently than what it is to stand beside: {'; '.join(different)}; "
                f"embed both with the same"
            )


def _embedded(root: Path, embedding: Embedding, unlabelled: Class | None) -> FeatureStore:
    if not embedding.backbones:
        raise OptionError(
            f"{root} has to be embedded; name the backbone with --backbone NAME (`fewshot list backbones`)"
        )
    from fewshot.embeddings.extract import extract  # torch: stores need none of it

    collection = listed(root, unlabelled=unlabelled)
    named = hashlib.sha256("\n".join(_what_is_embedded(root, embedding, collection)).encode("utf-8", "surrogateescape"))
    outcome = extract(
        root,
        backbones=embedding.backbones,
        out=embedding.folder / f"{named.hexdigest()[:16]}.h5",
        views=embedding.views,
        weights=embedding.weights,
        one_class=True,
        skip_unlabelled=True,
        unlabelled=unlabelled,
        quiet=embedding.quiet,
        **embedding.options,
    ).outcome
    if outcome.store is None:
        raise StoreError(f"{root} is not embedded yet: {outcome.notes[-1]}")
    _list_failures(outcome.failures, quiet=embedding.quiet)
    return outcome.store


def _what_is_embedded(root: Path, embedding: Embedding, collection: Collection) -> list[str]:
    """Return the lines that name unfinished work: other images, or the same ones embedded otherwise, begin anew."""
    how = {name: value for name, value in embedding.options.items() if name != "device"}
    stamps = [
        _stamp(collection.layouts[number].location(collection.roots[number], sample))
        for number, sample in zip(collection.root, collection.samples, strict=True)
    ]
    return [
        str(root.absolute()),
        *embedding.backbones,
        *embedding.views,
        repr(sorted(how.items())),
        *(
            f"{key} {sample.synthetic} {stamp}"
            for key, sample, stamp in zip(collection.keys, collection.samples, stamps, strict=True)
        ),
    ]


def _stamp(file: Path) -> str:
    """Return the size and time of a file, empty where it cannot be looked at."""
    try:
        status = file.stat()
    except (OSError, ValueError):
        return ""
    return f"{status.st_size} {status.st_mtime_ns}"


def _list_failures(failures: Mapping[str, str], *, quiet: bool) -> None:
    """List on stderr the images that could not be used, as ``embed`` does on stdout."""
    say = Progress(None, label="fit", unit="images", quiet=quiet).say
    for key, reason in list(failures.items())[:_LISTED]:
        say(f"  {key}: {reason}")
    if len(failures) > _LISTED:
        say(f"  and {len(failures) - _LISTED} more")


def chosen_rows(
    store: FeatureStore,
    keys: Sequence[FeatureKey],
    *,
    synthetic: bool | None = None,
    where: Mapping[str, str | Sequence[str]] | None = None,
) -> Labelled:
    """Return the images of a store that have all features, of one class where that is said.

    Args:
        where: as in ``FeatureStore.select``.

    Raises:
        InputError: none is left.
    """
    asked = store.select(where)
    rows = asked if synthetic is None else asked[store.synthetic[asked] == synthetic]
    there = np.ones(len(rows), dtype=bool)
    for backbone, view in dict.fromkeys((backbone, view) for backbone, _, view in keys):
        there &= store.present(backbone, view=view)[rows]
    if not there.any():
        what = "image" if synthetic is None else f"{'synthetic' if synthetic else 'natural'} image"
        raise InputError(
            f"{store.path}: no {what} with features was found; `fewshot inspect {store.path}` lists what there is"
        )
    return Labelled(store, rows[there], int((~there).sum()), other_class=len(asked) - len(rows))
