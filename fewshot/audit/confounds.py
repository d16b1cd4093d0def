"""Does file metadata alone separate natural from synthetic images? If so, a detector may have learnt the container.

File metadata is what a file says before any pixel is seen: container format, JPEG quality and quantisation tables,
width, height and aspect, colour mode, kinds of embedded metadata. A small classifier sees nothing else; its
cross-validated AUROC is the number to hold every detector against. The file's bytes per pixel are measured apart, since
they also follow what the picture shows.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fewshot.core.arrays import BoolArray, Float64Array, IntArray
from fewshot.embeddings.store.reader import FeatureStore
from fewshot.stats.metrics import auroc

if TYPE_CHECKING:
    import pandas as pd

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
    frame = _metadata(store, rows, seed)
    if frame.empty:
        return ()
    together = (*CONTAINER, *SIZES)
    found = [_measured(frame, together, "all", seed), _measured(frame, (BYTES,), "all", seed)]
    alone = [_measured(frame, (name,), "all", seed) for name in CONTAINER]
    alone.append(_measured(frame, SIZES, "all", seed))
    each = []
    for name in sorted(set(frame.loc[frame["synthetic"], "source"])):
        part = frame[(~frame["synthetic"]) | (frame["source"] == name)]
        if int(part["synthetic"].sum()) >= _LEAST_IMAGES:
            each.append(_measured(part, together, name, seed))
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


def _metadata(store: FeatureStore, rows: IntArray | None, seed: int) -> "pd.DataFrame":
    """Return the file metadata of at most ``MOST_IMAGES`` a class; empty where there is too little to measure."""
    import pandas as pd

    chosen = np.arange(len(store)) if rows is None else np.asarray(rows, np.int64)
    columns = ("source", "synthetic", "group", *CONTAINER, *SIZES, "file_size")
    frame = pd.DataFrame({name: store.column(name)[chosen] for name in columns})
    frame = frame[frame["format"].astype(str) != ""]
    classes = [frame[frame["synthetic"] == value] for value in (False, True)]
    if min(len(part) for part in classes) < _LEAST_IMAGES:
        return frame.iloc[:0]
    kept = pd.concat([part.sample(min(len(part), MOST_IMAGES), random_state=seed) for part in classes])
    kept = kept.sort_index().reset_index(drop=True)
    kept[BYTES] = kept["file_size"] / (kept["width"] * kept["height"]).clip(lower=1)
    kept["fold"] = _folds(kept, seed)
    return kept


def _measured(frame: "pd.DataFrame", fields: tuple[str, ...], source: str, seed: int) -> Confound:
    synthetic = np.asarray(frame["synthetic"], dtype=bool)
    natural, positive = int((~synthetic).sum()), int(synthetic.sum())
    value = _cross_validated(_matrix(frame, fields), synthetic, np.asarray(frame["fold"], np.int64), seed)
    spread = _WIDE * _standard_error(value, natural, positive)
    return Confound(fields, source, value, max(0.0, value - spread), min(1.0, value + spread), natural, positive)


def _matrix(frame: "pd.DataFrame", fields: tuple[str, ...]) -> Float64Array:
    """Return (n, F) float64: text one-hot over its common values, metadata by kind, sizes with their aspect."""
    import pandas as pd

    parts: list[NDArray[Any]] = []
    for name in fields:
        if name == "metadata":
            parts.append(frame[name].str.get_dummies(sep=",").to_numpy(np.float64))
        elif not pd.api.types.is_numeric_dtype(frame[name]):
            text = frame[name].astype(str).to_numpy(object)
            common = frame[name].value_counts().index[:_COMMON_VALUES]
            parts.append((text[:, None] == common.to_numpy(object)[None]).astype(np.float64))
        else:
            parts.append(frame[[name]].to_numpy(np.float64))
    if set(SIZES) <= set(fields):
        parts.append((frame["width"] / frame["height"].clip(lower=1)).to_numpy(np.float64)[:, None])
    parts.append(np.zeros((len(frame), 1)))  # so that there is a column even where no field has a value
    return np.hstack(parts)


def _folds(frame: "pd.DataFrame", seed: int) -> IntArray:
    """Return (n,) int64 the fold of each image: a group lies in one fold, and each class is spread over all of them."""
    own = "\0" + frame.index.astype(str)  # an image without a group is its own
    named = frame["group"].astype(str).to_numpy(object)
    groups, first, code = np.unique(
        np.where(named == "", own.to_numpy(object), named).astype(str), return_index=True, return_inverse=True
    )
    classes = np.asarray(frame["synthetic"], dtype=np.int64)[first]
    order = np.lexsort((np.random.default_rng([seed, len(groups)]).permutation(len(groups)), classes))
    fold = np.empty(len(groups), np.int64)
    fold[order] = np.arange(len(groups)) % FOLDS
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
