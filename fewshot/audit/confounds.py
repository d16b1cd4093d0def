"""Does file metadata alone separate natural from synthetic images? If so, a detector may have learnt the container.

File metadata is what a file says before any pixel is seen: container format, JPEG quality and quantisation tables,
width, height and aspect, colour mode, kinds of embedded metadata. A small classifier sees nothing else; its
cross-validated AUROC is the number to hold every detector against. The file's bytes per pixel are measured apart, since
they also follow what the picture shows.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fewshot.core.arrays import BoolArray, Float64Array, IntArray
from fewshot.embeddings.store.reader import FeatureStore
from fewshot.stats.metrics import auroc

WARN_AT = 0.6  # AUROC from which a report must carry a warning, provided that chance is outside its 99 % interval
FOLDS = 5
_WIDE, _SURE = 1.960, 2.576  # standard errors of a 95 % and a 99 % interval
MOST_IMAGES = 20_000  # per class; more change no digit that is shown
_LEAST_IMAGES = 10  # per class; fewer cannot be cross-validated
_DEPTH, _LEAF = 8, 5  # of the tree; a leaf of fewer images would learn single files
_COMMON_VALUES = 40  # distinct values of a text field that get a column of their own

CONTAINER = ("format", "mode", "jpeg_quality", "quantisation", "metadata")
SIZES = ("width", "height")
BYTES = "bytes_per_pixel"


@dataclass(frozen=True)
class Confound:
    """How well some fields of file metadata alone separate the classes.

    Args:
        fields: the fields that the classifier saw.
        source: ``"all"``, or the generator that stands against all natural images.
        auroc: cross-validated: the mean over the folds, each scored on images unseen; 0.5 = no separation.
        low, high: 95 % interval (Hanley and McNeil 1982, "The meaning and use of the area under a ROC curve").
        natural, synthetic: number of images.
    """

    fields: tuple[str, ...]
    source: str
    auroc: float
    low: float
    high: float
    natural: int
    synthetic: int

    @property
    def warns(self) -> bool:
        """Whether any number on these images needs a warning."""
        above_chance = self.auroc - 0.5 > _SURE / _WIDE * (self.auroc - self.low)
        return self.auroc >= WARN_AT and above_chance


def confounds(store: FeatureStore, rows: IntArray | None = None, *, seed: int = 0) -> tuple[Confound, ...]:
    """Return how well file metadata separates the classes: all fields, each alone, and each generator by itself.

    Args:
        store: with the metadata that ``fewshot embed`` writes; imported stores have none, and nothing is returned.
        rows: which images; all when None.

    Returns:
        First the container and size fields together; then bytes per pixel; then each field alone, and each generator
        against all natural images, strongest first. Empty where a class has too few images or nothing was recorded.
    """
    files = _files(store, rows, seed)
    if files is None:
        return ()
    together = (*CONTAINER, *SIZES)
    found = [_measured(files, together, "all", seed), _measured(files, (BYTES,), "all", seed)]
    alone = [_measured(files, (name,), "all", seed) for name in CONTAINER]
    alone.append(_measured(files, SIZES, "all", seed))
    each = []
    for name in np.unique(files.source[files.synthetic]):
        part = files.where(~files.synthetic | (files.source == name))
        if int(part.synthetic.sum()) >= _LEAST_IMAGES:
            each.append(_measured(part, together, str(name), seed))
    return (*found, *_strongest_first(alone), *_strongest_first(each))


def confound_warning(store: FeatureStore, rows: IntArray | None = None, *, seed: int = 0) -> str | None:
    """Return the sentence that a report on these images must carry, None when file metadata separates them little.

    Args:
        store: the store.
        rows: the images of the report; all when None.
    """
    return warning_of(confounds(store, rows, seed=seed))


def warning_of(found: tuple[Confound, ...]) -> str | None:
    """Return the warning that measured confounds call for; None when there is none."""
    together = [one for one in found if one.fields == (*CONTAINER, *SIZES)]
    if not any(one.warns for one in together):
        return None
    pooled, worst = together[0], max(together, key=lambda one: one.auroc)
    single = max(
        (one for one in found if one.source == "all" and len(one.fields) < len(pooled.fields)),
        key=lambda one: one.auroc,
    )
    generator = "" if worst.source == "all" else f"; {worst.source} against natural {worst.auroc:.3f}"
    return (
        f"file metadata alone (format, JPEG tables, mode, metadata, width, height) separates natural from synthetic "
        f"with AUROC {pooled.auroc:.3f} (95 % interval {pooled.low:.3f}-{pooled.high:.3f}; "
        f"{' and '.join(single.fields)} alone {single.auroc:.3f}{generator}): a detector may have learnt the files and "
        f"not the generator; see `fewshot audit`, and embed with --match-format"
    )


@dataclass(frozen=True)
class _Files:
    """The file metadata of n images.

    Args:
        synthetic: (n,) bool; source: (n,) text; fold: (n,) int64, see ``_folds``.
        fields: name -> (n,) values, text or numbers.
    """

    synthetic: BoolArray
    source: NDArray[Any]
    fold: IntArray
    fields: Mapping[str, NDArray[Any]]

    def where(self, keep: BoolArray) -> "_Files":
        """Return the same of some of the images."""
        fields = {name: values[keep] for name, values in self.fields.items()}
        return _Files(self.synthetic[keep], self.source[keep], self.fold[keep], fields)


def _files(store: FeatureStore, rows: IntArray | None, seed: int) -> _Files | None:
    """Return the file metadata of at most ``MOST_IMAGES`` a class; None where there is too little to measure."""
    chosen = np.arange(len(store)) if rows is None else np.asarray(rows, np.int64)
    chosen = chosen[store.column("format")[chosen].astype(str) != ""]
    of_class = [chosen[store.synthetic[chosen] == value] for value in (False, True)]
    if min(map(len, of_class)) < _LEAST_IMAGES:
        return None
    drawn = [np.random.default_rng([seed, n]).permutation(own)[:MOST_IMAGES] for n, own in enumerate(of_class)]
    kept = np.sort(np.concatenate(drawn))
    fields = {name: store.column(name)[kept] for name in (*CONTAINER, *SIZES)}
    fields[BYTES] = store.column("file_size")[kept] / np.maximum(fields["width"] * fields["height"], 1)
    synthetic = store.synthetic[kept]
    return _Files(
        synthetic, store.source[kept].astype(str), _folds(store.column("group")[kept], synthetic, seed), fields
    )


def _measured(files: _Files, fields: tuple[str, ...], source: str, seed: int) -> Confound:
    natural, positive = int((~files.synthetic).sum()), int(files.synthetic.sum())
    value = _cross_validated(_matrix(files, fields), files.synthetic, files.fold, seed)
    spread = _WIDE * _standard_error(value, natural, positive)
    return Confound(fields, source, value, max(0.0, value - spread), min(1.0, value + spread), natural, positive)


def _matrix(files: _Files, fields: tuple[str, ...]) -> Float64Array:
    """Return (n, F) float64: text one-hot over its common values, metadata by kind, sizes with their aspect."""
    parts: list[Float64Array] = []
    for name in fields:
        values = files.fields[name]
        if name == "metadata":
            parts.append(_by_kind(values))
        elif values.dtype.kind == "O":
            common = np.array([value for value, _ in Counter(values.tolist()).most_common(_COMMON_VALUES)], object)
            parts.append((values[:, None] == common[None]).astype(np.float64))
        else:
            parts.append(values[:, None].astype(np.float64))
    if set(SIZES) <= set(fields):
        parts.append((files.fields["width"] / np.maximum(files.fields["height"], 1))[:, None])
    parts.append(np.zeros((len(files.synthetic), 1)))  # so that there is a column even where no field has a value
    return np.hstack(parts)


def _by_kind(values: NDArray[Any]) -> Float64Array:
    """Return (n, K) float64: a column per kind of embedded metadata, of which a file can have several, or none."""
    kinds = [set(str(value).split(",")) for value in values]
    every = sorted(set().union(*kinds))
    return np.array([[kind in own for kind in every] for own in kinds], np.float64).reshape(len(values), len(every))


def _folds(groups: NDArray[Any], synthetic: BoolArray, seed: int) -> IntArray:
    """Return (n,) int64 the fold of each image: a group lies in one fold, and each class is spread over all of them."""
    named = groups.astype(str).astype(object)
    own = np.array([f"\0{number}" for number in range(len(named))], object)  # an image without a group is its own
    names, first, code = np.unique(
        np.where(named == "", own, named).astype(str), return_index=True, return_inverse=True
    )
    classes = np.asarray(synthetic, dtype=np.int64)[first]
    order = np.lexsort((np.random.default_rng([seed, len(names)]).permutation(len(names)), classes))
    fold = np.empty(len(names), np.int64)
    fold[order] = np.arange(len(names)) % FOLDS
    return fold[code]


def _cross_validated(matrix: Float64Array, synthetic: BoolArray, folds: IntArray, seed: int) -> float:
    """Return the AUROC of a small decision tree on images that it never saw, nor others of their groups.

    It is the mean over the folds, weighted by their pairs. Scores of several folds are not pooled: a fold with more
    synthetic images is scored by a tree that saw fewer, which alone would push a useless field below 0.5.
    """
    from sklearn.tree import DecisionTreeClassifier

    areas, pairs = [], []
    for fold in range(FOLDS):
        learn, held_out = folds != fold, folds == fold
        if len(np.unique(synthetic[learn])) < 2 or len(np.unique(synthetic[held_out])) < 2:
            continue
        tree = DecisionTreeClassifier(max_depth=_DEPTH, min_samples_leaf=_LEAF, random_state=seed)
        tree.fit(matrix[learn], synthetic[learn])
        scores = np.asarray(tree.predict_proba(matrix[held_out]))[:, 1]
        areas.append(float(auroc(scores[None], synthetic[held_out])[0]))
        pairs.append(int(synthetic[held_out].sum()) * int((~synthetic[held_out]).sum()))
    return float(np.average(areas, weights=pairs)) if areas else 0.5


def _standard_error(area: float, natural: int, synthetic: int) -> float:
    """Return the standard error of an AUROC (Hanley and McNeil 1982, equation 1)."""
    both_above, both_below = area / (2 - area), 2 * area**2 / (1 + area)
    variance = (
        area * (1 - area) + (synthetic - 1) * (both_above - area**2) + (natural - 1) * (both_below - area**2)
    ) / (natural * synthetic)
    return float(np.sqrt(max(variance, 0.0)))


def _strongest_first(found: list[Confound]) -> list[Confound]:
    return sorted(found, key=lambda one: (-one.auroc, one.source, one.fields))
