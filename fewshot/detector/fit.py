"""The whole job of ``fit``: images given as stores, folders or tables become one certified file."""

import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from fewshot.core.arrays import IntArray
from fewshot.core.errors import InputError, OptionError
from fewshot.core.marked_folders import MARK, claim_folder
from fewshot.core.outputs import DETECTOR, Output, require_outputs
from fewshot.core.progress import Progress
from fewshot.detector.choosable import Choosable
from fewshot.detector.detector import Detector
from fewshot.detector.fitting import FitSettings, fit_detector
from fewshot.detector.fitting_inputs import (
    CLASSES,
    Embedding,
    Given,
    Labelled,
    chosen_rows,
    class_wanted,
    is_store,
    listed,
    opened,
)
from fewshot.detector.fused_names import fused_names
from fewshot.detector.known_images import KnownImages, Role
from fewshot.detector.layers_to_fit import FIXED, layers_to_fit, require_combinable
from fewshot.detector.thresholds import require_enough
from fewshot.detector.thumbnails import thumbnails_of
from fewshot.embeddings.layouts.collection import Collection
from fewshot.embeddings.search.query import image_files
from fewshot.embeddings.store.reader import FeatureStore
from fewshot.heads.base import Head
from fewshot.heads.transductive import inductive_head

PURPOSE = "a fit of a detector that is under way"
Where = Mapping[str, str | Sequence[str]]


@dataclass(frozen=True)
class FitImages:
    """Which images a fit takes, each given as a store, or as a folder or table of images.

    Args:
        support: labelled images of both classes, that the head is fitted on.
        naturals: natural images of the own traffic, for the certificate; synthetics: of what shall be found, for the
            other one; sources: further known images, that answers may point to.
        where, naturals_where: which images of the support and of the naturals, as in ``FeatureStore.select``.
        shots: images of each class that are drawn from the support; all when None.
    """

    support: Given
    naturals: Given | None = None
    synthetics: Given | None = None
    sources: Given | None = None
    where: Where | None = None
    naturals_where: Where | None = None
    shots: int | None = None

    @property
    def given(self) -> dict[Role, Given]:
        """What is given, by the role of its images, the support first."""
        every: dict[Role, Given | None] = {
            "support": self.support,
            "calibration": self.naturals,
            "held-out": self.synthetics,
            "known": self.sources,
        }
        return {role: given for role, given in every.items() if given is not None}


OPTIONS: Mapping[Role, str] = {
    "support": "SUPPORT",
    "calibration": "--naturals",
    "held-out": "--synthetics",
    "known": "--sources",
}


def fit(  # noqa: PLR0913  # every option of the command, each with its default
    support: Given,
    *,
    backbones: str | Sequence[str] = (),
    naturals: Given | None = None,
    synthetics: Given | None = None,
    sources: Given | None = None,
    out: Path | str | None = None,
    heads: str | Sequence[str] = "svm",
    layers: str | Sequence[str] = FIXED,
    where: Where | None = None,
    naturals_where: Where | None = None,
    shots: int | None = None,
    weights: Sequence[str] = (),
    thumbnails: bool = False,
    name: str | None = None,
    quiet: bool = False,
    embed_options: Mapping[str, Any] | None = None,
    **settings: Any,
) -> Detector:
    """Fit a head on the support, certify its false-alarm rate on naturals that took no part, and save one file.

    Folders and tables are embedded first; a run that was killed goes on where it stopped.

    Args:
        support: labelled images of both classes: a folder, a table, or a store.
        backbones: names or weight files, those joined by ``+`` fused in one head; may be left out where something is
            given as a store: all of its own.
        naturals: natural images of the traffic that the detector will see; without them nothing is guaranteed.
        synthetics: synthetic images that took no part in fitting, which bound the rate of misses.
        sources: further known images.
        out: the file to write; None writes none.
        heads: names; layers: names, ``fixed`` (each backbone's own choice) or ``all``; of several one is chosen inside
            the support.
        where, naturals_where: which images of support and naturals.
        shots: images of each class that are drawn from the support, by the seed; all when None.
        weights: ``NAME=PATH`` requests; embed_options: further options of ``extract``, for folders and tables.
        thumbnails: keep small pictures of the known images in the file.
        name: what the detector is called; the file's name when None.
        settings: the fields of ``FitSettings``.

    Raises:
        InputError: no image, one class only, or naturals that are in the support as well.
        OptionError: too few naturals for the share, or options that contradict each other.
        FewshotError: as ``extract``, for folders and tables.
    """
    wanted = FitSettings(**settings)
    images = FitImages(support, naturals, synthetics, sources, where, naturals_where, shots)
    target = None if out is None else Path(out).expanduser()
    files = [Path(str(each)) for each in images.given.values() if not isinstance(each, FeatureStore)]
    require_outputs([Output(target, DETECTOR)], inputs=files)
    groups = fused_names((backbones,) if isinstance(backbones, str) else backbones)
    loaded = _loaded(heads)
    require_combinable(groups, loaded, combine=wanted.combine)
    _require_enough(images, _listed(images), wanted)
    with working_folder(target, quiet=quiet) as folder:
        embedding = Embedding(
            folder,
            backbones=tuple(dict.fromkeys(name for group in groups for name in group)),
            weights=tuple(weights),
            options=dict(embed_options or {}),
            quiet=quiet,
        )
        stores = _stores(images, embedding, loaded)
        choosable = layers_to_fit(stores, groups, layers, loaded, combine=wanted.combine)
        parts = _parts(images, stores, choosable, seed=wanted.seed)
        detector = fit_detector(
            KnownImages.joined([part.images(_keys(choosable), role=role) for role, part in parts.items()]),
            choosable,
            wanted,
            name=name or (target.stem if target else "detector"),
            thumbnails=_pictures(parts) if thumbnails else None,
            notes=_notes(images, parts),
        )
        return detector if target is None else detector.save(target)


