"""Labelled images for a detector that has been fitted: opened, joined with its own, and what became of each."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from fewshot.core.arrays import IntArray
from fewshot.core.errors import InputError
from fewshot.detector.description import Counts
from fewshot.detector.fitting_inputs import CLASSES, Embedding, Given, chosen_rows, class_wanted, is_store, opened
from fewshot.detector.known_images import KnownImages, Role
from fewshot.detector.labelled_table import SUFFIXES, read_labels
from fewshot.embeddings.search.query import image_files

_CERTIFYING: Mapping[Role, str] = {"calibration": "--naturals", "held-out": "--synthetics"}


@dataclass(frozen=True)
class Opened:
    """Labelled images with features, and what was given beside them.

    Args:
        images: of distinct pixels; files: where each lies, None where that is not known.
        skipped: rows without a label; failed: (path, reason) of images that could not be used.
    """

    images: KnownImages
    files: tuple[Path | None, ...]
    skipped: int = 0
    failed: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Added:
    """What became of the images that were added.

    Args:
        new: images that the support did not have; known: those that it had, with the same label.
        relabelled: names of images that it had with the other label; the new label counts.
        skipped: rows without a label; failed: (path, reason) of images that could not be used.
    """

    new: Counts = field(default_factory=lambda: Counts(0, 0, {}))
    known: int = 0
    relabelled: tuple[str, ...] = ()
    skipped: int = 0
    failed: tuple[tuple[str, str], ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        failed = [{"image": image, "reason": reason} for image, reason in self.failed]
        return {**vars(self), "new": msgspec.to_builtins(self.new), "failed": failed}

    def lines(self) -> list[str]:
        """Return it in lines."""
        said = [f"added        {self.new.natural} natural, {self.new.synthetic} synthetic to the support"]
        if self.relabelled:
            shown = ", ".join(self.relabelled[:5]) + (" ..." if len(self.relabelled) > 5 else "")
            said.append(f"corrected    {len(self.relabelled)} labels of images that the support had: {shown}")
        for count, what in (
            (self.known, "were in the support already, with the same label"),
            (self.skipped, "have no label and were left out"),
            (len(self.failed), "could not be used"),
        ):
            said += [f"             {count} {what}"] * bool(count)
        return [*said, *(f"             {image}: {reason}" for image, reason in self.failed[:10])]


def open_labelled(given: Given, embedding: Embedding, role: Role) -> Opened:
    """Return labelled images with the features that the detector looks at, each of its pixels once."""
    skipped = 0
    table = not is_store(given) and Path(str(given)).suffix.lower() in SUFFIXES and role not in CLASSES
    if table:
        listed = read_labels(Path(str(given)).expanduser())
        given, skipped = listed.written(embedding.folder, name=Path(str(given)).stem), listed.skipped
    store = opened(given, embedding, unlabelled=CLASSES.get(role))
    keys = [(info.backbone, info.layer, info.view) for info in embedding.like]
    chosen = chosen_rows(store, keys, synthetic=class_wanted(role))
    images = chosen.images(keys, role=role)
    once = _once(images)
    files = image_files(store, chosen.rows[once])
    failed = {} if is_store(given) else {failure.key: failure.reason for failure in store.failures()}
    return Opened(_short_names(images.take(once)), files, skipped, tuple(failed.items()))


def _once(images: KnownImages) -> IntArray:
    """Return the first row of all pixels; pixels with two labels are refused.

    Raises:
        InputError: the same pixels are natural and synthetic.
    """
    first: dict[str, int] = {}
    for row, image in enumerate(map(str, images.ids)):
        before = first.setdefault(image, row)
        if images.synthetic[before] != images.synthetic[row]:
            raise InputError(
                f"{images.keys[before]!r} and {images.keys[row]!r} have the same pixels, and one is labelled natural, "
                f"the other synthetic; correct one of them"
            )
    return np.array(list(first.values()), dtype=np.int64)


def _short_names(images: KnownImages) -> KnownImages:
    """Return the images without the folders of this machine in their names: a detector is given to others."""
    short = ["/".join(Path(key).parts[-2:]) if Path(key).is_absolute() else key for key in map(str, images.keys)]
    return replace(images, keys=np.array(short, dtype=object))


def joined(old: KnownImages, added: Opened | None, further: Sequence[Opened]) -> tuple[KnownImages, Added]:
    """Return the images of the successor, the old ones first, and what became of those that were added."""
    old = _with_replaced(old, [str(each.images.roles[0]) for each in further])
    if added is None:
        return KnownImages.joined([old, *(each.images for each in further)]), Added()
    _require_uncertifying(old, added.images)
    old, what, new = _corrected(old, added)
    return KnownImages.joined([old, *([added.images.take(new)] if len(new) else []), *_images(further)]), what


def _images(further: Iterable[Opened]) -> list[KnownImages]:
    return [each.images for each in further]


def _with_replaced(old: KnownImages, given: Sequence[str]) -> KnownImages:
    """Return the old images, of which those that do not certify any more are known ones."""
    retired = np.isin(old.roles.astype(str), [role for role in given if role in _CERTIFYING])
    return replace(old, roles=np.where(retired, "known", old.roles).astype(object))


def _require_uncertifying(old: KnownImages, added: KnownImages) -> None:
    """Refuse to fit on images that set a threshold.

    Taking them out of the calibration instead would bias it: images are added because of the score that they got.
    """
    ids = set(map(str, added.ids))
    for role, option in _CERTIFYING.items():
        rows = [row for row in old.rows(role).tolist() if str(old.ids[row]) in ids]
        if rows:
            raise InputError(
                f"{len(rows)} images of --add are among those that set a threshold of the old detector (the first: "
                f"{old.keys[rows[0]]!r}); what certifies cannot be fitted on: leave them out of --add, or give other "
                f"images by {option}, which then certify instead"
            )


def _corrected(old: KnownImages, added: Opened) -> tuple[KnownImages, Added, IntArray]:
    """Return the old images with corrected labels, what became of the added ones, and the rows of those that are new.

    A known image that is added now moves to the support: ``fit_detector`` drops it from the known ones.
    """
    images = added.images
    there = {str(old.ids[row]): row for row in old.rows("support").tolist()}
    synthetic, sources = old.synthetic.copy(), old.sources.copy()
    new, relabelled = [], []
    for row, image in enumerate(map(str, images.ids)):
        at = there.get(image)
        if at is None:
            new.append(row)
        elif synthetic[at] != images.synthetic[row]:
            synthetic[at], sources[at] = images.synthetic[row], images.sources[row]
            relabelled.append(str(images.keys[row]))
    rows = np.array(new, dtype=np.int64)
    part = images.take(rows)
    counts = Counts(int((~part.synthetic).sum()), int(part.synthetic.sum()), part.counts("support"))
    known = len(images) - len(new) - len(relabelled)
    what = Added(counts, known, tuple(relabelled), added.skipped, added.failed)
    return replace(old, synthetic=synthetic, sources=sources), what, rows


def require_unseen(images: KnownImages, checked: Opened | None) -> None:
    """Refuse check images that the new detector is fitted or certified on."""
    if checked is None:
        return
    seen = {str(images.ids[row]): str(images.roles[row]) for row in range(len(images)) if images.roles[row] != "known"}
    shared = [row for row, image in enumerate(map(str, checked.images.ids)) if image in seen]
    if shared:
        first = shared[0]
        raise InputError(
            f"{len(shared)} of {len(checked.images)} images of --check are among the images of the new detector (the "
            f"first: {checked.images.keys[first]!r} is one of its {seen[str(checked.images.ids[first])]}); what was "
            f"fitted or certified on cannot check: leave them out of --check, or out of what is added"
        )