def _loaded(heads: str | Sequence[str]) -> list[Head]:
    names = (heads,) if isinstance(heads, str) else tuple(dict.fromkeys(heads))
    if not names:
        raise OptionError("no head is named; give one by --head, for example svm")
    return [inductive_head(head) for head in names]


@contextmanager
def working_folder(target: Path | None, *, quiet: bool = False) -> Iterator[Path]:
    """Give a folder for what a fit embeds; it is removed at the end, and kept beside ``target`` when the fit fails."""
    if target is None:
        with tempfile.TemporaryDirectory(prefix="fewshot-") as temporary:
            yield Path(temporary)
        return
    folder = claim_folder(target.with_name(f"{target.name}.parts"), purpose=PURPOSE)
    try:
        yield folder
    except BaseException:
        if {entry.name for entry in folder.iterdir()} <= {MARK}:
            shutil.rmtree(folder)
        else:
            say = Progress(None, label="fit", unit="images", quiet=quiet).say
            say(f"what was embedded is kept in {folder}, for the next `fewshot fit` with -o {target}")
        raise
    shutil.rmtree(folder)


def _listed(images: FitImages) -> dict[Role, Collection]:
    """Return what folders and tables list; one that is not there or whose classes are not known is refused first."""
    return {
        role: listed(given, unlabelled=CLASSES.get(role)) for role, given in images.given.items() if not is_store(given)
    }


def _require_enough(images: FitImages, found: Mapping[Role, Collection], wanted: FitSettings) -> None:
    """Refuse too few naturals before anything is embedded; those of a folder are counted as files."""
    naturals = images.naturals
    if naturals is None:
        return
    if is_store(naturals):
        store = naturals if isinstance(naturals, FeatureStore) else FeatureStore(Path(naturals))
        count = int((~store.synthetic[store.select(images.naturals_where)]).sum())
    else:
        count = sum(not sample.synthetic for sample in found["calibration"].samples)
    require_enough(count, wanted.max_false_alarms, accept_weaker=wanted.accept_weaker)


def _stores(images: FitImages, embedding: Embedding, heads: Sequence[Head]) -> dict[Role, FeatureStore]:
    """Return the store of everything that is given, those that are there first: the others are embedded like them."""
    views = tuple(dict.fromkeys(view for head in heads for view in head.views))
    embedding = replace(embedding, views=views)
    found: dict[Role, FeatureStore] = {}
    for role, given in sorted(images.given.items(), key=lambda item: not is_store(item[1])):
        found[role] = opened(given, embedding, unlabelled=CLASSES.get(role))
        if not embedding.like:
            embedding = embedding.beside(found[role])
    return {role: found[role] for role in images.given}


def _keys(choosable: Sequence[Choosable]) -> list[tuple[str, str, str]]:
    return list(dict.fromkeys(key for each in choosable for key in each.keys))


def _parts(
    images: FitImages, stores: Mapping[Role, FeatureStore], choosable: Sequence[Choosable], *, seed: int
) -> dict[Role, Labelled]:
    keys = _keys(choosable)
    found: dict[Role, Labelled] = {
        role: chosen_rows(
            store,
            keys,
            synthetic=class_wanted(role),
            where={"support": images.where, "calibration": images.naturals_where}.get(role),
        )
        for role, store in stores.items()
    }
    if images.shots is not None:
        found["support"] = _drawn(found["support"], images.shots, seed)
    return found


def _drawn(support: Labelled, shots: int, seed: int) -> Labelled:
    """Draw so many images of each class."""
    synthetic = support.store.synthetic[support.rows]
    drawn: list[IntArray] = []
    for label in (False, True):
        rows = support.rows[synthetic == label]
        if len(rows) < shots:
            raise InputError(
                f"--shots {shots}: the support has {len(rows)} {'synthetic' if label else 'natural'} images; add some, "
                f"or give fewer shots"
            )
        drawn.append(np.random.default_rng([seed, int(label)]).permutation(rows)[:shots])
    return replace(support, rows=np.sort(np.concatenate(drawn)))


def _pictures(parts: Mapping[Role, Labelled]) -> dict[int, bytes]:
    return thumbnails_of([file for part in parts.values() for file in image_files(part.store, part.rows)])


def _notes(images: FitImages, parts: Mapping[Role, Labelled]) -> list[str]:
    notes = []
    for role, part in parts.items():
        lost = part.lost
        if not is_store(images.given[role]):
            with_row = set(part.store.column("key"))
            lost += len({failure.key for failure in part.store.failures()} - with_row)
        if lost:
            notes.append(f"{lost} {_images(lost)} of {OPTIONS[role]} could not be used and took no part")
        if part.other_class:
            unwanted = {"natural": "synthetic", "synthetic": "natural"}[CLASSES[role]]
            count = part.other_class
            notes.append(f"{count} {unwanted} {_images(count)} of {OPTIONS[role]} took no part")
    return notes


def _images(count: int) -> str:
    return "image" if count == 1 else "images"
